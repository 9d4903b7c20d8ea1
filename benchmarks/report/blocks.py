"""What a report is made of: sections of texts, tables and pictures, for all of its formats."""

from __future__ import annotations

import base64
import itertools
import re
import zlib
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Cell:
    """What stands in a cell, and whether it is the best of its column."""

    text: str
    is_best: bool = False


@dataclass(frozen=True)
class Row:
    """A loss (or an embedding without training) and its cells."""

    name: str
    cells: tuple[Cell, ...]


@dataclass(frozen=True)
class Text:
    """Paragraphs of plain text."""

    paragraphs: tuple[str, ...]


@dataclass(frozen=True)
class Grid:
    """A table.

    Attributes:
        title: the heading above it.
        columns: for each column of cells the name of its group ("" for none) and its own.
        rows: their names stand in the first column.
        note: how it is to be read.
        corner: what the rows are.
        prose: whether the cells are texts and not numbers.
        in_latex: whether it is one of the tables of ``tables.tex``.
    """

    title: str
    columns: tuple[tuple[str, str], ...]
    rows: tuple[Row, ...]
    note: str = ""
    corner: str = "loss"
    prose: bool = False
    in_latex: bool = False

    @property
    def groups(self) -> list[tuple[str, int]]:
        """The groups of columns, and how many columns each has."""
        names = (name for name, _ in self.columns)
        return [(name, len(list(run))) for name, run in itertools.groupby(names)]


@dataclass(frozen=True)
class Picture:
    """A figure as PNG.

    Attributes:
        name: of its file below ``figures``, without suffix.
        title: the heading above it.
        caption: what it shows and how it is to be read.
        png: the bytes of the file.
    """

    name: str
    title: str
    caption: str
    png: bytes = field(repr=False)

    @property
    def data_uri(self) -> str:
        """The picture itself as an address, for a page that needs no other file."""
        return f"data:image/png;base64,{base64.b64encode(self.png).decode()}"


Block = Text | Grid | Picture


@dataclass(frozen=True)
class Section:
    """A part of a report: a data set, or all of them together."""

    title: str
    blocks: tuple[Block, ...]

    @property
    def headed(self) -> list[Grid | Picture]:
        """The blocks that have a heading, for the table of contents."""
        return [block for block in self.blocks if not isinstance(block, Text)]

    def anchor(self, block: Grid | Picture | None = None) -> str:
        """The name by which links find the section, or a block of it."""
        anchor = _slug(self.title)
        # titles that differ in signs alone stay apart
        if not anchor or re.search(r"[^\w ]", self.title):
            anchor = f"{anchor}-{zlib.crc32(self.title.encode(errors='backslashreplace')):08x}"
        return anchor if block is None else f"{anchor}-{_slug(block.title)}"


def _slug(name: str) -> str:
    return re.sub(r"\W+", "-", name.lower()).strip("-")
