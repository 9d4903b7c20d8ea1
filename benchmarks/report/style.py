"""How all static plots look: lines, legends and files, for light and for dark pages."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import Any

import matplotlib
from matplotlib.artist import Artist
from matplotlib.collections import Collection
from matplotlib.colors import to_hex, to_rgba
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.text import Text

from ..results import Summary
from . import colours
from .colours import look_of
from .fonts import families_for, legible
from .loss_names import full_name

DOTS_PER_INCH = 140
MARKERS = ("o", "s", "^")
MAX_COLUMNS = 4  # of a legend below a figure

matplotlib.rcParams.update(
    {
        "axes.spines.right": False,
        "axes.spines.top": False,
        "axes.grid": True,
        "axes.axisbelow": True,
        "grid.color": colours.LIGHT_LINE,
        "font.size": 9,
        "axes.titlesize": 10,
        "legend.frameon": False,
    }
)
_PAIRS = (
    *colours.PALETTE,
    *(colours.UNTRAINED, colours.OTHERS, colours.BETTER, colours.WORSE),
    *(colours.RIGHT, colours.WRONG),
)
_DARK = {
    "#ffffff": colours.DARK_PAPER,
    "#000000": colours.DARK_INK,
    colours.LIGHT_LINE: colours.DARK_LINE,
    "#cccccc": colours.DARK_LINE,
    **{colour.light: colour.dark for colour in _PAIRS},
}


def line_styles(summary: Summary) -> dict[str, dict[str, Any]]:
    """For each loss how its line is drawn: the same in every report.

    A hierarchical loss has the colour of its base loss and a thick line, dotted where the tree is
    given. When there are more flat losses than colours, the colours are used again with dashes.
    """
    return {
        loss: {**look_of(loss).in_matplotlib, "label": full_name(loss)} for loss in summary.losses
    }


def legend_below(figure: Figure, handles: Sequence[Any], labels: Sequence[str]) -> None:
    """One legend for all panels, below them: beside them it would take up their width."""
    figure.legend(
        handles, labels, loc="outside lower center", ncols=min(MAX_COLUMNS, max(1, len(labels)))
    )


def as_png(figure: Figure) -> bytes:
    """The bytes of the file.

    All text is shown as it is: a dollar sign begins no formula, and scripts that the usual font
    lacks are drawn with others.
    """
    for text in figure.findobj(Text):
        content = legible(text.get_text())
        text.set_text(content)
        text.set_parse_math(False)
        text.set_fontfamily(families_for(content))
    return _drawn(figure)


def as_pngs(figure: Figure) -> tuple[bytes, bytes]:
    """The bytes of the file, and of one for dark pages; the figure stays dark."""
    light = as_png(figure)
    for artist in figure.findobj():
        _darken(artist)
    figure.set_layout_engine("none")  # everything stays in its place, which takes time to find
    return light, _drawn(figure)


def _drawn(figure: Figure) -> bytes:
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=DOTS_PER_INCH)
    return buffer.getvalue()


def _darken(artist: Artist) -> None:
    if isinstance(artist, (Line2D, Text)):
        artist.set_color(_dark(artist.get_color()))
    if isinstance(artist, Line2D):
        artist.set_markerfacecolor(_dark(artist.get_markerfacecolor()))
        artist.set_markeredgecolor(_dark(artist.get_markeredgecolor()))
    elif isinstance(artist, (Patch, Collection)):
        for kind in ("facecolor", "edgecolor"):
            found = getattr(artist, f"get_{kind}")()
            several = isinstance(artist, Collection)
            chosen = [_dark(one) for one in found] if several else _dark(found)
            getattr(artist, f"set_{kind}")(chosen)


def _dark(colour: Any) -> Any:
    """The shade for dark pages; a colour that has none stays, and so does its transparency."""
    if isinstance(colour, str) and colour == "none":
        return colour
    red, green, blue, alpha = to_rgba(colour)
    return to_rgba(_DARK.get(to_hex((red, green, blue)), (red, green, blue)), alpha)
