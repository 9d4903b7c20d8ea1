"""The colour of every loss, the same in all reports, for light and for dark pages.

Each of the nine colours has a shade for white paper and one for a dark page. Those of one page have
a contrast of at least 3 with it (WCAG 2) and differ from one another for people with any colour
vision; ``tests/benchmarks/test_report_colours.py`` measures both. With more losses than colours,
the colours are used again with dashes.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from typing import Any

from .loss_names import FULL_NAMES

LIGHT_PAPER, DARK_PAPER = "#ffffff", "#14181d"
LIGHT_INK, DARK_INK = "#1f2933", "#e4e9ee"
LIGHT_LINE, DARK_LINE = "#e4e7eb", "#39424d"


@dataclass(frozen=True)
class Colour:
    """The two shades of a colour, as ``#rrggbb``."""

    light: str
    dark: str


PALETTE = (
    Colour("#a88e0a", "#faea2c"),  # ochre
    Colour("#119adf", "#14affe"),  # sky blue
    Colour("#fa3cba", "#feb1bc"),  # pink
    Colour("#111111", "#fefefe"),  # black, or white
    Colour("#555555", "#929292"),  # grey
    Colour("#5c1c42", "#a8388a"),  # plum
    Colour("#018d7d", "#2acc45"),  # green
    Colour("#2149d6", "#3261da"),  # blue
    Colour("#aa540b", "#db4517"),  # rust
)
UNTRAINED = Colour("#9aa5b1", "#6b7785")
OTHERS = Colour("#c3cad2", "#4a5562")
BETTER, WORSE = Colour("#0b5cad", "#7cb8ff"), Colour("#a83c00", "#ff9b5e")
RIGHT, WRONG = Colour("#007a5a", "#2acc9a"), Colour("#c04a00", "#ff8a4c")

# lengths of lines and gaps; () for an unbroken line
DASHES = ((), (6, 2), (8, 2, 2, 2), (3, 2), (10, 2, 2, 2, 2, 2))
DOTS = (1, 2)  # where the tree is given
THIN, THICK = 1.5, 3.0


@dataclass(frozen=True)
class Look:
    """How the line of a loss is drawn.

    Attributes:
        colour: of the loss; a hierarchical one has that of its base loss.
        dash: lengths of lines and gaps.
        width: hierarchical losses have thick lines.
    """

    colour: Colour
    dash: tuple[int, ...]
    width: float

    @property
    def in_matplotlib(self) -> dict[str, Any]:
        """What ``Axes.plot`` takes."""
        dash = (0, self.dash) if self.dash else "-"
        return {"color": self.colour.light, "linestyle": dash, "linewidth": self.width}


def look_of(loss: str) -> Look:
    """How a loss looks: by its name alone, whatever else is in the report.

    Example:
        >>> look_of("hpl:proxy_anchor").colour == look_of("proxy_anchor").colour
        True
    """
    prefix, colon, base = loss.partition(":")
    place = _place(base if colon else loss)
    group, shade = divmod(place, len(PALETTE))
    dash = DASHES[group % len(DASHES)]
    if prefix == "hpl_given":
        dash = (DOTS[0], DOTS[1] * (1 + group % len(DASHES)))
    return Look(PALETTE[shade], dash, THICK if colon else THIN)


def _place(flat: str) -> int:
    names = list(FULL_NAMES)
    if flat in FULL_NAMES:
        return names.index(flat)
    return len(DASHES) * len(PALETTE) - 1 - zlib.crc32(flat.encode(errors="replace")) % len(PALETTE)
