"""Plots that can be zoomed, by bokeh: they are part of the page and need no other file.

Names that others chose are only in the tooltips, where bokeh escapes them: in titles and on axes
it would take ``$$`` for a formula.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from . import colours
from .blocks import Entry, Panel
from .colours import Look, look_of
from .curves import Curve
from .embedding_map import EmbeddingMaps
from .loss_names import full_name

HEIGHT = 320  # pixels
DOT = 6
MOST_DOTS = 40  # on a line
HINT = (
    "Drag a box to zoom; the wheel zooms while Ctrl is held, the pan tool moves, and reset shows "
    "all again."
)


def curve_panels(
    curves: Mapping[str, Curve], level_name: str
) -> tuple[tuple[Panel, ...], tuple[Entry, ...]]:
    """Validation accuracy by epoch and by second, and the training loss; with their legend."""
    from bokeh.models import ColumnDataSource, HoverTool, Range1d

    accuracy, share = "MAP@R (%)", "loss / first loss"
    by_epoch = _figure("epoch", accuracy)
    by_second = _figure("seconds of training and validation", accuracy)
    by_step = _figure("epoch", share)
    ends = [curve.training_loss.max() for curve in curves.values() if len(curve.training_loss)]
    by_step.y_range = Range1d(start=0, end=min(1.5, 1.05 * max(ends, default=1.0)))
    for loss, curve in curves.items():
        name = full_name(loss)
        lines = (
            (by_epoch, curve.epochs, curve.accuracy),
            (by_second, curve.seconds, curve.accuracy),
            (by_step, curve.steps, curve.training_loss),
        )
        for figure, x, y in lines:
            source = ColumnDataSource({"x": x, "y": y, "name": [name] * len(x)})
            _line(figure, source, look_of(loss), loss)
    for figure, x_name, y_name, y_format in (
        (by_epoch, "epoch", "MAP@R", "{0.0} %"),
        (by_second, "seconds", "MAP@R", "{0.0} %"),
        (by_step, "epoch", share, "{0.00}"),
    ):
        tips = [("", "@name"), (x_name, "@x{0.[00]}"), (y_name, f"@y{y_format}")]
        figure.add_tools(HoverTool(tooltips=tips, line_policy="nearest"))
    title = f"Validation, {level_name}"
    panels = (
        Panel(f"{title}: by epoch", by_epoch),
        Panel(f"{title}: by time", by_second),
        Panel("Training loss", by_step),
    )
    return panels, tuple(Entry(full_name(loss), look_of(loss), loss) for loss in curves)


def map_panels(
    maps: EmbeddingMaps,
    class_names: Sequence[Sequence[str]],
    level_names: Sequence[str],
    pictures: Mapping[int, str],
) -> tuple[tuple[Panel, ...], tuple[Entry, ...]]:
    """A map for each loss, with the image under the pointer marked in all; with their legend.

    Arguments:
        maps: the positions of the images.
        class_names: of every level of the data set.
        level_names: what a class of each level is.
        pictures: of images of the data set by their indices, as addresses; may be empty.
    """
    from bokeh.models import ColumnDataSource, HoverTool

    ink = maps.colour_of_images
    columns: dict[str, Any] = {
        "light": [colour.light for colour in ink],
        "dark": [colour.dark for colour in ink],
    }
    for level, names in enumerate(class_names):
        columns[f"class{level}"] = [names[label] for label in maps.labels[:, level].tolist()]
    for number, places in enumerate(maps.places.values()):
        columns[f"x{number}"], columns[f"y{number}"] = np.asarray(places, np.float32).T
    if pictures:
        columns["picture"] = [pictures.get(index, "") for index in maps.indices.tolist()]
    source = ColumnDataSource(columns)  # of all panels, so that they mark the same image
    tip = _tip(len(level_names), "picture" in columns)
    panels = []
    for number, loss in enumerate(maps.places):
        figure = _figure("", "", match_aspect=True)
        figure.axis.visible = False
        figure.grid.visible = False
        dots = figure.scatter(
            f"x{number}", f"y{number}", size=DOT, source=source, alpha=0.8, line_color=None
        )
        dots.glyph.fill_color = "light"
        dots.glyph.tags = ["by column"]
        dots.hover_glyph = dots.glyph.clone(
            size=2.5 * DOT, fill_alpha=1.0, line_color=colours.LIGHT_INK, line_width=2.0
        )
        dots.hover_glyph.tags = ["by column", colours.LIGHT_INK, colours.DARK_INK]
        figure.add_tools(HoverTool(tooltips=tip, renderers=[dots]))
        panels.append(Panel(full_name(loss), figure))
    return tuple(panels), tuple(
        Entry(name, Look(colour, (), 0)) for name, colour in maps.entries(class_names)
    )


def _tip(levels: int, with_picture: bool) -> str:
    picture = '<img src="@picture" width="96" height="96" alt="">' if with_picture else ""
    names = "".join(f"<div>@class{level}</div>" for level in range(levels))
    return f'<div style="max-width: 14rem; white-space: normal">{picture}{names}</div>'


def _figure(x_label: str, y_label: str, **options: Any) -> Any:
    from bokeh.models import WheelZoomTool
    from bokeh.plotting import figure

    made = figure(
        height=HEIGHT,
        sizing_mode="stretch_width",
        tools="pan,box_zoom,reset,save",
        active_drag="box_zoom",
        toolbar_location="above",
        x_axis_label=x_label or None,
        y_axis_label=y_label or None,
        background_fill_color=None,
        border_fill_color=None,
        outline_line_color=None,
        **options,
    )
    made.add_tools(WheelZoomTool(modifiers="ctrl"))  # else the page would not scroll over it
    made.toolbar.logo = None
    return made


def _line(figure: Any, source: Any, look: Look, loss: str) -> None:
    """The tags of a line are its colours on light and dark pages; the legend hides it by name."""
    drawn = figure.line(
        "x",
        "y",
        source=source,
        line_color=look.colour.light,
        line_dash=list(look.dash) or "solid",
        line_width=look.width + 0.5,
        name=loss,
    )
    drawn.glyph.tags = [look.colour.light, look.colour.dark]
    if len(source.data["x"]) <= MOST_DOTS:  # a line of one point would not be seen
        dots = figure.scatter(
            "x", "y", source=source, size=look.width + 3, color=look.colour.light, name=loss
        )
        dots.glyph.tags = [look.colour.light, look.colour.dark]
