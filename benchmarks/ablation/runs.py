"""All runs of an ablation, one after the other; finished ones are not run again."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console

from ..datasets import load_dataset
from ..datasets.base import RetrievalData
from ..losses import find_loss
from ..progress import SuiteProgress
from ..run_config import RunConfig, read_result
from ..suite import Suite, plan
from .validation import train_and_validate
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
    flat = plan(dataset, data_root, bases, seeds, folds, epochs, folder, device, skip_broken)
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
        ValueError: if a folder holds a run with other settings (before any training), or the
            training classes are too few for what was asked for.
    """
    flat = ablation.flat
    data = load_dataset(flat.dataset, flat.data_root, flat.skip_broken)
    runs = lay_out(ablation, data)
    results = [read_result(config, flat.out) for config in runs]
    todo = [number for number, result in enumerate(results) if result is None]
    if len(todo) < len(runs):
        console.print(f"{len(runs) - len(todo)} of {len(runs)} runs are already done")
    iterations = sum(runs[i].settings.epochs * runs[i].settings.iterations_per_epoch for i in todo)
    if todo:
        console.print("validation MAP@R, seconds, run:", highlight=False)
    progress = SuiteProgress(console, len(todo), iterations)
    with progress.shown() if todo else nullcontext():
        for i in todo:
            result = train_and_validate(runs[i], data, flat.out, flat.device, progress)
            results[i] = result
            best = max(result["validation"]["mean_average_precision_at_r_level0"])
            progress.finish(f"{100 * best:5.1f} {result['seconds']:4.0f} s   {runs[i].name}")
    return AblationOutcome(ablation, data.level_names, tuple(r for r in results if r))
