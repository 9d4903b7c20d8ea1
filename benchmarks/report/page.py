"""Write the report of a suite: report.md with figures beside it, and one report.html."""

from __future__ import annotations

import base64
import io
import shlex
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from matplotlib.figure import Figure

from ..results import Summary
from ..suite import Outcome
from . import plots, tables
from .retrievals import retrieval_page

DOTS_PER_INCH = 110
NUM_RETRIEVAL_LOSSES = 2


@dataclass(frozen=True)
class Picture:
    """A figure of the report as PNG.

    Attributes:
        name: of its file, without suffix.
        title: the heading above it.
        caption: what it shows and how it is to be read.
        png: the bytes of the file.
    """

    name: str
    title: str
    caption: str
    png: bytes

    @property
    def data_uri(self) -> str:
        """The picture itself as an address, for a page that needs no other file."""
        return f"data:image/png;base64,{base64.b64encode(self.png).decode()}"


def write_report(outcome: Outcome, summary: Summary) -> list[Path]:
    """Write ``report.md`` and ``report.html`` into the folder of the suite; return their paths."""
    folder = outcome.suite.folder
    figures = folder / "figures"
    figures.mkdir(parents=True, exist_ok=True)
    pictures = _pictures(outcome, summary)
    for picture in pictures:
        (figures / f"{picture.name}.png").write_bytes(picture.png)
    values = {
        "summary": summary,
        "pictures": pictures,
        "columns": tables.headers(summary),
        "rows": tables.rows(summary),
        "differences": tables.difference_rows(summary),
        "markdown_table": tables.markdown_table,
        "command": command_line(),
        **_facts(outcome, summary),
    }
    environment = Environment(
        loader=PackageLoader("benchmarks.report"),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        autoescape=lambda name: name is not None and name.endswith(".html"),
    )
    written = []
    for name in ("report.md", "report.html"):
        path = folder / name
        path.write_text(environment.get_template(name).render(values), encoding="utf-8")
        written.append(path)
    return written


def command_line() -> str:
    """The command that made this report, as it can be typed."""
    return shlex.join(["python", "-m", "benchmarks", *sys.argv[1:]])


def _pictures(outcome: Outcome, summary: Summary) -> list[Picture]:
    several = summary.repetitions > 1
    interval = "The lines are 95% Student-t intervals. " if several else ""
    made: list[tuple[str, str, str, Callable[[], Figure | None]]] = [
        (
            "training",
            "Training",
            "Validation accuracy and training loss by epoch. A hierarchical loss has the colour "
            "of its base loss and a thick line, dotted where its tree is given.",
            lambda: plots.training_curves(outcome.results, summary),
        ),
        (
            "levels",
            "Accuracy by level",
            f"MAP@R on the test classes; hierarchical losses in blue. {interval}",
            lambda: plots.accuracy_by_level(summary),
        ),
        (
            "gain",
            "What the hierarchy changes",
            "The paired difference of each hierarchical loss to its base loss, over the same "
            f"seeds and folds. {interval}"
            + ("" if several else "One run has no interval: take it as a single draw."),
            lambda: plots.gain_by_level(summary),
        ),
        (
            "retrievals",
            "Retrievals",
            "Queries of unseen classes and their five nearest neighbours. The marks below a "
            f"neighbour say at which level it is right: {', '.join(summary.level_names)}.",
            lambda: retrieval_page(outcome.data, _retrieval_files(outcome, summary)),
        ),
    ]
    pictures = []
    for name, title, caption, draw in made:
        figure = draw()
        if figure is not None:
            pictures.append(Picture(name, title, caption.strip(), _png(figure)))
    return pictures


def _png(figure: Figure) -> bytes:
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=DOTS_PER_INCH)
    return buffer.getvalue()


def _retrieval_files(outcome: Outcome, summary: Summary) -> dict[str, Path]:
    """The last hierarchical loss beside its base loss, or whatever two losses there are."""
    pairs = summary.hierarchical()
    losses = list(pairs[-1][::-1]) if pairs else summary.losses[-NUM_RETRIEVAL_LOSSES:]
    first = {run.loss.name: run for run in reversed(outcome.suite.runs)}
    return {loss: first[loss].folder(outcome.suite.out) / "retrievals.npz" for loss in losses}


def _facts(outcome: Outcome, summary: Summary) -> dict[str, Any]:
    runs = outcome.suite.runs
    training = outcome.results[0]["config"]["training"]
    return {
        "dataset": outcome.suite.dataset,
        "seeds": sorted({run.seed for run in runs}),
        "folds": sorted({run.fold for run in runs}),
        "counts": outcome.results[0]["num_images"],
        "training": training,
        "loss_settings": {run.loss.name: run.loss.settings() for run in runs},
        "environment": outcome.results[-1]["environment"],
        "minutes": sum(result["seconds"] for result in outcome.results) / 60,
    }
