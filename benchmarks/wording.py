"""Numbers in messages."""

from __future__ import annotations


def counted(number: int, one: str, several: str | None = None) -> str:
    """A number with a noun in its singular or plural, which by default ends in ``s``.

    Example:
        >>> counted(1, "picture"), counted(2000, "picture"), counted(2, "class", "classes")
        ('1 picture', '2,000 pictures', '2 classes')
    """
    return f"{number:,} {one if number == 1 else several or f'{one}s'}"


def already_done(done: int, total: int, what: str) -> str:
    """A sentence that says how many runs or trials need not be done again.

    Example:
        >>> already_done(1, 3, "run")
        '1 of 3 runs is already done'
    """
    return f"{done:,} of {counted(total, what)} {'is' if done == 1 else 'are'} already done"
