"""``python -m benchmarks run``: train, evaluate and compare losses on a data set."""

from __future__ import annotations

import argparse
from functools import partial
from pathlib import Path

from rich.console import Console

from . import suite
from .datasets import download_dataset
from .distributed import is_helper, process_group
from .options import add_dataset, add_losses, add_network, add_source, add_training, make_request
from .progress import print_written
from .report import write_report
from .report.tables import terminal_table
from .results import collect
from .settings import SHORT, about_length
from .tuning import apply_tuned, tuned_file, tuned_settings

TUNED_OF_DATASET = Path()  # --tuned without a file


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of the command."""
    add_dataset(parser, "glyphs")
    add_source(parser)
    add_losses(parser)
    parser.add_argument("--seeds", nargs="+", type=int, default=[0], help="default: 0")
    parser.add_argument("--folds", nargs="+", type=int, help="default: those of the data set")
    add_training(parser, SHORT)
    add_network(parser)
    parser.add_argument(
        "--tuned",
        nargs="?",
        type=Path,
        const=TUNED_OF_DATASET,
        metavar="FILE",
        help="with the settings that `tune` found (default file: benchmarks/tuned/DATASET.yaml)",
    )


def run(options: argparse.Namespace) -> None:
    """Train what is missing, print the table and write the report."""
    with process_group(options.device) as device:
        _run_on(device, options)


def _run_on(device: str, options: argparse.Namespace) -> None:
    console = Console()
    request = make_request(options, options.losses, options.seeds, device)
    dataset = request.source.dataset
    planned = suite.plan(request, _adapt(options.tuned, dataset))
    if is_helper():
        suite.help_run(planned)
        return
    if options.download:
        download_dataset(dataset, options.data_root)
    stored = suite.run(planned, console)
    summary = collect(stored)
    console.print(terminal_table(summary, console.width))
    note = about_length(dataset, min(run.settings.epochs for run in planned.runs))
    if note is not None:
        console.print(note, markup=False, highlight=False)
    print_written(write_report(stored, summary), console)


def _adapt(file: Path | None, dataset: str) -> suite.Adapt | None:
    if file is None:
        return None
    if file == TUNED_OF_DATASET:
        file = tuned_file(dataset)
    return partial(apply_tuned, tuned=tuned_settings(file))
