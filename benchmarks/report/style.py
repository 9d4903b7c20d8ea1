"""How all plots look: colours, lines and their legend."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import Any

import matplotlib
from matplotlib.figure import Figure
from matplotlib.text import Text

from ..results import Summary
from .fonts import families_for, legible

DOTS_PER_INCH = 110
# Okabe & Ito's colours, which people with any colour vision tell apart, and three more.
COLOURS = (
    "#E69F00",
    "#56B4E9",
    "#CC79A7",
    "#000000",
    "#7F7F7F",
    "#882255",
    "#009E73",
    "#0072B2",
    "#D55E00",
)
BASELINE, HIERARCHICAL, OTHERS = "#9AA5B1", "#0072B2", "#D5DAE0"
MARKERS = ("o", "s", "^")
MAX_COLUMNS = 4  # of a legend below a figure
DASHES: tuple[Any, ...] = ("-", (0, (5, 1.5)), (0, (5, 1.5, 1, 1.5)))

matplotlib.rcParams.update(
    {
        "axes.spines.right": False,
        "axes.spines.top": False,
        "axes.grid": True,
        "axes.axisbelow": True,
        "grid.color": "#E5E8EB",
        "font.size": 9,
        "axes.titlesize": 10,
        "legend.frameon": False,
    }
)


def line_styles(summary: Summary) -> dict[str, dict[str, Any]]:
    """For each loss how its line is drawn.

    A hierarchical loss has the colour of its base loss and a thick line, dotted where the tree is
    given. When there are more flat losses than colours, these come again with dashes.
    """
    bases = dict(summary.hierarchical())
    flat = [loss for loss in summary.losses if loss not in bases]
    styles = {}
    for loss in summary.losses:
        place = flat.index(bases.get(loss, loss))
        dashes = DASHES[place // len(COLOURS) % len(DASHES)]
        styles[loss] = {
            "color": COLOURS[place % len(COLOURS)],
            "linestyle": (0, (1, 1)) if loss.startswith("hpl_given:") else dashes,
            "linewidth": 2.8 if loss in bases else 1.2,
            "label": loss,
        }
    return styles


def legend_below(figure: Figure, handles: Sequence[Any], labels: Sequence[str]) -> None:
    """One legend for all panels; beside them it would take their width."""
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
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=DOTS_PER_INCH)
    return buffer.getvalue()
