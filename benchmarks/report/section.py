"""The section of a data set: its tables, then its pictures, then where they come from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from ..results import Summary, collect_concatenated
from ..stored import StoredRuns
from . import figures, provenance, tables
from .blocks import Block, Grid, Row, Section, Text
from .conclusion import conclusion
from .paper import paper_grid
from .ranks import ranks_grid

SEPARATED = (
    "Separated: every number is the mean over the single models of the folds and seeds, each "
    "tested alone."
)
CONCATENATED = (
    "Concatenated: the L2-normalised embeddings of the four models of the folds side by side, "
    "which have four times the size; one value per seed. Do not "
    "compare them with the separated ones above, which are of single models."
)
FOLDS_OVERLAP = (
    "The folds share training classes, so the runs are not quite independent of one another."
)


def dataset_section(stored: StoredRuns, summary: Summary, title: str) -> Section:
    """Everything that the runs of a data set show."""
    blocks: list[Block] = [
        conclusion(summary, provenance.short_epochs(stored)),
        Text(
            (
                provenance.introduction(stored),
                *provenance.length(stored),
                *provenance.warnings(stored),
            )
        ),
        *result_grids(stored, summary),
        *figures.pictures(stored, summary),
        provenance.settings_grid(stored, summary),
        Text(tuple(provenance.environments(stored.results))),
    ]
    return Section(title, tuple(blocks))


def result_grids(stored: StoredRuns, summary: Summary) -> list[Grid]:
    """The tables of results: separated, then concatenated, then beside the paper's."""
    concatenated = collect_concatenated(stored)
    paper = paper_grid(stored.dataset, concatenated)
    return [
        _results(summary.common()),
        *_differences(summary, "Differences to the base loss", "seed and fold"),
        ranks_grid([summary]),
        *_concatenated(concatenated),
        *([paper] if paper else []),
    ]


def _results(summary: Summary) -> Grid:
    runs = summary.runs.groupby("loss").size()
    count = str(runs.min()) if runs.min() == runs.max() else f"{runs.min()} to {runs.max()}"
    interval = ""
    if runs.max() > 1:
        several_folds = summary.runs["fold"].nunique() > 1
        interval = f"± is the half-width of the 95% Student-t interval over {count} runs. " + (
            f"{FOLDS_OVERLAP} " if several_folds else ""
        )
    note = (
        "In percent on the test classes, which no model has seen in training; the best trained "
        f"loss of each column in bold. {interval}{SEPARATED} s: seconds of training and "
        "validation. The row in brackets is the nearest neighbour by "
        f"{summary.untrained_name}, without training."
    ) + _of_hierarchy(summary)
    return Grid(
        "Results",
        tuple(tables.headers(summary)),
        tuple(tables.rows(summary)),
        note,
        in_latex=True,
        sorted_by=tables.score_column(summary),
        explained=True,
    )


def _of_hierarchy(summary: Summary) -> str:
    """What the metrics over all levels are; nothing where there are none."""
    if "mistake_severity" not in summary.metrics:
        return ""
    return f" H-AP and ASI are over all levels.{tables.SEVERITY}"


def _differences(summary: Summary, title: str, paired_by: str) -> list[Grid]:
    rows = tables.difference_rows(summary)
    if not rows:
        return []
    note = f"In points, paired by {paired_by}; ▲ is for the better and ▼ for the worse." + (
        " Bold where the 95% Student-t interval does not include 0."
        if summary.repetitions > 1
        else f" {figures.NO_INTERVAL}"
    )
    if "mistake_severity" in summary.metrics:
        note += " A severity is in levels, and a negative difference is the better one."
    return [_grid(title, summary, rows, note)]


def _concatenated(summary: Summary | None) -> list[Grid]:
    if summary is None:
        return []
    rows = [replace(row, cells=row.cells[:-1]) for row in tables.rows(summary)]
    interval = (
        " ± is the half-width of the 95% Student-t interval over the seeds."
        if summary.repetitions > 1
        else " One seed has no interval."
    )
    note = f"In percent; the best of each column in bold. {CONCATENATED}{interval}"
    return [
        _grid("Concatenated", summary, rows, note),
        *_differences(summary, "Differences to the base loss, concatenated", "seed"),
    ]


def _grid(title: str, summary: Summary, rows: Sequence[Row], note: str) -> Grid:
    """A table without the seconds, which belong to single runs."""
    return Grid(
        title,
        tuple(tables.headers(summary)[:-1]),
        tuple(rows),
        note,
        sorted_by=tables.score_column(summary),
        explained=True,
    )
