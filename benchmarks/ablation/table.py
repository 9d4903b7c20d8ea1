"""Write the table of an ablation: ablation.md for people, and ablation.json beside it."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from ..files import write_whole
from ..report.blocks import Cell, Row
from ..report.loss_names import full_name
from ..report.page import command_line
from ..report.tables import MISSING, difference_cell, finite, markdown_table, numeric_cell
from ..results import Summary
from ..wording import counted, listed
from .differences import PRIMARY, Comparison, collect_validation, compare
from .runs import AblationOutcome

FINEST = f"{PRIMARY}_level0"
DIGITS = 2  # of differences
_INTRODUCTION = """\
# {dataset}: what each setting of HPL changes

**Validation classes only**: no run has been evaluated on the test classes. Each run counts with the
epoch of its best validation MAP@R ({level}) after the share of the training that is HPL's warm-up.
Seeds {seeds}; folds {folds}; {epochs}. {network}

Command: `{command}`
"""
READING = """\
The first row is the flat loss itself, in percent; the others are differences from it, in points,
over pairs of the same seed and fold, and under "All bases" over those of all flat losses.
"− reference" is the difference from the discovered or given tree of the first rows, which the
variant changes in one factor. ± is the half-width of the 95% Student-t interval; bold is a
difference whose interval does not include 0. The folds share training classes, so the pairs are
not quite independent. A single pair has no interval: take it as one draw.
s: seconds of a run."""


def write_tables(outcome: AblationOutcome) -> tuple[str, list[Path]]:
    """Write both files; return the tables as Markdown and the paths of the files."""
    folder = outcome.plan.report_folder
    folder.mkdir(parents=True, exist_ok=True)
    summary = collect_validation(outcome.results, outcome.level_names)
    compared = compare(summary, outcome.plan.bases)
    flat = outcome.plan.flat
    introduction = _INTRODUCTION.format(
        dataset=flat.request.source.title,
        level=outcome.level_names[0],
        seeds=listed(run.seed for run in flat.runs),
        folds=listed(flat.folds),
        epochs=counted(flat.runs[0].settings.epochs, "epoch"),
        network=flat.request.source.backbone.sentence(),
        command=command_line(),
    )
    tables = "\n".join(section(summary, rows) for rows in compared.values())
    every = [row for rows in compared.values() for row in rows]
    text = f"{tables}\n{factor_list(every)}\n{READING}\n{_superclasses(outcome.results)}"
    markdown, plain = folder / "ablation.md", folder / "ablation.json"
    write_whole(markdown, f"{introduction}\n{text}")
    content = {
        "dataset": flat.request.source.dataset,
        "part": "validation",
        "comparisons": [as_plain(row) for row in every],
        "runs": runs_as_plain(summary, outcome.results),
    }
    write_whole(plain, json.dumps(content, indent=2))
    return text, [markdown, plain]


def section(summary: Summary, rows: Sequence[Comparison]) -> str:
    """The table of one base loss, under its name."""
    columns = [
        *map(summary.column, summary.metrics),
        ("− reference", "MAP@R"),
        ("", "pairs"),
        ("", "s"),
    ]
    return f"## {full_name(rows[0].base)}\n\n{markdown_table(columns, [*map(_row, rows)])}\n"


def _row(row: Comparison) -> Row:
    cells = [
        numeric_cell(mean, half, key)
        if row.variant is None
        else difference_cell(mean, half, key, DIGITS)
        for key, (mean, half) in row.values.items()
    ]
    beside = row.to_reference.get(FINEST)
    cells.append(difference_cell(*beside, FINEST, DIGITS) if beside else Cell(MISSING))
    name = full_name(row.base) if row.variant is None else row.label
    return Row(name, (*cells, Cell(str(row.pairs)), Cell(f"{row.seconds:.0f}")))


def factor_list(rows: Iterable[Comparison]) -> str:
    """What the factors of some rows are, as a list."""
    factors = {row.variant.factor.name: row.variant.factor.about for row in rows
               if row.variant and row.variant.factor}  # fmt: skip
    return "".join(f"- `{name}`: {about}.\n" for name, about in factors.items())


def as_plain(row: Comparison) -> dict[str, Any]:
    """All that a row shows, for JSON."""

    def values(found: dict[str, tuple[float, float]]) -> dict[str, Any]:
        return {
            key: {"mean": finite(mean), "half_width": finite(half)}
            for key, (mean, half) in found.items()
        }

    return {
        "base": row.base,
        "loss": row.loss,
        "minus_flat" if row.variant else "metrics": values(row.values),
        "minus_reference": values(row.to_reference),
        "pairs": row.pairs,
        "seconds": row.seconds,
        "update_seconds": finite(row.update_seconds),
        "selected_epochs": list(row.epochs),
    }


def runs_as_plain(summary: Summary, results: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """The runs that a table was computed from, for JSON."""
    runs = summary.runs.astype(object).where(summary.runs.notna(), None)
    return [
        {**row, "sizes": result["sizes"], "settings": result["config"]["loss_settings"]}
        for row, result in zip(runs.to_dict(orient="records"), results, strict=True)
    ]


def _superclasses(results: Iterable[dict[str, Any]]) -> str:
    """How many superclasses the discovered reference has in each fold."""
    found = {
        result["config"]["fold"]: f"{result['sizes'][1]} of {result['sizes'][0]} classes"
        for result in results
        if result["config"]["loss"].split(":")[::2] == ["hpl"]
    }
    by_fold = "; ".join(f"fold {fold}: {text}" for fold, text in sorted(found.items()))
    return f"Superclasses of the discovered reference by fold: {by_fold}.\n" if found else ""
