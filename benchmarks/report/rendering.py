"""From the sections of a report to its text, by the templates beside this file."""

from __future__ import annotations

import functools
import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup, escape
from PIL import Image, features

from . import colours, markdown, metrics
from .blocks import Picture, Section, data_uri
from .plots import HINT
from .tables import markdown_table

TEMPLATES = ("report.md", "report.html")
FIGURES = "figures"
QUALITY = 85  # of photographs in the page
_FOLDER = Path(__file__).parent / "templates"


def rendered(
    name: str,
    title: str,
    sections: Sequence[Section],
    command: str,
    tables: Mapping[str, str],
) -> str:
    """The text of a report.

    Arguments:
        name: of one of the templates.
        title: of the report.
        sections: what it says.
        command: that made it.
        tables: the content of its CSV files by their names.
    """
    values: dict[str, Any] = {
        "title": title,
        "sections": sections,
        "command": command,
        "explanations": metrics.used_in(sections),
        "tables": {
            table: data_uri(content.encode(errors="backslashreplace"), "text/csv;charset=utf-8")
            for table, content in tables.items()
        },
    }
    if name.endswith(".html"):
        values |= _plots(sections)
    return _environment().get_template(name).render(values)


def picture_uri(png: bytes, photographs: bool) -> str:
    """A picture as an address: photographs as WebP, a sixth of PNG, where Pillow can write it."""
    if not photographs or not features.check("webp"):
        return data_uri(png, "image/png")
    buffer = io.BytesIO()
    Image.open(io.BytesIO(png)).convert("RGB").save(buffer, "WEBP", quality=QUALITY)
    return data_uri(buffer.getvalue(), "image/webp")


def breakable(name: str) -> Markup:
    """The name of a row for HTML: it breaks between its parts in narrow windows, a pair always."""
    text = str(escape(name))
    for mark in (":", "_"):
        text = text.replace(mark, f"{mark}<wbr>")
    return Markup(text.replace(" − ", "<br>− "))


@functools.cache
def _environment() -> Environment:
    environment = Environment(
        loader=FileSystemLoader(_FOLDER),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        autoescape=lambda name: name is not None and name.endswith(".html"),
    )
    environment.filters["breakable"] = breakable
    environment.filters["identity"] = id
    environment.filters["picture_uri"] = picture_uri
    environment.filters["markdown"] = markdown.escaped
    environment.filters["markdown_code"] = markdown.code
    environment.tests["of_kind"] = lambda block, kind: type(block).__name__ == kind
    environment.globals |= {
        "figures": FIGURES,
        "hint": HINT,
        "colours": colours,
        "markdown_table": markdown_table,
        "style": Markup((_FOLDER / "report.css").read_text("utf-8")),
        "script": Markup((_FOLDER / "report.js").read_text("utf-8")),
    }
    return environment


def _plots(sections: Sequence[Section]) -> dict[str, Any]:
    """The plots of all pictures: where each stands in the page, bokeh itself and what it draws."""
    figures = {
        f"{number}-{place}": panel.figure
        for number, block in enumerate(_pictures(sections))
        for place, panel in enumerate(block.panels)
    }
    if not figures:
        return {"plots": {}, "bokeh": "", "plot_script": ""}
    from bokeh.embed import components
    from bokeh.resources import Resources

    script, places = components(figures)
    of_picture = {
        id(block): [Markup(places[f"{number}-{place}"]) for place in range(len(block.panels))]
        for number, block in enumerate(_pictures(sections))
    }
    return {
        "plots": of_picture,
        "bokeh": Markup(Resources(mode="inline", components=["bokeh"]).render_js()),
        "plot_script": Markup(script),
    }


def _pictures(sections: Sequence[Section]) -> list[Picture]:
    return [block for section in sections for block in section.blocks if isinstance(block, Picture)]
