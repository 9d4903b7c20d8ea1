"""``python -m benchmarks tune``: the same search for every loss, on validation classes."""

from __future__ import annotations

import argparse
from pathlib import Path

from rich.console import Console

from ..datasets import download_dataset
from ..options import add_losses, add_source, add_training
from .plan import plan_tuning, run_tuning
from .report import write_trials
from .tuned import Tuned, apply_tuned, tuned_file, tuned_settings

__all__ = ["Tuned", "add_arguments", "apply_tuned", "run", "tuned_file", "tuned_settings"]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of the command."""
    parser.add_argument("dataset", help="see `list`")
    add_source(parser)
    add_losses(parser)
    parser.add_argument(
        "--trials", type=int, default=20, help="for every loss, the untuned included (default: 20)"
    )
    parser.add_argument("--folds", nargs="+", type=int, default=[0], help="default: 0")
    parser.add_argument("--seed", type=int, default=0, help="default: 0")
    add_training(parser)
    parser.add_argument(
        "--settings", type=Path, help="what to write (default: benchmarks/tuned/DATASET.yaml)"
    )


def run(options: argparse.Namespace) -> None:
    """Do the missing trials; write the best settings, the table of all trials and a plot."""
    console = Console()
    tuning = plan_tuning(
        options.dataset,
        options.data_root,
        options.losses,
        options.trials,
        options.folds,
        options.seed,
        options.epochs,
        options.out,
        options.device,
        options.settings,
        options.skip_broken,
        options.jobs,
    )
    if options.download:
        download_dataset(options.dataset, options.data_root)
    run_tuning(tuning, console)
    for path in [tuning.settings, *write_trials(tuning.folder)]:
        console.print(f"wrote {path}", highlight=False, soft_wrap=True)
