"""All runs that were asked for; those that are finished are not run again."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from rich.console import Console

from .concatenated import concatenate_folds
from .datasets import DATASETS, check_backbone, load_dataset
from .datasets.base import NUM_FOLDS, RetrievalData
from .device import checked_device
from .distributed import from_first, wait_for_all
from .jobs import check_jobs, do_missing
from .locking import only_one_in
from .loss_checks import check_loss, check_tree
from .losses import LossSpec, find_loss
from .progress import quiet_pml_bars
from .request import RunRequest
from .run_config import RunConfig, read_result
from .settings import TrainingSettings, settings_for
from .stored import StoredRuns, describe_dataset, read_stored
from .thumbnails import keep_thumbnails
from .training import evaluate_untrained, help_to_train, train
from .training.tree import training_tree

Changes = Mapping[str, Any]  # attributes of TrainingSettings
Adapt = Callable[[LossSpec, TrainingSettings, Changes], tuple[LossSpec, TrainingSettings]]


@dataclass(frozen=True)
class Suite:
    """What was asked for, checked.

    Attributes:
        request: what was asked for.
        runs: the runs in the order in which they take place.
    """

    request: RunRequest
    runs: tuple[RunConfig, ...]

    @property
    def folds(self) -> tuple[int, ...]:
        """The folds among the runs."""
        return tuple(dict.fromkeys(run.fold for run in self.runs))


LARGEST_SEED = 2**31 - 2  # that the clusterers take


def plan(request: RunRequest, adapt: Adapt | None = None) -> Suite:
    """Check what was asked for and lay out the runs; nothing is read, trained or written yet.

    Arguments:
        request: what was asked for.
        adapt: changes a loss and its training, e.g. to the settings that were found by a search;
            it gets what the request sets of the training, which takes precedence.

    Raises:
        ValueError: for an unknown data set or loss (with the nearest name), a fold that does not
            exist, something asked for twice, a device that is not available, a backbone that does
            not fit, a setting that no loss has (with the nearest name), a warm-up as long as the
            training, or a folder in ``out`` that holds a run with other settings.
    """
    source = request.source
    if source.dataset not in DATASETS:
        load_dataset(source.dataset)  # says what is wrong with the name
    changes = request.given.training
    settings = settings_for(source.dataset, source.backbone).in_regime(request.regime)
    settings = replace(settings, **changes)
    folds = request.folds
    if folds is None:
        folds = DATASETS[source.dataset].default_folds
    _check_lists(request, folds)
    chosen = []
    for name in request.losses:
        spec = find_loss(name, settings.loss_overrides)
        training = replace(settings.for_loss(name), **changes)
        if adapt is not None:
            spec, training = adapt(spec, training, changes)
        chosen.append((request.given.on(spec), training))
    request.given.check([spec for spec, _ in chosen])
    check_backbone(source.dataset, source.backbone)
    checked_device(source.device)
    check_jobs(request.jobs)
    if request.source.workers < 0:
        raise ValueError(f"--workers must not be negative, got {request.source.workers}")
    runs = tuple(
        RunConfig(
            source.dataset,
            spec,
            seed,
            fold,
            training,
            source.skip_broken,
            source.backbone,
            request.training_workers,
        )
        for seed in request.seeds
        for fold in folds
        for spec, training in chosen
    )
    for run in runs:
        run.check()
        read_result(run, request.out)
    return Suite(request, runs)


def _check_lists(request: RunRequest, folds: tuple[int, ...]) -> None:
    lists: dict[str, tuple[Any, ...]] = {
        "losses": request.losses,
        "seeds": request.seeds,
        "folds": folds,
    }
    for name, values in lists.items():
        repeated = [value for value in dict.fromkeys(values) if values.count(value) > 1]
        if repeated:
            raise ValueError(f"--{name} has {repeated[0]} more than once")
    for fold in folds:
        if not 0 <= fold < NUM_FOLDS:
            raise ValueError(f"--folds must be in 0..{NUM_FOLDS - 1}, got {fold}")
    for seed in request.seeds:
        if seed < 0:
            raise ValueError(f"a seed must not be negative, got {seed}")
        if seed > LARGEST_SEED:
            raise ValueError(f"a seed must be at most {LARGEST_SEED}, got {seed}")


def run(
    suite: Suite, console: Console, report: Callable[[StoredRuns], None] | None = None
) -> StoredRuns:
    """Do the runs that are not finished yet and read the results of all.

    Arguments:
        suite: what :func:`plan` returned.
        console: for progress.
        report: is called with the results while no other command can write into the folder.

    Raises:
        OSError: if another suite is running in the folder, or the disk is full.
        ValueError: if the folder holds runs on other images or another backbone, or no validation
            or test image has another one of its class.
    """
    request = suite.request
    data = request.source.load(warn=True)
    for fold in suite.folds:
        data.check_accuracy(fold)
    check_losses(suite, data)
    wait_for_all()  # by now what was slow to load is in the cache
    with only_one_in(request.folder):
        describe_dataset(
            request.folder,
            data,
            request.source.backbone,
            suite.folds,
            evaluate_untrained,
            request.source.title,
        )
        keep_thumbnails(data, suite.folds[0], request.folder)
        do_missing(train, suite.runs, request, data, console, _line)
        concatenate_folds(suite.runs, data, request.out)
        asked = {(run.loss.name, run.seed, run.fold) for run in suite.runs}
        stored = read_stored(
            request.folder, lambda config: (config["loss"], config["seed"], config["fold"]) in asked
        )
        if report is not None:
            report(stored)
    return stored


def check_losses(suite: Suite, data: RetrievalData) -> None:
    """Try each loss once: what it refuses is an error before any training.

    Raises:
        ValueError: see :func:`~benchmarks.loss_checks.check_loss`.
    """
    trees = {fold: training_tree(data.labels[data.split(fold).train])[1] for fold in suite.folds}
    for run in suite.runs:
        check_tree(run.loss, trees[run.fold])
    _warn_of_smaller_batches(suite, min(tree.num_classes for tree in trees.values()))
    for run in {run.loss.name: run for run in reversed(suite.runs)}.values():
        check_loss(run, trees[run.fold])


def _warn_of_smaller_batches(suite: Suite, num_classes: int) -> None:
    asked = suite.request.given.training.get("batch_size")
    size = suite.runs[0].settings.images_per_batch(num_classes)
    if asked is not None and size < asked:
        warnings.warn(
            f"a batch of {asked} was asked for and has {size} images: "
            f"{suite.runs[0].settings.samples_per_class} of each of the {num_classes} classes that "
            "are trained on",
            stacklevel=3,
        )


def help_run(suite: Suite) -> None:
    """Train the runs of :func:`run` with the first process, and leave the rest to it."""
    wait_for_all()
    source = suite.request.source
    data = source.load()
    todo: list[RunConfig] = from_first([])
    with quiet_pml_bars():
        for config in todo:
            help_to_train(config, data, checked_device(source.device))


def _line(config: RunConfig, result: dict[str, Any]) -> str:
    return (
        f"{config.name:<42} P@1 {100 * result['test']['precision_at_1_level0']:5.1f}   "
        f"MAP@R {100 * result['test']['mean_average_precision_at_r_level0']:5.1f}   "
        f"{result['seconds']:4.0f} s"
    )
