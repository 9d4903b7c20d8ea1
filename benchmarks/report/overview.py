"""What the data sets of a report say together."""

from __future__ import annotations

from collections.abc import Mapping

from ..results import HIERARCHY_NAMES, Summary
from .blocks import Block, Cell, Grid, Picture, Row, Section, Text
from .differences import differences_at, differences_by_dataset, keys_at
from .ranks import ranks_grid
from .style import as_png
from .tables import MISSING, SEVERITY, digits_of, number


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
    keys = {
        name: [*keys_at(0), *(key for key in summary.metrics if key in HIERARCHY_NAMES)]
        for name, summary in summaries.items()
    }
    found = {name: differences_at(summary, keys[name]) for name, summary in summaries.items()}
    pairs = list(dict.fromkeys(pair for differences in found.values() for pair in differences))
    if not pairs:
        return []
    columns = [(name, summaries[name].column(key)[1]) for name in keys for key in keys[name]]
    rows = []
    for pair in pairs:
        cells: list[Cell] = []
        for name, differences in found.items():
            if pair not in differences:
                cells += [Cell(MISSING)] * len(keys[name])
                continue
            cells += [
                Cell(number(mean, half, sign=True, digits=digits_of(key)), abs(mean) > half)
                for key, (mean, half) in zip(keys[name], differences[pair], strict=True)
            ]
        rows.append(Row(" − ".join(pair), tuple(cells)))
    note = (
        "In points at the finest level and, where there are superclasses, over all levels "
        "together; paired by seed and fold, bold where the 95% Student-t interval does not hold 0. "
        "A data set on which the two were not both run has a dash."
        + (SEVERITY if any("mistake_severity" in chosen for chosen in keys.values()) else "")
    )
    return [
        Grid("Differences to the base losses", tuple(columns), tuple(rows), note, in_latex=True)
    ]
