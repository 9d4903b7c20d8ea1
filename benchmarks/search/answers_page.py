"""Answers as one HTML file with the pictures in it."""

from __future__ import annotations

import base64
import functools
import io
from pathlib import Path

from jinja2 import Environment, PackageLoader, StrictUndefined

from pml_hierarchical.search.pictures import read_picture

from ..names import printable
from .answers import Answers

SIDE = 224  # pixels of a small picture


def answers_page(found: Answers) -> str:
    """The page: each query, then its answers in groups.

    A picture that cannot be read any more is shown as text.
    """
    environment = Environment(
        loader=PackageLoader(__package__ or ""),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        autoescape=True,
    )
    environment.filters["printable"] = printable
    return environment.get_template("answers.html").render(
        queries=found.queries, level=found.level, small=functools.cache(_small)
    )


def _small(file: Path) -> str | None:
    """The picture as a ``data:`` address of a small JPEG; ``None`` if it cannot be read."""
    try:
        picture = read_picture(file.read_bytes(), smallest=SIDE)
    except Exception:  # what the decoders raise is not documented
        return None
    picture.thumbnail((SIDE, SIDE))
    out = io.BytesIO()
    picture.save(out, "JPEG", quality=80)
    return f"data:image/jpeg;base64,{base64.b64encode(out.getvalue()).decode()}"
