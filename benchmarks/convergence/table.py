"""Write what was found: convergence.md for people, and convergence.json and .png beside it."""

from __future__ import annotations

import itertools
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ..files import write_whole
from ..report.blocks import Cell, Row
from ..report.loss_names import full_name
from ..report.page import command_line
from ..report.provenance import environments, span_of
from ..report.style import as_png
from ..report.tables import finite, markdown_table, number
from ..training import selected
from ..wording import listed
from .curves import convergence_curves
from .gains import (
    MOST_DISTANCE,
    MOST_GAIN,
    LossGains,
    MeanAndHalf,
    all_gains,
    have_converged,
    lead_of_proxies,
)
from .runs import ConvergenceOutcome
from .sentences import sentences

NAME = "convergence"
_INTRODUCTION = """\
# {dataset}: does longer training help?

**Validation classes only**: no run has been evaluated on the test classes. Each run counts with the
epoch of its best validation MAP@R ({level}) among those that may be selected. The cosine decay of
the learning rates is stretched over the whole training. Seeds {seeds}; folds {folds}.

Command: `{command}`
"""
_NOTES = """\
MAP@R in percent; differences in points, in bold where they are above {limit:g}; best: the selected
epoch; s: seconds of a run. {interval}
"""
_INTERVAL = """\
± is the half-width of the 95% Student-t interval over {runs} runs, for a
difference over pairs of the same fold and seed. The folds share training classes, so the runs are
not quite independent."""
_NO_INTERVAL = "One run has no interval: take it as a single draw."
_PICTURE = "![Validation MAP@R of every loss over the share of the training]({name}.png)"


def write_convergence(outcome: ConvergenceOutcome) -> tuple[str, list[Path]]:
    """Write the three files; return table and sentences as Markdown, and the paths of the files."""
    convergence = outcome.plan
    gains = all_gains(outcome)
    introduction = _INTRODUCTION.format(
        dataset=convergence.request.source.title,
        level=outcome.level_names[0],
        seeds=listed(run.seed for run in convergence.runs),
        folds=listed(run.fold for run in convergence.runs),
        command=command_line(),
    )
    runs = len(gains[0].best_epochs[0])
    interval = _INTERVAL.format(runs=runs) if runs > 1 else _NO_INTERVAL
    notes = _NOTES.format(limit=MOST_GAIN, interval=interval)
    said = "\n".join(f"- {sentence}" for sentence in sentences(gains, convergence.lengths))
    text = f"{_table(outcome, gains)}\n\n{said}\n\n{notes}"
    picture = _PICTURE.format(name=NAME)
    machines = "\n".join(f"- {sentence}" for sentence in environments(outcome.results))
    paths = [convergence.report_folder / f"{NAME}.{ending}" for ending in ("md", "json", "png")]
    markdown, plain, png = paths
    convergence.report_folder.mkdir(parents=True, exist_ok=True)
    write_whole(png, as_png(convergence_curves(outcome, [one.loss for one in gains])))
    write_whole(plain, json.dumps(as_plain(outcome, gains), indent=2))
    write_whole(markdown, f"{introduction}\n{text}\n{picture}\n\n{machines}\n")
    return text, paths


def _table(outcome: ConvergenceOutcome, gains: Sequence[LossGains]) -> str:
    found = outcome.plan.lengths
    steps = [f"{few.epochs} → {many.epochs}" for few, many in itertools.pairwise(found)]
    lengths = [length.name for length in found]
    columns = [
        ("", "kind"),
        *((length, "MAP@R") for length in lengths),
        *((step, "points") for step in steps),
        *((length, "best") for length in lengths),
        *((length, "s") for length in lengths),
    ]
    return markdown_table(columns, [_row(one) for one in gains])


def _row(one: LossGains) -> Row:
    cells = [
        Cell(one.kind),
        *(Cell(number(*score, digits=2)) for score in one.scores),
        *(Cell(number(*gain, sign=True, digits=2), gain[0] > MOST_GAIN) for gain in one.gains),
        *(Cell(span_of(epochs)) for epochs in one.best_epochs),
        *(Cell(f"{seconds:.0f}") for seconds in one.seconds),
    ]
    return Row(full_name(one.loss), tuple(cells), one.loss)


def as_plain(outcome: ConvergenceOutcome, gains: list[LossGains]) -> dict[str, Any]:
    """All that table and sentences show, and the runs that they were computed from."""
    convergence = outcome.plan
    leads = [lead_of_proxies(gains, number) for number in range(len(convergence.lengths))]
    return {
        "dataset": convergence.request.source.dataset,
        "part": "validation",
        "lengths": [
            {"times": length.times, "epochs": length.epochs, "best_proxy_minus_best_pair": lead}
            for length, lead in zip(convergence.lengths, leads, strict=True)
        ],
        "limits": {"gain": MOST_GAIN, "distance": MOST_DISTANCE},
        "converged": [have_converged(gains, step) for step in range(len(convergence.lengths) - 1)],
        "losses": [
            {
                "loss": one.loss,
                "kind": one.kind,
                "scores": [_plain(score) for score in one.scores],
                "gains": [_plain(gain) for gain in one.gains],
                "best_epochs": one.best_epochs,
                "seconds": one.seconds,
            }
            for one in gains
        ],
        "runs": [
            {
                "score": finite(100 * selected(result)),
                "best_epoch": result["best_epoch"],
                "seconds": result["seconds"],
                **result["config"],
            }
            for result in outcome.results
        ],
        "sentences": list(sentences(gains, convergence.lengths)),
    }


def _plain(value: MeanAndHalf) -> dict[str, float | None]:
    return {"mean": finite(value[0]), "half_width": finite(value[1])}
