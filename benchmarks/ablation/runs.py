"""All runs of an ablation; those that are finished are not run again."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console

from ..datasets.base import RetrievalData
from ..jobs import do_runs
from ..locking import only_one_in
from ..losses import find_loss
from ..progress import SuiteProgress
from ..run_config import RunConfig, iterations_of, read_result
from ..suite import Suite, plan
from ..training import train_and_validate
from .variants import Variant, chosen_variants

FOLDER = "ablation"  # apart from the runs of `run`, which are tested


@dataclass(frozen=True)
class Ablation:
    """What ``python -m benchmarks ablate`` was asked for, checked.

    Attributes:
        flat: the runs of the flat losses, which everything is compared with.
        bases: their names.
        variants: the variants of HPL on each base.
        report_folder: where the table is written.
    """

    flat: Suite
    bases: tuple[str, ...]
    variants: tuple[Variant, ...]
    report_folder: Path


@dataclass(frozen=True)
class AblationOutcome:
    """The results of all runs, as ``train_and_validate`` returns them."""

    ablation: Ablation
    level_names: tuple[str, ...]
    results: tuple[dict[str, Any], ...]


def plan_ablation(
    dataset: str,
    data_root: Path | None,
    bases: Sequence[str],
    what: Sequence[str],
    seeds: Sequence[int],
    folds: Sequence[int] | None,
    epochs: int | None,
    out: Path,
    device: str,
    skip_broken: bool = False,
    jobs: int = 1,
) -> Ablation:
    """Check what was asked for; nothing is read, trained or written yet.

    Raises:
        ValueError: for a base without proxies, something that is not ablated, and for all that
            :func:`benchmarks.suite.plan` refuses.
    """
    for option, values in (("bases", bases), ("what", what)):
        repeated = [value for value in dict.fromkeys(values) if list(values).count(value) > 1]
        if repeated:
            raise ValueError(f"--{option} has {repeated[0]} more than once")
    for base in bases:
        find_loss(f"hpl:{base}")  # says what is wrong with the name
    variants = chosen_variants(what)
    folder = out / FOLDER
    flat = plan(
        dataset,
        data_root,
        bases,
        seeds,
        folds,
        epochs,
        folder,
        device,
        skip_broken=skip_broken,
        jobs=jobs,
    )
    return Ablation(flat, tuple(bases), variants, out / dataset)


def lay_out(ablation: Ablation, data: RetrievalData) -> list[RunConfig]:
    """Each flat run and, right after it, the runs of its variants on the same fold and seed."""
    runs = []
    for flat in ablation.flat.runs:
        training = data.split(flat.fold).train
        num_classes = len(np.unique(data.labels[training, 0]))
        runs.append(flat)
        for variant in ablation.variants:
            spec = variant.spec(flat.loss.name, flat.settings.losses, num_classes)
            runs.append(replace(flat, loss=spec))
    return runs


def run_ablation(ablation: Ablation, console: Console) -> AblationOutcome:
    """Do the runs that are not finished yet and collect the results of all.

    Raises:
        OSError: if another ablation is running in the folder, or the disk is full.
        ValueError: if a folder holds a run with other settings (before any training), or the
            training classes are too few for what was asked for.
    """
    flat = ablation.flat
    data = flat.source.load()
    runs = lay_out(ablation, data)
    with only_one_in(flat.folder):
        _do_missing(flat, runs, data, console)
        results = [read_result(config, flat.out) for config in runs]
    return AblationOutcome(ablation, data.level_names, tuple(r for r in results if r))


def _do_missing(
    flat: Suite, runs: Sequence[RunConfig], data: RetrievalData, console: Console
) -> None:
    todo = [config for config in runs if read_result(config, flat.out) is None]
    if len(todo) < len(runs):
        console.print(f"{len(runs) - len(todo)} of {len(runs)} runs are already done")
    if not todo:
        return
    console.print("validation MAP@R, seconds, run:", highlight=False)
    progress = SuiteProgress(console, len(todo), iterations_of(todo))
    with progress.shown():
        finished = do_runs(
            train_and_validate, todo, flat.source, data, flat.out, flat.device, progress, flat.jobs
        )
        for config, result in finished:
            best = max(result["validation"]["mean_average_precision_at_r_level0"])
            progress.finish(f"{100 * best:5.1f} {result['seconds']:4.0f} s   {config.name}")
