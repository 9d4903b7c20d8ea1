"""``python -m benchmarks tune``: the same search for every loss, on validation classes."""

from __future__ import annotations

import argparse
from pathlib import Path

from rich.console import Console

from ..datasets import download_dataset
from ..options import add_dataset, add_losses, add_network, add_source, add_training, make_request
from ..progress import print_written
from ..settings import FULL
from .plan import plan_tuning, run_tuning
from .report import write_trials
from .tuned import Tuned, apply_tuned, tuned_file, tuned_settings

__all__ = ["Tuned", "add_arguments", "apply_tuned", "run", "tuned_file", "tuned_settings"]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of the command."""
    add_dataset(parser)
    add_source(parser)
    add_losses(parser)
    parser.add_argument(
        "--trials", type=int, default=20, help="for every loss, the untuned included (default: 20)"
    )
    parser.add_argument("--folds", nargs="+", type=int, default=[0], help="default: 0")
    parser.add_argument("--seed", type=int, default=0, help="default: 0")
    add_training(parser, FULL)
    add_network(parser)
    parser.add_argument(
        "--settings", type=Path, help="what to write (default: benchmarks/tuned/DATASET.yaml)"
    )


def run(options: argparse.Namespace) -> None:
    """Do the missing trials; write the best settings, the table of all trials and a plot."""
    console = Console()
    request = make_request(options, options.losses, [options.seed])
    tuning = plan_tuning(request, options.trials, options.settings)
    if options.download:
        download_dataset(request.source.dataset, options.data_root)
    run_tuning(tuning, console)
    print_written([tuning.settings, *write_trials(tuning.folder)], console)
