"""``python -m benchmarks run``: train, evaluate and compare losses on a data set."""

from __future__ import annotations

import argparse
import math
from functools import partial
from pathlib import Path
from typing import Any

from rich.console import Console

from . import suite
from .backbones import BackboneChoice
from .backbones.choice import FROZEN, TRAINED
from .datasets import download_dataset
from .distributed import is_helper, process_group
from .options import add_losses, add_source, add_training
from .report import write_report
from .report.tables import terminal_table
from .results import collect
from .tuning import apply_tuned, tuned_file, tuned_settings

TUNED_OF_DATASET = Path()  # --tuned without a file


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of the command."""
    parser.add_argument("--dataset", default="glyphs", help="see `list` (default: glyphs)")
    add_source(parser)
    add_losses(parser)
    parser.add_argument("--seeds", nargs="+", type=int, default=[0], help="default: 0")
    parser.add_argument("--folds", nargs="+", type=int, help="default: those of the data set")
    add_training(parser)
    _add_network(parser)
    parser.add_argument(
        "--tuned",
        nargs="?",
        type=Path,
        const=TUNED_OF_DATASET,
        metavar="FILE",
        help="with the settings that `tune` found (default file: benchmarks/tuned/DATASET.yaml)",
    )


def _add_network(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument_group("the network").add_argument
    add("--backbone", default="default", help="glyph, efficientnet_lite0, torchvision:MODEL or "
        "timm:MODEL (default: what suits the data set)")  # fmt: skip
    add("--weights", default="pretrained", help="pretrained (default), none, or a file")
    add("--train-trunk", action="store_true", help="not the head alone")
    add("--train-batch-norm", action="store_true", help="with --train-trunk")
    add("--crop", type=int, metavar="PIXELS", help="of the pictures (default: 227, or the model's)")
    add("--learning-rate", type=float, help="of trunk and head (default: the data set's)")
    add("--batch-size", type=int, help="default: the data set's")
    add("--workers", type=int, default=0, help="processes that load images (default: 0)")


def run(options: argparse.Namespace) -> None:
    """Train what is missing, print the table and write the report."""
    with process_group(options.device) as device:
        _run_on(device, options)


def _run_on(device: str, options: argparse.Namespace) -> None:
    console = Console()
    planned = suite.plan(
        options.dataset,
        options.data_root,
        options.losses,
        options.seeds,
        options.folds,
        options.epochs,
        options.out,
        device,
        skip_broken=options.skip_broken,
        jobs=options.jobs,
        adapt=_adapt(options),
        backbone=_backbone(options),
        workers=options.workers,
        changes=_changes(options),
    )
    if is_helper():
        suite.help_run(planned)
        return
    if options.download:
        download_dataset(options.dataset, options.data_root)
    stored = suite.run(planned, console)
    summary = collect(stored)
    console.print(terminal_table(summary, console.width))
    for path in write_report(stored, summary):
        console.print(f"wrote {path}", highlight=False, soft_wrap=True)


def _backbone(options: argparse.Namespace) -> BackboneChoice:
    return BackboneChoice(
        options.backbone,
        options.weights,
        options.train_trunk,
        TRAINED if options.train_batch_norm else FROZEN,
        options.crop,
    )


def _changes(options: argparse.Namespace) -> dict[str, Any]:
    changes: dict[str, Any] = {}
    if options.learning_rate is not None:
        if not 0 < options.learning_rate < math.inf:
            raise ValueError(f"--learning-rate must be above 0, got {options.learning_rate}")
        changes["learning_rate"] = options.learning_rate
    if options.batch_size is not None:
        changes["batch_size"] = options.batch_size
    return changes


def _adapt(options: argparse.Namespace) -> suite.Adapt | None:
    if options.tuned is None:
        return None
    file = tuned_file(options.dataset) if options.tuned == TUNED_OF_DATASET else options.tuned
    return partial(apply_tuned, tuned=tuned_settings(file))
