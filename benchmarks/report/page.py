"""Write a report: report.md with figures beside it, one report.html, tables.tex and CSV files."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from ..files import write_whole
from ..names import printable
from ..results import Summary, collect
from ..stored import StoredRuns
from ..tree_page.run_folder import write_tree_pages
from .blocks import Picture, Section
from .csv_files import csv_files
from .folders import read_folders
from .latex import latex_tables
from .loss_names import full_name
from .overview import overview_section
from .provenance import short_epochs
from .rendering import FIGURES, TEMPLATES, rendered
from .section import dataset_section

LATEX_FILE = "tables.tex"


def write_report(stored: StoredRuns, summary: Summary) -> list[Path]:
    """Write the report of one data set into its folder; return the paths of its files."""
    title = f"{stored.title}: {_count(summary.losses)} compared"
    section = dataset_section(stored, summary, stored.title)
    write_tree_pages(stored, stored.folder / FIGURES, full_name)
    return _write(title, [section], stored.folder, csv_files({stored.title: summary}))


def write_joint_report(folders: Sequence[Path], out: Path) -> list[Path]:
    """Write one report of several data sets; return the paths of its files.

    Arguments:
        folders: of data sets, or folders that hold them (the ``--out`` of ``run``).
        out: the folder of the report.

    Raises:
        ValueError: if a folder holds no runs, or a file is broken.
        OSError: if the disk is full or cannot be written to.
    """
    stored = read_folders(folders)
    summaries = {name: collect(runs) for name, runs in stored.items()}
    sections = [dataset_section(stored[name], summaries[name], name) for name in stored]
    if len(sections) > 1:
        lengths = {name: short_epochs(runs) for name, runs in stored.items()}
        short = {name: epochs for name, epochs in lengths.items() if epochs is not None}
        sections = [overview_section(summaries, short), *map(_with_own_figures, sections)]
    losses = {loss for summary in summaries.values() for loss in summary.losses}
    title = f"{', '.join(stored)}: {_count(losses)} compared"
    for section in sections[-len(stored) :]:
        inside = section.anchor() if len(stored) > 1 else ""
        write_tree_pages(stored[section.title], out / FIGURES / inside, full_name)
    return _write(title, sections, out, csv_files(summaries))


def command_line() -> str:
    """The command that made this report, as it can be typed."""
    program = Path(sys.argv[0] or "benchmarks/__main__.py")
    name = [program.name]
    if program.name == "__main__.py":
        name = ["python", "-m", program.parent.name]
    return shlex.join([*name, *map(printable, sys.argv[1:])])


def _count(losses: Sequence[str] | set[str]) -> str:
    return f"{len(losses)} losses" if len(losses) > 1 else "1 loss"


def _with_own_figures(section: Section) -> Section:
    """The same with its pictures in their own folder, apart from those of other sections."""
    blocks = tuple(
        replace(
            block,
            name=f"{section.anchor()}/{block.name}",
            page=block.page and f"{section.anchor()}/{block.page}",
        )
        if isinstance(block, Picture)
        else block
        for block in section.blocks
    )
    return replace(section, blocks=blocks)


def _write(
    title: str, sections: Sequence[Section], folder: Path, tables: Mapping[str, str] | None = None
) -> list[Path]:
    """Write all files.

    Arguments:
        title: of the report.
        sections: what it says.
        folder: for its files.
        tables: the content of its CSV files by their names.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for section in sections:
        for block in section.blocks:
            if isinstance(block, Picture):
                path = folder / FIGURES / f"{block.name}.png"
                path.parent.mkdir(parents=True, exist_ok=True)
                write_whole(path, block.png)
    tables = tables or {}
    contents = {name: rendered(name, title, sections, command_line(), tables) for name in TEMPLATES}
    contents[LATEX_FILE] = latex_tables(sections)
    contents |= tables
    for name, content in contents.items():
        write_whole(folder / name, content)
    return [folder / name for name in contents]
