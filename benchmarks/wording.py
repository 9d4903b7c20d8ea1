"""Numbers and names in messages."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


def counted(number: int, one: str, several: str | None = None) -> str:
    """A number with a noun in its singular or plural, which by default ends in ``s``.

    Example:
        >>> counted(1, "picture"), counted(2000, "picture"), counted(2, "class", "classes")
        ('1 picture', '2,000 pictures', '2 classes')
    """
    return f"{number:,} {one if number == 1 else several or f'{one}s'}"


def listed(numbers: Iterable[int]) -> str:
    """Numbers in their order, each once.

    Example:
        >>> listed([2, 0, 2])
        '0, 2'
    """
    return ", ".join(map(str, sorted(set(numbers))))


def already_done(done: int, total: int, what: str) -> str:
    """A sentence that says how many runs or trials need not be done again.

    Example:
        >>> already_done(1, 3, "run")
        '1 of 3 runs is already done'
    """
    return f"{done:,} of {counted(total, what)} {'is' if done == 1 else 'are'} already done"


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """What follows a name that is not known: the nearest of those that are, if one is near.

    Example:
        >>> did_you_mean("magrin", ["margin", "scale"]), did_you_mean("x", ["margin", "scale"])
        ("; did you mean 'margin'?", '.')
    """
    near = difflib.get_close_matches(name, list(known), n=1)
    return f"; did you mean {near[0]!r}?" if near else "."
