"""Write the table of an ablation: ablation.md for people, and ablation.json beside it."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from ..report.page import command_line
from ..report.tables import Cell, Row, markdown_table
from ..results import Summary
from .differences import Comparison, against_flat, against_reference
from .runs import AblationOutcome
from .variants import Variant

_INTRODUCTION = """\
# {dataset}: what single settings of HPL change

**Validation classes only**: no run has been evaluated on the test classes. Each run counts with the
epoch of its best validation MAP@R ({level}). Seeds {seeds}; folds {folds}; {epochs} epochs.
Network: {network}.

Command: `{command}`
"""
_NOTES = """\
In percent and points. {interval} s: seconds of a run; update: milliseconds of an update of the
hierarchy. Superclasses of the discovered reference by fold: {superclasses}.
"""
_INTERVAL = """\
± is the half-width of the 95% Student-t interval over {pairs} pairs of the same fold
and seed, and bold is a difference whose interval does not hold 0. The folds share training classes,
so the pairs are not quite independent."""
_NO_INTERVAL = "One pair has no interval: take it as a single draw."


def write_tables(outcome: AblationOutcome, summary: Summary) -> tuple[str, list[Path]]:
    """Write both files; return the tables as Markdown and the paths of the files."""
    folder = outcome.ablation.report_folder
    folder.mkdir(parents=True, exist_ok=True)
    tables = "\n".join(_section(outcome, summary, base) for base in outcome.ablation.bases)
    flat = outcome.ablation.flat
    introduction = _INTRODUCTION.format(
        dataset=flat.request.source.dataset,
        level=outcome.level_names[0],
        seeds=_listed({run.seed for run in flat.runs}),
        folds=_listed(flat.folds),
        epochs=flat.runs[0].settings.epochs,
        network=flat.request.source.backbone,
        command=command_line(),
    )
    pairs = summary.repetitions
    interval = _INTERVAL.format(pairs=pairs) if pairs > 1 else _NO_INTERVAL
    notes = _NOTES.format(interval=interval, superclasses=_superclasses(outcome))
    text = f"{tables}\n{notes}"
    markdown, plain = folder / "ablation.md", folder / "ablation.json"
    markdown.write_text(f"{introduction}\n{text}", encoding="utf-8")
    plain.write_text(json.dumps(as_plain(outcome, summary), indent=2), encoding="utf-8")
    return text, [markdown, plain]


def as_plain(outcome: AblationOutcome, summary: Summary) -> dict[str, Any]:
    """All that the table shows, and the runs that it was computed from."""
    runs = summary.runs.astype(object).where(summary.runs.notna(), None)
    return {
        "dataset": outcome.ablation.flat.request.source.dataset,
        "part": "validation",
        "comparisons": [
            {
                "base": row.base,
                "loss": row.loss,
                "minus": row.other,
                "seconds": row.seconds,
                "update_seconds": _number_or_none(row.update_seconds),
                "metrics": {
                    key: {"mean": mean, "half_width": _number_or_none(half)}
                    for key, (mean, half) in row.values.items()
                },
            }
            for base in outcome.ablation.bases
            for compare in (against_flat, against_reference)
            for row in compare(outcome, summary, base)
        ],
        "runs": [
            {**row, "sizes": result["sizes"], "settings": result["config"]["loss_settings"]}
            for row, result in zip(runs.to_dict(orient="records"), outcome.results, strict=True)
        ],
    }


def _section(outcome: AblationOutcome, summary: Summary, base: str) -> str:
    columns = [*map(summary.column, summary.metrics), ("", "s"), ("", "update")]
    flat, single = (
        markdown_table(columns, _rows(compare(outcome, summary, base)))
        for compare in (against_flat, against_reference)
    )
    return (
        f"## {base}\n\nFirst the flat loss itself, then the differences to it:\n\n{flat}\n\n"
        f"The differences to the HPL that is changed in one argument:\n\n{single}\n"
    )


def _rows(comparisons: Iterable[Comparison]) -> list[Row]:
    rows = []
    for row in comparisons:
        name = row.base if row.variant is None else row.variant.label
        if row.other not in (None, row.base) and row.variant is not None:
            name += f" − {row.variant.reference.label}"
        cells = [
            Cell(_text(mean, half, row.other is not None), bool(row.other) and abs(mean) > half)
            for mean, half in row.values.values()
        ]
        update = "–" if math.isnan(row.update_seconds) else f"{1000 * row.update_seconds:.1f}"
        rows.append(Row(name, (*cells, Cell(f"{row.seconds:.1f}"), Cell(update))))
    return rows


def _text(mean: float, half_width: float, sign: bool) -> str:
    mean = round(mean, 2) + 0.0  # no "-0.0"
    text = f"{mean:+.2f}" if sign else f"{mean:.2f}"
    return text if math.isnan(half_width) else f"{text} ±{half_width:.2f}"


def _superclasses(outcome: AblationOutcome) -> str:
    """How many superclasses the discovered reference has in each fold."""
    references = {Variant("hpl").loss_name(base) for base in outcome.ablation.bases}
    found = {
        result["config"]["fold"]: f"{result['sizes'][1]} of {result['sizes'][0]} classes"
        for result in outcome.results
        if result["config"]["loss"] in references
    }
    return "; ".join(f"fold {fold}: {text}" for fold, text in sorted(found.items())) or "not used"


def _listed(values: Iterable[int]) -> str:
    return ", ".join(str(value) for value in sorted(values))


def _number_or_none(value: float) -> float | None:
    return None if math.isnan(value) else value
