"""The table of a suite: every metric at every level, one row per loss, the best in bold."""

from __future__ import annotations

import math
from collections.abc import Sequence

from rich.console import Group
from rich.table import Table

from ..results import LOWER_IS_BETTER, Summary, mean_and_interval, sign_of
from .blocks import Cell, Row
from .markdown import escaped

SECONDS = "seconds"
MISSING = "–"
SEVERITY = (
    " Severity of mistakes: how many levels up the class of the nearest neighbour meets that of "
    "the query, over the queries whose nearest neighbour is of another class; lower is better."
)
PROSE_WIDTH = 40  # characters
Columns = Sequence[tuple[str, str]]


def headers(summary: Summary) -> list[tuple[str, str]]:
    """For each column of cells the level's name and the metric's; seconds belong to no level."""
    return [*map(summary.column, summary.metrics), ("", "s")]


def rows(summary: Summary) -> list[Row]:
    """The rows of the table, first the embedding without training if there is one."""
    means = {
        (loss, key): mean_and_interval(summary.values(loss, key))
        for loss in summary.losses
        for key in summary.metrics
    }
    best = {
        key: sign_of(key)
        * max(_nan_last(sign_of(key) * means[loss, key][0]) for loss in summary.losses)
        for key in summary.metrics
    }
    table = []
    if len(summary.untrained):
        untrained = [
            Cell(number(summary.untrained[key].mean(), digits=digits_of(key)))
            for key in summary.metrics
        ]
        table.append(Row(f"({summary.untrained_name})", (*untrained, Cell(MISSING))))
    for loss in summary.losses:
        cells = [
            Cell(
                number(*means[loss, key], digits=digits_of(key)),
                is_best=means[loss, key][0] == best[key],
            )
            for key in summary.metrics
        ]
        seconds = Cell(number(summary.values(loss, SECONDS).mean(), digits=0))
        table.append(Row(loss, (*cells, seconds)))
    return table


def _nan_last(value: float) -> float:
    return -math.inf if math.isnan(value) else value


def difference_rows(summary: Summary) -> list[Row]:
    """For each hierarchical loss the paired difference to its base loss, in points."""
    table = []
    for loss, base in summary.hierarchical():
        cells = []
        for key in summary.metrics:
            mean, half = mean_and_interval(summary.paired_differences(loss, base, key))
            # bold where the interval does not hold 0
            text = number(mean, half, sign=True, digits=digits_of(key))
            cells.append(Cell(text, is_best=abs(mean) > half))
        table.append(Row(f"{loss} − {base}", tuple(cells)))
    return table


def terminal_table(summary: Summary, width: int) -> Table | Group:
    """The table for a terminal of ``width`` columns; one below the other where it is too wide."""
    columns = headers(summary)
    body = rows(summary)
    needed = 4 + max(len(row.name) for row in body)
    needed += sum(
        3 + max(len(columns[i][0]), *(len(row.cells[i].text) for row in body))
        for i in range(len(columns))
    )
    if needed <= width:
        return _rich_table(columns, body, range(len(columns)), with_level=True)
    tables = []
    for level in dict.fromkeys(name for name, _ in columns if name):
        chosen = [i for i, (name, _) in enumerate(columns) if name in (level, "")]
        tables.append(_rich_table(columns, body, chosen, title=level))
    return Group(*tables)


def _rich_table(
    columns: Columns,
    body: list[Row],
    chosen: range | list[int],
    with_level: bool = False,
    title: str | None = None,
) -> Table:
    table = Table(title=title, title_justify="left")
    table.add_column("loss", no_wrap=True, vertical="bottom")
    previous = ""
    for i in chosen:
        level, metric = columns[i]
        shown = level if level != previous else ""
        previous = level
        header = f"{shown}\n{metric}" if with_level else metric
        table.add_column(header, justify="right", no_wrap=True)
    for row in body:
        cells = [row.cells[i] for i in chosen]
        table.add_row(row.name, *(f"[bold]{c.text}[/]" if c.is_best else c.text for c in cells))
    return table


def markdown_table(
    columns: Columns, body: Sequence[Row], corner: str = "loss", prose: bool = False
) -> str:
    """A pipe table whose source lines up, too; the level's name stands before the metric.

    Arguments:
        columns: for each column of cells the name of its group and its own.
        body: the rows.
        corner: what the rows are.
        prose: whether the cells are texts, which are set flush left.
    """
    names = [(escaped(level), escaped(metric)) for level, metric in columns]
    header = [escaped(corner), *(f"{lvl}<br>{metric}" if lvl else metric for lvl, metric in names)]
    lines = [header]
    for row in body:
        lines.append([escaped(row.name), *map(_markdown_cell, row.cells)])
    # the rule of a column is at least "--:"
    widths = [max(3, *(len(line[i]) for line in lines)) for i in range(len(header))]
    if prose:  # one long text would make every line as long
        widths = [min(width, PROSE_WIDTH) for width in widths]
    end = "-" if prose else ":"
    rule = ["-" * widths[0], *("-" * (width - 1) + end for width in widths[1:])]
    text = []
    for first, *others in (lines[0], rule, *lines[1:]):
        pad = str.ljust if prose else str.rjust
        cells = [pad(cell, width) for cell, width in zip(others, widths[1:], strict=True)]
        text.append(f"| {' | '.join([first.ljust(widths[0]), *cells])} |")
    return "\n".join(text)


def _markdown_cell(cell: Cell) -> str:
    text = escaped(cell.text)
    return f"**{text}**" if cell.is_best and text else text


def digits_of(key: str) -> int:
    """The decimals that a metric is shown with: shares are in percent, a severity is small."""
    return 2 if key in LOWER_IS_BETTER else 1


def number(mean: float, half: float = math.nan, sign: bool = False, digits: int = 1) -> str:
    """A mean with the half-width of its interval if it has one; a dash for NaN."""
    if math.isnan(mean):
        return MISSING
    mean = round(mean, digits) + 0.0  # no "-0.0"
    text = f"{mean:{'+' if sign else ''}.{digits}f}"
    return text if math.isnan(half) else f"{text} ±{half:.{digits}f}"
