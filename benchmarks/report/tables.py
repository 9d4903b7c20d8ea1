"""The tables of a suite: every metric at every level, one row per loss, sorted by score."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from rich.console import Console, Group
from rich.table import Table
from tabulate import tabulate

from ..progress import print_written
from ..results import LOWER_IS_BETTER, Summary, mean_and_interval, sign_of
from .blocks import Cell, Row
from .loss_names import difference_name, full_name
from .markdown import escaped
from .order import SCORE, by_score, or_lowest, pairs_by_gain

SECONDS = "seconds"
MISSING = "–"
SEVERITY = (
    " Severity of mistakes: how many levels up the class of the nearest neighbour meets that of "
    "the query, over the queries whose nearest neighbour is of another class; lower is better. A "
    "loss with fewer, harder mistakes can have a higher one: compare it at about the same P@1."
)
TRENDS = {1: "▲", -1: "▼"}  # better and worse, whichever way the metric goes
Columns = Sequence[tuple[str, str]]


def headers(summary: Summary) -> list[tuple[str, str]]:
    """For each column of cells the level's name and the metric's; seconds belong to no level."""
    return [*map(summary.column, summary.metrics), ("", "s")]


def rows(summary: Summary) -> list[Row]:
    """The rows of the table by score, among them the embedding without training if there is one."""
    means = {
        (loss, key): mean_and_interval(summary.values(loss, key))
        for loss in summary.losses
        for key in summary.metrics
    }
    best = {
        key: sign_of(key)
        * max(or_lowest(sign_of(key) * means[loss, key][0]) for loss in summary.losses)
        for key in summary.metrics
    }
    table = []
    for loss in by_score(summary):
        cells = [
            numeric_cell(*means[loss, key], key, is_best=means[loss, key][0] == best[key])
            for key in summary.metrics
        ]
        seconds = float(summary.values(loss, SECONDS).mean())
        cells.append(Cell(number(seconds, digits=0), value=finite(seconds)))
        table.append(Row(full_name(loss), tuple(cells), loss))
    if len(summary.untrained):
        untrained = [
            numeric_cell(float(summary.untrained[key].mean()), math.nan, key)
            for key in summary.metrics
        ]
        row = Row(f"({summary.untrained_name})", (*untrained, Cell(MISSING)))
        score = float(summary.untrained[SCORE].mean()) if SCORE in summary.untrained else math.nan
        above = [or_lowest(means[loss, SCORE][0]) >= or_lowest(score) for loss in by_score(summary)]
        table.insert(sum(above), row)
    return table


def score_column(summary: Summary) -> int | None:
    """The number of the column by which the rows are sorted."""
    return summary.metrics.index(SCORE) if SCORE in summary.metrics else None


def difference_rows(summary: Summary) -> list[Row]:
    """For each hierarchical loss the paired difference from its base loss, in points."""
    return [
        Row(
            difference_name(loss, base),
            tuple(difference_cells(summary, loss, base, summary.metrics)),
            f"{loss} − {base}",
        )
        for loss, base in pairs_by_gain(summary)
    ]


def difference_cells(summary: Summary, loss: str, base: str, keys: Sequence[str]) -> Iterator[Cell]:
    """The cells of the paired differences of two losses in some metrics."""
    for key in keys:
        yield difference_cell(*mean_and_interval(summary.paired_differences(loss, base, key)), key)


def numeric_cell(mean: float, half: float, key: str, is_best: bool = False) -> Cell:
    """The cell of the mean of a metric, with the half-width of its interval unless that is NaN."""
    return Cell(number(mean, half, digits=digits_of(key)), is_best, finite(mean))


def difference_cell(mean: float, half: float, key: str, digits: int | None = None) -> Cell:
    """The cell of a difference: in bold where the interval does not include 0."""
    digits = digits_of(key) if digits is None else digits
    text = number(mean, half, sign=True, digits=digits)
    shown = 0.0 if math.isnan(mean) else round(mean, digits) * sign_of(key)
    trend = (shown > 0) - (shown < 0)
    return Cell(text, is_best=abs(mean) > half, value=finite(mean), trend=trend)


def finite(value: float) -> float | None:
    """The number, or ``None`` for NaN, which has no place in an order and in JSON."""
    return None if math.isnan(value) else float(value)


def terminal_table(summary: Summary, width: int) -> Table | Group:
    """The table for a terminal of ``width`` columns; one below the other where it is too wide."""
    columns = headers(summary)
    body = rows(summary)
    needed = 4 + max(len(row.key or row.name) for row in body)
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
        texts = [f"[bold]{c.text}[/]" if c.is_best else c.text for c in cells]
        table.add_row(row.key or row.name, *texts)
    return table


def markdown_table(
    columns: Columns, body: Sequence[Row], corner: str = "loss", prose: bool = False
) -> str:
    """A pipe table whose source lines up, too; the level's name precedes the metric.

    Arguments:
        columns: for each column of cells the name of its group and its own.
        body: the rows.
        corner: what the rows are.
        prose: whether the cells are texts, which are set flush left.
    """
    names = [(escaped(level), escaped(metric)) for level, metric in columns]
    header = [escaped(corner), *(f"{lvl}<br>{metric}" if lvl else metric for lvl, metric in names)]
    lines = [[escaped(row.name), *map(_markdown_cell, row.cells)] for row in body]
    align = ["left", *["left" if prose else "right"] * len(columns)]
    return tabulate(lines, header, tablefmt="pipe", disable_numparse=True, colalign=align)


def print_tables(text: str, paths: Iterable[Path], console: Console) -> None:
    """Print a text with pipe tables, and the files that it was written to."""
    # without line breaks in the headers of columns, which still line up
    text = re.sub(r"\|( [^|]*)<br>", r"|   \1 ", text)
    console.print(text, markup=False, highlight=False, soft_wrap=True)
    print_written(paths, console)


def _markdown_cell(cell: Cell) -> str:
    text = escaped(cell.text)
    text = f"**{text}**" if cell.is_best and text else text
    return f"{TRENDS[cell.trend]} {text}" if cell.trend else text


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
