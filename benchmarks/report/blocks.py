"""What a report is made of: sections of texts, tables and pictures, for all of its formats."""

from __future__ import annotations

import base64
import itertools
import re
import zlib
from dataclasses import dataclass, field
from typing import Any

from .colours import Look


@dataclass(frozen=True)
class Cell:
    """The content of a cell.

    Attributes:
        text: as it is shown.
        is_best: whether it is in bold: the best of its column, or a difference that is not chance.
        value: the number behind the text, for sorting; ``None`` for a text.
        trend: 1 for a difference for the better, -1 for one for the worse, 0 for neither.
    """

    text: str
    is_best: bool = False
    value: float | None = None
    trend: int = 0


@dataclass(frozen=True)
class Row:
    """A loss (or an embedding without training) and its cells.

    Attributes:
        name: as people write it.
        cells: one per column.
        key: the name on the command line, if it is different.
    """

    name: str
    cells: tuple[Cell, ...]
    key: str = ""


@dataclass(frozen=True)
class Text:
    """Paragraphs of plain text."""

    paragraphs: tuple[str, ...]


@dataclass(frozen=True)
class Conclusion:
    """What the numbers say, in three sentences: the best, the hierarchy, and how sure it is."""

    sentences: tuple[str, ...]


@dataclass(frozen=True)
class Explanation:
    """What a column of numbers means."""

    title: str
    text: str


@dataclass(frozen=True)
class Grid:
    """A table.

    Attributes:
        title: the heading above it.
        columns: for each column of cells the name of its group ("" for none) and its own.
        rows: their names stand in the first column.
        note: how to read it.
        corner: what the rows are.
        prose: whether the cells are texts and not numbers.
        in_latex: whether it is one of the tables of ``tables.tex``.
        sorted_by: the number of the column by which the rows are sorted, if they are.
        explained: whether the columns are those of :mod:`benchmarks.report.metrics`.
    """

    title: str
    columns: tuple[tuple[str, str], ...]
    rows: tuple[Row, ...]
    note: str = ""
    corner: str = "loss"
    prose: bool = False
    in_latex: bool = False
    sorted_by: int | None = None
    explained: bool = False

    @property
    def groups(self) -> list[tuple[str, int]]:
        """The groups of columns, and how many columns each has."""
        names = (name for name, _ in self.columns)
        return [(name, len(list(run))) for name, run in itertools.groupby(names)]


@dataclass(frozen=True)
class Panel:
    """A plot that can be zoomed.

    Attributes:
        title: the heading above it.
        figure: of bokeh.
    """

    title: str
    figure: Any


@dataclass(frozen=True)
class Entry:
    """An entry of the legend beside such plots.

    Attributes:
        name: what is shown.
        look: how it is drawn; as a dot if it has no width.
        lines: the name of the lines in the plots that it shows and hides; "" if it does not.
    """

    name: str
    look: Look
    lines: str = ""


@dataclass(frozen=True)
class Picture:
    """A figure as PNG, and on a page as plots that can be zoomed, if there are any.

    Attributes:
        name: of its file below ``figures``, without suffix.
        title: the heading above it.
        caption: what it shows and how to read it.
        png: the bytes of the file.
        dark_png: the same for dark pages; ``None`` if there is no other.
        panels: what a page shows instead.
        legend: beside the panels.
        photographs: whether it shows pictures of the data set, which are large as PNG.
        page: an HTML file below ``figures`` that shows more; "" if there is none.
    """

    name: str
    title: str
    caption: str
    png: bytes = field(repr=False)
    dark_png: bytes | None = field(default=None, repr=False)
    panels: tuple[Panel, ...] = field(default=(), repr=False)
    legend: tuple[Entry, ...] = field(default=(), repr=False)
    photographs: bool = False
    page: str = ""


def data_uri(content: bytes, kind: str) -> str:
    """The content of a file as an address."""
    return f"data:{kind};base64,{base64.b64encode(content).decode()}"


Block = Text | Conclusion | Grid | Picture


@dataclass(frozen=True)
class Section:
    """A part of a report: a data set, or all of them together."""

    title: str
    blocks: tuple[Block, ...]

    @property
    def conclusion(self) -> Conclusion | None:
        """What its numbers say, if it has that."""
        return next((block for block in self.blocks if isinstance(block, Conclusion)), None)

    @property
    def headed(self) -> list[Grid | Picture]:
        """The blocks that have a heading, for the table of contents."""
        return [block for block in self.blocks if isinstance(block, (Grid, Picture))]

    def anchor(self, block: Grid | Picture | None = None) -> str:
        """The name by which links find the section, or a block of it."""
        anchor = _slug(self.title)
        # titles that differ only in punctuation stay apart
        if not anchor or re.search(r"[^\w ]", self.title):
            anchor = f"{anchor}-{zlib.crc32(self.title.encode(errors='backslashreplace')):08x}"
        return anchor if block is None else f"{anchor}-{_slug(block.title)}"


def _slug(name: str) -> str:
    return re.sub(r"\W+", "-", name.lower()).strip("-")
