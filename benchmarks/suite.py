"""All runs that were asked for; those that are finished are not run again."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from rich.console import Console

from .backbones import DEFAULT_BACKBONE, BackboneChoice
from .concatenated import concatenate_folds
from .datasets import DATASETS, check_backbone, load_dataset
from .datasets.base import NUM_FOLDS, RetrievalData
from .device import checked_device
from .distributed import from_first, wait_for_all
from .jobs import DataSource, check_jobs, do_runs
from .locking import only_one_in
from .losses import LossSpec, find_loss
from .progress import SuiteProgress, quiet_pml_bars
from .run_config import RunConfig, iterations_of, read_result
from .settings import SETTINGS, TrainingSettings
from .stored import StoredRuns, describe_dataset, read_stored
from .training import evaluate_untrained, help_to_train, train

Adapt = Callable[[LossSpec, TrainingSettings], tuple[LossSpec, TrainingSettings]]


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
        jobs: how many runs take place at a time.
        backbone: the network that the images go through.
    """

    dataset: str
    data_root: Path | None
    runs: tuple[RunConfig, ...]
    folds: tuple[int, ...]
    out: Path
    device: torch.device
    skip_broken: bool = False
    jobs: int = 1
    backbone: BackboneChoice = DEFAULT_BACKBONE

    @property
    def source(self) -> DataSource:
        """Where every process reads the data set from."""
        return DataSource(
            self.dataset, self.data_root, self.skip_broken, self.backbone, str(self.device)
        )

    @property
    def folder(self) -> Path:
        """Where the runs of the data set and their report are."""
        return self.out / self.dataset


def plan(
    dataset: str,
    data_root: Path | None,
    losses: Sequence[str],
    seeds: Sequence[int],
    folds: Sequence[int] | None,
    epochs: int | None,
    out: Path,
    device: str,
    *,
    skip_broken: bool = False,
    jobs: int = 1,
    adapt: Adapt | None = None,
    backbone: BackboneChoice = DEFAULT_BACKBONE,
    workers: int = 0,
    changes: Mapping[str, Any] | None = None,
) -> Suite:
    """Check what was asked for and lay out the runs; nothing is read, trained or written yet.

    Arguments:
        adapt: changes a loss and its training, e.g. to the settings that were found by a search.
        changes: attributes of ``TrainingSettings`` that differ from the data set's, whatever
            ``adapt`` says of them.

    Raises:
        ValueError: for an unknown data set or loss (with the nearest name), a fold that does not
            exist, fewer than one epoch, something asked for twice, a device that is not there, a
            backbone that cannot be, or a folder in ``out`` that holds a run with other settings.
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
    chosen = [(find_loss(name, settings.losses), settings) for name in losses]
    if adapt is not None:
        chosen = [adapt(spec, training) for spec, training in chosen]
    check_backbone(dataset, backbone)
    if workers < 0:
        raise ValueError(f"--workers must not be negative, got {workers}")
    runs = tuple(
        RunConfig(
            dataset,
            spec,
            seed,
            fold,
            replace(training, **(changes or {})),
            skip_broken,
            backbone,
            workers,
        )
        for seed in seeds
        for fold in folds
        for spec, training in chosen
    )
    for run in runs:
        read_result(run, out)
    return Suite(
        dataset,
        data_root,
        runs,
        folds,
        out,
        checked_device(device),
        skip_broken,
        check_jobs(jobs),
        backbone,
    )


def run(suite: Suite, console: Console) -> StoredRuns:
    """Do the runs that are not finished yet and read the results of all.

    Raises:
        OSError: if another suite is running in the folder, or the disk is full.
        ValueError: if the folder holds runs on other images or another backbone.
    """
    data = suite.source.load()
    wait_for_all()  # what was slow to load is in the cache now
    with only_one_in(suite.folder):
        describe_dataset(suite.folder, data, suite.backbone, suite.folds, evaluate_untrained)
        _do_missing(suite, data, console)
        concatenate_folds(suite.runs, data, suite.out)
    asked = {(run.loss.name, run.seed, run.fold) for run in suite.runs}
    return read_stored(
        suite.folder, lambda config: (config["loss"], config["seed"], config["fold"]) in asked
    )


def help_run(suite: Suite) -> None:
    """Train the runs of :func:`run` with the first process, and leave the rest to it."""
    wait_for_all()
    data = suite.source.load()
    todo: list[RunConfig] = from_first([])
    with quiet_pml_bars():
        for config in todo:
            help_to_train(config, data, suite.device)


def _do_missing(suite: Suite, data: RetrievalData, console: Console) -> None:
    todo = [config for config in suite.runs if read_result(config, suite.out) is None]
    todo = from_first(todo)
    if len(todo) < len(suite.runs):
        console.print(f"{len(suite.runs) - len(todo)} of {len(suite.runs)} runs are already done")
    if not todo:
        return
    progress = SuiteProgress(console, len(todo), iterations_of(todo))
    with progress.shown():
        finished = do_runs(
            train, todo, suite.source, data, suite.out, suite.device, progress, suite.jobs
        )
        for config, result in finished:
            progress.finish(
                f"{config.name:<42} P@1 {100 * result['test']['precision_at_1_level0']:5.1f}   "
                f"MAP@R {100 * result['test']['mean_average_precision_at_r_level0']:5.1f}   "
                f"{result['seconds']:4.0f} s"
            )
