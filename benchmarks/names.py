"""Names of classes and files that others chose, in a form that can be written anywhere."""

from __future__ import annotations

import os
import unicodedata
from collections.abc import Sequence
from typing import Any

# controls, lone surrogates, private use, unassigned, separators of lines and paragraphs
_NOT_PRINTED = {"Cc", "Cs", "Co", "Cn", "Zl", "Zp"}
_TURNS_TEXT = set("\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")


def printable(name: str | os.PathLike[str]) -> str:
    r"""A name in which what cannot be printed is an escape; all others stay as they are.

    That is: bytes that are not UTF-8 (which Python keeps as lone surrogates), line ends and other
    control characters, and characters that change the direction of the text around them.

    Example:
        >>> print(printable("caf\udce9\n"))
        caf\xe9\n
    """
    text = os.fspath(name).encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
    return "".join(map(_escaped, text))


def composed(name: str) -> str:
    """A name whose accented letters are one character each (NFC), to be compared with another.

    Other systems have other habits: a Mac hands out names of files whose accents follow their
    letters (NFD), which look the same and are unequal.
    """
    return unicodedata.normalize("NFC", name)


def last_part(name: str) -> str:
    """The last folder in the name of a class: ``apple`` of ``fruit/apple``."""
    return name.rpartition("/")[2]


def names_of(tree: Any) -> list[Sequence[str]]:
    """The names of all levels of a ``Hierarchy``, finest first; numbers where it has none.

    Example:
        >>> from pml_hierarchical import Hierarchy
        >>> names_of(Hierarchy([[0, 0], [1, 0]], [["apple", "pear"], None]))
        [('apple', 'pear'), ['superclass 0']]
    """
    given = tree.names or (None,) * tree.num_levels
    before = ["class "] + [f"superclass {level}." for level in range(1, tree.num_levels)]
    if tree.num_levels == 2:
        before[1] = "superclass "
    return [
        own or [f"{start}{node}" for node in range(size)]
        for own, start, size in zip(given, before, tree.sizes, strict=True)
    ]


def folded(name: str) -> str:
    """A name as it is compared where neither case nor the form of accents counts."""
    return composed(composed(name).casefold())


def meant_by(typed: str, names: Sequence[str]) -> list[int]:
    """The numbers of the names that someone may mean by what they typed.

    That is the name itself or the last parts of it, such as ``apple`` for ``fruit/apple``; only if
    there is none, the forms of accents and then the case are ignored. Empty if there is none.

    Example:
        >>> meant_by("Apple", ["fruit/apple", "toys/apple", "fruit/pear"])
        [0, 1]
    """
    for form in (str, composed, folded):
        wanted, own = form(typed), [form(name) for name in names]
        whole = [number for number, name in enumerate(own) if name == wanted]
        ends = [number for number, name in enumerate(own) if name.endswith(f"/{wanted}")]
        if whole or ends:
            return whole or ends
    return []


def _escaped(character: str) -> str:
    if character in _TURNS_TEXT or unicodedata.category(character) in _NOT_PRINTED:
        return character.encode("unicode_escape").decode()
    return character


def one_line(text: str) -> str:
    """Text without line ends and control characters, which a message that names a file may have."""
    text = " ".join(text.split())
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)
