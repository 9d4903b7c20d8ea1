"""Every loss trained for several lengths; runs that are finished are not run again."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from rich.console import Console

from ..losses import LossSpec
from ..request import RunRequest
from ..run_config import RunConfig, read_result
from ..suite import Adapt, Suite, check_losses, plan
from ..training import train_and_validate
from ..validation_runs import Outcome, do_validated, load_for_validation

FOLDER = "convergence"  # apart from the runs of `run`, which are tested


@dataclass(frozen=True)
class Length:
    """How long a training run is.

    Attributes:
        times: the epochs as a multiple of those that the request asks for.
        epochs: of the training.
    """

    times: int
    epochs: int

    @property
    def name(self) -> str:
        """For people, e.g. "48 epochs"."""
        return f"{self.epochs} epoch{'s' if self.epochs > 1 else ''}"

    def run_name(self, loss: str) -> str:
        """The name of a loss's runs, e.g. ``hpl:proxy_nca:x2``."""
        return f"{loss}:x{self.times}"


@dataclass(frozen=True)
class Convergence:
    """What ``pml-hierarchical converge`` was asked for, checked.

    Attributes:
        shortest: the runs of the shortest length, by the names of their losses alone. The ``out``
            of its request is where the runs of all lengths are.
        lengths: of the training runs, the shortest first.
        runs: all runs of the shortest length, then those of the next.
        report_folder: where the table is written.
    """

    shortest: Suite
    lengths: tuple[Length, ...]
    runs: tuple[RunConfig, ...]
    report_folder: Path

    @property
    def request(self) -> RunRequest:
        """The request of the shortest runs."""
        return self.shortest.request

    @property
    def losses(self) -> list[LossSpec]:
        """What is trained, with the settings of the shortest runs."""
        return list({run.loss.name: run.loss for run in self.shortest.runs}.values())


ConvergenceOutcome = Outcome[Convergence]


def plan_convergence(
    request: RunRequest, times: Sequence[int] = (1, 2), adapt: Adapt | None = None
) -> Convergence:
    """Check what was asked for; nothing is read, trained or written yet.

    Arguments:
        request: of the runs whose length is 1.
        times: the lengths, as multiples of that one; at least two.
        adapt: see :func:`benchmarks.suite.plan`.

    Raises:
        ValueError: for lengths that are not two or more different ones above 0, and for all that
            :func:`benchmarks.suite.plan` refuses.
    """
    _check_times(times)
    report_folder = request.folder
    request = replace(request, out=request.out / FOLDER)
    epochs = plan(request, adapt).runs[0].settings.epochs
    lengths = tuple(Length(number, number * epochs) for number in sorted(times))
    suites = [plan(_as_long_as(request, length.epochs), adapt) for length in lengths]
    runs = tuple(
        replace(run, loss=replace(run.loss, name=length.run_name(run.loss.name)))
        for length, suite in zip(lengths, suites, strict=True)
        for run in suite.runs
    )
    for run in runs:
        read_result(run, request.out)  # refuses one with other settings
    return Convergence(suites[0], lengths, runs, report_folder)


def _check_times(times: Sequence[int]) -> None:
    if any(number < 1 for number in times):
        raise ValueError(f"--times must be integers of at least 1, got {min(times)}")
    repeated = [number for number in dict.fromkeys(times) if list(times).count(number) > 1]
    if repeated:
        raise ValueError(f"--times has {repeated[0]} more than once")
    if len(times) < 2:
        given = " ".join(map(str, times)) or "none"
        raise ValueError(f"--times needs at least two lengths to compare, such as 1 2; got {given}")


def _as_long_as(request: RunRequest, epochs: int) -> RunRequest:
    """The same request with another length, however the first was given."""
    training = {**request.given.training, "epochs": epochs}
    return replace(request, given=replace(request.given, training=training))


def run_convergence(
    convergence: Convergence,
    console: Console,
    report: Callable[[ConvergenceOutcome], None] | None = None,
) -> ConvergenceOutcome:
    """Do the runs that are not finished yet and collect the results of all.

    Arguments:
        convergence: what :func:`plan_convergence` returned.
        console: for progress.
        report: is called with the outcome while no other command can write into the folder.

    Raises:
        OSError: if such runs are already in progress in the folder, or the disk is full.
        ValueError: if a folder holds runs on other images or with other settings, or a loss refuses
            its settings (before any training).
    """
    request = convergence.request
    data = load_for_validation(request, convergence.shortest.folds)
    check_losses(convergence.shortest, data)
    runs = convergence.runs
    return do_validated(convergence, request, runs, data, console, train_and_validate, report)
