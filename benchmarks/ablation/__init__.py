"""``python -m benchmarks ablate``: what single settings of HPL change, on validation classes."""

from __future__ import annotations

import argparse

from rich.console import Console

from ..datasets import download_dataset
from ..options import add_dataset, add_network, add_source, add_training, make_request
from ..progress import print_written
from ..settings import FULL
from .differences import collect_validation
from .runs import plan_ablation, run_ablation
from .table import write_tables
from .variants import WHAT

DEFAULT_BASES = ("proxy_anchor", "proxy_nca")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of the command."""
    add_dataset(parser)
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
        help=f"arguments of HPL to vary, one at a time (default: {' '.join(WHAT)}), or single "
        "variants such as hpl_given or hpl:coarse_proxies=fixed",
    )
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1], help="default: 0 1")
    parser.add_argument("--folds", nargs="+", type=int, help="default: those of the data set")
    add_training(parser, FULL)
    add_network(parser)


def run(options: argparse.Namespace) -> None:
    """Train what is missing, print the table and write it as Markdown and JSON."""
    console = Console()
    request = make_request(options, options.bases, options.seeds)
    planned = plan_ablation(request, options.what)
    if options.download:
        download_dataset(request.source.dataset, options.data_root)
    outcome = run_ablation(planned, console)
    text, paths = write_tables(outcome, collect_validation(outcome))
    console.print(text, markup=False, highlight=False, soft_wrap=True)
    print_written(paths, console)
