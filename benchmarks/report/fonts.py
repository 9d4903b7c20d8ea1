"""Fonts for names in any script, from those that are installed."""

from __future__ import annotations

import functools
from pathlib import Path

import matplotlib
from matplotlib.font_manager import FontProperties, findfont, fontManager
from matplotlib.ft2font import FT2Font


def families_for(text: str) -> list[str]:
    """The font families to draw a text with: the usual ones and those that have the rest of it."""
    families = list(matplotlib.rcParams["font.family"])
    missing = _missing(text)
    while missing:
        covered = {family: missing & characters for family, characters in _installed().items()}
        best = max(covered, key=lambda family: len(covered[family]), default="")
        if not best or not covered[best]:
            break
        families.append(best)
        missing -= covered[best]
    return families


def legible(text: str) -> str:
    r"""A text in which characters that no installed font has are escapes, e.g. ``\u82f9``."""
    missing = _missing(text)
    if not missing:
        return text
    lacking = missing - frozenset().union(*_installed().values())
    return "".join(c.encode("unicode_escape").decode() if ord(c) in lacking else c for c in text)


def _missing(text: str) -> set[int]:
    usual = _characters(findfont(FontProperties()))
    return {ord(c) for c in text if ord(c) not in usual and not c.isspace()}


def _installed() -> dict[str, frozenset[int]]:
    # matplotlib's own are either the usual ones or have glyphs that do not match their code points
    own = Path(matplotlib.get_data_path())
    return {
        font.name: _characters(font.fname)
        for font in fontManager.ttflist
        if own not in Path(font.fname).parents and font.style == "normal"
    }


@functools.cache
def _characters(file: str) -> frozenset[int]:
    try:
        font = FT2Font(file)
        return frozenset(font.get_charmap()) if font.scalable else frozenset()
    except (OSError, RuntimeError):  # a font that FreeType cannot read
        return frozenset()
