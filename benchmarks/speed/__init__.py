"""``python -m benchmarks speed``: time and memory beside PML's, measured in the same run."""

from __future__ import annotations

import argparse
import itertools
from collections.abc import Sequence
from pathlib import Path

from ..device import checked_device
from . import evaluation, losses, optimizers, reclustering
from .loss_sides import level_sizes

_MEASUREMENTS = {
    "losses": losses,
    "reclustering": reclustering,
    "optimizers": optimizers,
    "evaluation": evaluation,
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of the command."""
    parser.add_argument(
        "--what",
        nargs="+",
        choices=_MEASUREMENTS,
        default=list(_MEASUREMENTS),
        help="what to measure, one after another (default: all)",
    )
    parser.add_argument(
        "--out", type=Path, default=Path("runs/speed"), help="default: runs/speed", metavar="DIR"
    )
    evaluation.add_arguments(parser)
    losses.add_arguments(parser)  # those of optimizers and reclustering too


def run(args: argparse.Namespace) -> None:
    """Measure, print the tables, and write a JSON file of each and the plot."""
    _check(args)
    args.out.mkdir(parents=True, exist_ok=True)
    for number, what in enumerate(args.what):
        if len(args.what) > 1:
            print(f"{'' if number == 0 else chr(10)}== {what} ==")
        _MEASUREMENTS[what].run(args)


def _check(args: argparse.Namespace) -> None:
    """Raise before anything is measured, rather than after an hour of it."""
    checked_device(args.device)
    for name in ("threads", "repeats", "samples", "embedding_size", "class_size"):
        _check_at_least_one(name, [getattr(args, name)])
    for name in ("classes", "embedding_sizes", "batch_sizes", "levels", "superclasses"):
        _check_at_least_one(name, getattr(args, name))
    for classes, levels in itertools.product(args.classes, args.levels):
        sizes = level_sizes(classes, levels)
        if sizes != sorted(set(sizes), reverse=True):
            raise ValueError(
                f"--levels {levels} are too many for --classes {classes}: they would have "
                f"{', '.join(map(str, sizes))} classes, and a coarser level must have fewer"
            )


def _check_at_least_one(name: str, values: Sequence[int]) -> None:
    if any(value < 1 for value in values):
        option = name.replace("_", "-")
        raise ValueError(f"--{option} must be at least 1, got {min(values)}")
