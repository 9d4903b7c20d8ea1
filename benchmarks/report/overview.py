"""What the data sets of a report say together."""

from __future__ import annotations

from collections.abc import Mapping

from ..results import METRIC_NAMES, Summary
from .blocks import Block, Cell, Grid, Picture, Row, Section, Text
from .differences import differences_at, differences_by_dataset
from .ranks import ranks_grid
from .style import as_png
from .tables import MISSING, number


def overview_section(summaries: Mapping[str, Summary]) -> Section:
    """Ranks over all data sets, and what the hierarchy changes on each of them."""
    blocks: list[Block] = [
        Text((f"{len(summaries)} data sets: {', '.join(summaries)}.",)),
        ranks_grid(list(summaries.values())),
        *_differences(summaries),
    ]
    figure = differences_by_dataset(summaries)
    if figure is not None:
        caption = (
            "The same differences, at the finest level of each data set. The lines are 95% "
            "Student-t intervals over seeds and folds; right of 0 the hierarchy helps."
        )
        title = "What the hierarchy changes on each data set"
        blocks.append(Picture("overview", title, caption, as_png(figure)))
    return Section("All data sets", tuple(blocks))


def _differences(summaries: Mapping[str, Summary]) -> list[Grid]:
    found = {name: differences_at(summary, 0) for name, summary in summaries.items()}
    pairs = list(dict.fromkeys(pair for differences in found.values() for pair in differences))
    if not pairs:
        return []
    columns = [(name, metric) for name in summaries for metric in METRIC_NAMES.values()]
    rows = []
    for pair in pairs:
        cells: list[Cell] = []
        for differences in found.values():
            if pair not in differences:
                cells += [Cell(MISSING)] * len(METRIC_NAMES)
                continue
            cells += [
                Cell(number(mean, half, sign=True), abs(mean) > half)
                for mean, half in differences[pair]
            ]
        rows.append(Row(" − ".join(pair), tuple(cells)))
    note = (
        "In points at the finest level, paired by seed and fold; bold where the 95% Student-t "
        "interval does not hold 0. A data set on which the two were not both run has a dash."
    )
    return [
        Grid("Differences to the base losses", tuple(columns), tuple(rows), note, in_latex=True)
    ]
