"""The progress bar of the suite: which loss and epoch is under way, and how long it will take."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Protocol

from pytorch_metric_learning.trainers import base_trainer
from rich.console import Console
from rich.progress import (
    BarColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)


class RunProgress(Protocol):
    """What a run reports about itself."""

    def describe(self, run: str, stage: str) -> None:
        """Say what is under way, e.g. ``describe("arcface", "epoch 3/10")``."""

    def advance(self, iterations: int = 1) -> None:
        """Report that this many training iterations are done."""


class SuiteProgress:
    """One bar over all iterations of all runs, with the run and epoch under way beside it.

    Arguments:
        console: where to draw; without a terminal a line is printed for each finished run.
        num_runs: how many runs there are to do.
        iterations: how many training iterations they have together.
    """

    def __init__(self, console: Console, num_runs: int, iterations: int) -> None:
        self.console = console
        self.num_runs = num_runs
        self._done = 0
        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=16),
            TimeElapsedColumn(),
            TextColumn("left"),
            TimeRemainingColumn(),
            console=console,
            transient=True,
        )
        self._task = self._progress.add_task("starting", total=iterations)

    @contextmanager
    def shown(self) -> Iterator[None]:
        """Draw the bar for as long as the context lasts."""
        with self._progress, quiet_pml_bars():
            yield

    def describe(self, run: str, stage: str) -> None:
        """Say what is under way, e.g. ``describe("arcface", "epoch 3/10")``."""
        number = f"{self._done + 1}/{self.num_runs}"
        self._progress.update(self._task, description=f"{number} [bold]{run}[/] {stage}")

    def advance(self, iterations: int = 1) -> None:
        """Report that this many training iterations are done."""
        self._progress.advance(self._task, iterations)

    def finish(self, line: str) -> None:
        """One run is done; ``line`` stays above the bar."""
        self._done += 1
        self._progress.console.print(line, highlight=False, markup=False)


def print_written(paths: Iterable[Path], console: Console) -> None:
    """Say which files were written."""
    for path in paths:
        console.print(f"wrote {path}", markup=False, highlight=False, soft_wrap=True)


@contextmanager
def quiet_pml_bars() -> Iterator[None]:
    """Silence the bar that PML's trainer draws for every epoch, which has no switch."""
    original = base_trainer.tqdm
    base_trainer.tqdm = SimpleNamespace(tqdm=partial(original.tqdm, disable=True))
    try:
        yield
    finally:
        base_trainer.tqdm = original
