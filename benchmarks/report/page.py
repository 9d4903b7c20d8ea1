"""Write a report: report.md with figures beside it, one report.html, and tables.tex."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup, escape

from ..files import write_whole
from ..names import printable
from ..results import Summary, collect
from ..stored import StoredRuns
from . import markdown
from .blocks import Picture, Section
from .folders import read_folders
from .latex import latex_tables
from .overview import overview_section
from .section import dataset_section
from .tables import markdown_table

TEMPLATES = ("report.md", "report.html")
LATEX_FILE = "tables.tex"
FIGURES = "figures"


def write_report(stored: StoredRuns, summary: Summary) -> list[Path]:
    """Write the report of one data set into its folder; return the paths of its files."""
    title = f"{stored.dataset}: {len(summary.losses)} losses compared"
    section = dataset_section(stored, summary, stored.dataset)
    return _write(title, [section], stored.folder)


def write_joint_report(folders: Sequence[Path], out: Path) -> list[Path]:
    """Write one report of several data sets; return the paths of its files.

    Arguments:
        folders: of data sets, or folders that hold such (the ``--out`` of ``run``).
        out: the folder of the report.

    Raises:
        ValueError: if a folder holds no runs, or a file is broken.
        OSError: if the disk is full or cannot be written to.
    """
    stored = read_folders(folders)
    summaries = {name: collect(runs) for name, runs in stored.items()}
    sections = [dataset_section(stored[name], summaries[name], name) for name in stored]
    if len(sections) > 1:
        sections = [overview_section(summaries), *map(_with_own_figures, sections)]
    losses = {loss for summary in summaries.values() for loss in summary.losses}
    title = f"{', '.join(stored)}: {len(losses)} losses compared"
    return _write(title, sections, out)


def command_line() -> str:
    """The command that made this report, as it can be typed."""
    return shlex.join(["pml-hierarchical", *map(printable, sys.argv[1:])])


def breakable(name: str) -> Markup:
    """The name of a row for HTML: narrow windows break it between its parts, pairs always do."""
    text = str(escape(name))
    for mark in (":", "_"):
        text = text.replace(mark, f"{mark}<wbr>")
    return Markup(text.replace(" − ", "<br>− "))


def _with_own_figures(section: Section) -> Section:
    """The same with its pictures in a folder of their own, apart from those of other sections."""
    blocks = tuple(
        replace(block, name=f"{section.anchor()}/{block.name}")
        if isinstance(block, Picture)
        else block
        for block in section.blocks
    )
    return replace(section, blocks=blocks)


def _write(title: str, sections: Sequence[Section], folder: Path) -> list[Path]:
    folder.mkdir(parents=True, exist_ok=True)
    for section in sections:
        for block in section.blocks:
            if isinstance(block, Picture):
                path = folder / FIGURES / f"{block.name}.png"
                path.parent.mkdir(parents=True, exist_ok=True)
                write_whole(path, block.png)
    environment = Environment(
        loader=PackageLoader(__package__),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        autoescape=lambda name: name is not None and name.endswith(".html"),
    )
    environment.filters["breakable"] = breakable
    environment.filters["markdown"] = markdown.escaped
    environment.filters["markdown_code"] = markdown.code
    environment.tests["of_kind"] = lambda block, kind: type(block).__name__ == kind
    values = {
        "title": title,
        "sections": sections,
        "command": command_line(),
        "figures": FIGURES,
        "markdown_table": markdown_table,
    }
    contents = {name: environment.get_template(name).render(values) for name in TEMPLATES}
    contents[LATEX_FILE] = latex_tables(sections)
    for name, content in contents.items():
        write_whole(folder / name, content)
    return [folder / name for name in contents]
