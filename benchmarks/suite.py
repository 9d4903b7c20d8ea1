"""All runs that were asked for, one after the other; finished ones are not run again."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from rich.console import Console

from .datasets import DATASETS, load_dataset
from .datasets.base import NUM_FOLDS, RetrievalData
from .losses import find_loss
from .progress import SuiteProgress
from .run_config import RunConfig, read_result
from .settings import SETTINGS
from .training import evaluate_untrained, train


@dataclass(frozen=True)
class Suite:
    """What ``python -m benchmarks run`` was asked for, checked.

    Attributes:
        dataset: a name in ``DATASETS``.
        data_root: where the data set is, for those that are read from a folder.
        runs: the runs in the order in which they take place.
        folds: the folds among them.
        out: the folder of all results.
        device: where the networks are trained.
        skip_broken: leave out missing and broken images instead of refusing them.
    """

    dataset: str
    data_root: Path | None
    runs: tuple[RunConfig, ...]
    folds: tuple[int, ...]
    out: Path
    device: torch.device
    skip_broken: bool = False

    @property
    def folder(self) -> Path:
        """Where the runs of the data set and their report are."""
        return self.out / self.dataset


@dataclass(frozen=True)
class Outcome:
    """The results of all runs of a suite.

    Attributes:
        suite: what was asked for.
        data: the data set.
        results: one per run, as ``training.train`` returns it.
        untrained: for each fold the metrics of the embedding that needs no training.
    """

    suite: Suite
    data: RetrievalData
    results: tuple[dict[str, Any], ...]
    untrained: tuple[dict[str, float], ...]


def plan(
    dataset: str,
    data_root: Path | None,
    losses: Sequence[str],
    seeds: Sequence[int],
    folds: Sequence[int] | None,
    epochs: int | None,
    out: Path,
    device: str,
    skip_broken: bool = False,
) -> Suite:
    """Check what was asked for and lay out the runs; nothing is read, trained or written yet.

    Raises:
        ValueError: for an unknown data set or loss (with the nearest name), a fold that does not
            exist, fewer than one epoch, something asked for twice, a device that is not there, or
            a folder in ``out`` that holds a run with other settings.
    """
    if dataset not in DATASETS:
        load_dataset(dataset)  # says what is wrong with the name
    for name, values in (("losses", losses), ("seeds", seeds), ("folds", folds or ())):
        repeated = [value for value in dict.fromkeys(values) if list(values).count(value) > 1]
        if repeated:
            raise ValueError(f"--{name} has {repeated[0]} more than once")
    settings = SETTINGS[dataset]
    if epochs is not None:
        if epochs < 1:
            raise ValueError(f"--epochs must be at least 1, got {epochs}")
        settings = settings.with_epochs(epochs)
    folds = tuple(DATASETS[dataset].default_folds if folds is None else folds)
    for fold in folds:
        if not 0 <= fold < NUM_FOLDS:
            raise ValueError(f"--folds must be in 0..{NUM_FOLDS - 1}, got {fold}")
    if any(seed < 0 for seed in seeds):
        raise ValueError(f"--seeds must not be negative, got {min(seeds)}")
    specs = [find_loss(name, settings.losses) for name in losses]
    runs = tuple(
        RunConfig(dataset, spec, seed, fold, settings)
        for seed in seeds
        for fold in folds
        for spec in specs
    )
    for run in runs:
        read_result(run, out)
    return Suite(dataset, data_root, runs, folds, out, _checked_device(device), skip_broken)


def run(suite: Suite, console: Console) -> Outcome:
    """Do the runs that are not finished yet and collect the results of all."""
    data = load_dataset(suite.dataset, suite.data_root, suite.skip_broken)
    results = [read_result(config, suite.out) for config in suite.runs]
    todo = [config for config, result in zip(suite.runs, results, strict=True) if result is None]
    if len(todo) < len(suite.runs):
        console.print(f"{len(suite.runs) - len(todo)} of {len(suite.runs)} runs are already done")
    iterations = sum(c.settings.epochs * c.settings.iterations_per_epoch for c in todo)
    progress = SuiteProgress(console, len(todo), iterations)
    with progress.shown() if todo else nullcontext():
        for config in todo:
            result = train(config, data, suite.out, suite.device, progress)
            results[suite.runs.index(config)] = result
            progress.finish(
                f"{config.name:<42} P@1 {100 * result['test']['precision_at_1_level0']:5.1f}   "
                f"MAP@R {100 * result['test']['mean_average_precision_at_r_level0']:5.1f}   "
                f"{result['seconds']:4.0f} s"
            )
    untrained = tuple(evaluate_untrained(data, fold) for fold in suite.folds)
    return Outcome(suite, data, tuple(result for result in results if result), untrained)


def _checked_device(name: str) -> torch.device:
    try:
        device = torch.device(name)
        torch.zeros(1, device=device)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0]
        raise ValueError(f"--device {name} is not to be had here: {reason}") from error
    return device
