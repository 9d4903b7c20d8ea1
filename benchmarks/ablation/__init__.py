"""``python -m benchmarks ablate``: what single settings of HPL change, on validation classes."""

from __future__ import annotations

import argparse

from rich.console import Console

from ..datasets import download_dataset
from ..options import add_source, add_training
from .differences import collect_validation
from .runs import plan_ablation, run_ablation
from .table import write_tables
from .variants import WHAT

DEFAULT_BASES = ("proxy_anchor", "proxy_nca")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of the command."""
    parser.add_argument("dataset", help="see `list`")
    add_source(parser)
    parser.add_argument(
        "--bases",
        nargs="+",
        default=list(DEFAULT_BASES),
        metavar="LOSS",
        help=f"flat proxy losses, see `list` (default: {' '.join(DEFAULT_BASES)})",
    )
    parser.add_argument(
        "--what",
        nargs="+",
        default=list(WHAT),
        metavar="ARGUMENT",
        help=f"arguments of HPL to vary, one at a time (default: {' '.join(WHAT)})",
    )
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1], help="default: 0 1")
    parser.add_argument("--folds", nargs="+", type=int, help="default: those of the data set")
    add_training(parser)


def run(options: argparse.Namespace) -> None:
    """Train what is missing, print the table and write it as Markdown and JSON."""
    console = Console()
    planned = plan_ablation(
        options.dataset,
        options.data_root,
        options.bases,
        options.what,
        options.seeds,
        options.folds,
        options.epochs,
        options.out,
        options.device,
        options.skip_broken,
        options.jobs,
    )
    if options.download:
        download_dataset(options.dataset, options.data_root)
    outcome = run_ablation(planned, console)
    text, paths = write_tables(outcome, collect_validation(outcome))
    console.print(text, markup=False, highlight=False, soft_wrap=True)
    for path in paths:
        console.print(f"wrote {path}", highlight=False, soft_wrap=True)
