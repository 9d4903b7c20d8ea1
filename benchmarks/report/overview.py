"""What the data sets of a report say together."""

from __future__ import annotations

from collections.abc import Mapping

from ..results import HIERARCHY_NAMES, Summary
from .blocks import Block, Cell, Grid, Picture, Row, Section, Text
from .differences import differences_at, differences_by_dataset, keys_at
from .joint_conclusion import joint_conclusion
from .loss_names import difference_name
from .ranks import ranks_grid
from .style import as_pngs
from .tables import MISSING, SEVERITY, difference_cell


def overview_section(
    summaries: Mapping[str, Summary], short: Mapping[str, tuple[int, int]] | None = None
) -> Section:
    """Ranks over all data sets, and what the hierarchy changes on each of them.

    Arguments:
        summaries: of the data sets, by the names that they have in the report.
        short: for those with short runs, the epochs of these and of full ones.
    """
    blocks: list[Block] = [
        joint_conclusion(summaries, short or {}),
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
        blocks.append(Picture("overview", title, caption, *as_pngs(figure)))
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
                difference_cell(mean, half, key)
                for key, (mean, half) in zip(keys[name], differences[pair], strict=True)
            ]
        rows.append(Row(difference_name(*pair), tuple(cells), " − ".join(pair)))
    note = (
        "In points at the finest level and, where there are superclasses, over all levels "
        "together; paired by seed and fold, ▲ for the better and ▼ for the worse, bold where the "
        "95% Student-t interval does not include 0. A data set on which the two were not both run "
        "has a dash."
        + (SEVERITY if any("mistake_severity" in chosen for chosen in keys.values()) else "")
    )
    title = "Differences to the base losses"
    return [Grid(title, tuple(columns), tuple(rows), note, in_latex=True, explained=True)]
