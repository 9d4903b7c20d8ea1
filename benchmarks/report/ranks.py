"""The table of ranks: how every loss stands over all cells."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ..results import Summary
from .blocks import Cell, Grid, Row
from .loss_names import full_name
from .standings import Standing, standings
from .tables import finite, number

NOTE = (
    "A cell is a metric at a level of a data set, or over all its levels. Average rank: of the "
    "means, 1 being the best, equal ones sharing theirs; over all cells, and over those of the "
    "finest level. Best in: the cells in which no loss has a better mean. Counting ties: also "
    "those where the loss ties with the best, which is when the 95% Student-t interval of the "
    "paired difference between the two, over the seeds and folds that all losses were run with (if "
    "there are none, those that the two share), includes 0. The cells are not independent of one "
    "another: read the counts as a summary and not as a test."
)
SINGLE = " One pair of runs has no interval, so that nothing ties there but an equal mean."
UNRANKED = " Losses that were not run on every data set have no rank."


def ranks_grid(summaries: Sequence[Summary]) -> Grid:
    """The losses by their average rank, those without one last."""
    rows = sorted(standings(summaries), key=lambda row: (np.isnan(row.rank), row.rank))
    note = NOTE
    if any(summary.common().repetitions < 2 for summary in summaries):
        note += SINGLE
    if any(np.isnan(row.rank) for row in rows):
        note += UNRANKED
    best = [
        max(values, default=0.0)
        for values in (
            [-row.rank for row in rows if not np.isnan(row.rank)],
            [-row.finest_rank for row in rows if not np.isnan(row.finest_rank)],
            [row.best / max(row.cells, 1) for row in rows],
            [row.best_or_tied / max(row.cells, 1) for row in rows],
        )
    ]
    columns = (
        ("average rank", "all levels"),
        ("average rank", "finest level"),
        ("best in", "by mean"),
        ("best in", "counting ties"),
    )
    return Grid(
        "Ranks",
        columns,
        tuple(_row(row, best) for row in rows),
        note,
        sorted_by=0,
        explained=True,
    )


def _row(row: Standing, best: Sequence[float]) -> Row:
    cells = row.cells
    return Row(
        full_name(row.loss),
        (
            Cell(number(row.rank, digits=2), -row.rank == best[0], finite(row.rank)),
            Cell(
                number(row.finest_rank, digits=2),
                -row.finest_rank == best[1],
                finite(row.finest_rank),
            ),
            Cell(f"{row.best} of {cells}", row.best / max(cells, 1) == best[2], row.best),
            Cell(
                f"{row.best_or_tied} of {cells}",
                row.best_or_tied / max(cells, 1) == best[3],
                row.best_or_tied,
            ),
        ),
        row.loss,
    )
