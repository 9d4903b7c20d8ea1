"""The command line: ``python -m benchmarks run``, ``tune``, ``report`` and others."""

from __future__ import annotations

import argparse
import errno
import sqlite3
import sys
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from . import ablation, listing, run_command, speed, tuning
from .datasets import download_dataset, look_at_dataset
from .describe import describe, write_sample_sheet
from .distributed import launched_together, say_once
from .options import add_source
from .progress import print_written, short_warnings
from .report import write_joint_report

INTERRUPTED = 130  # as a shell reports a command ended by Ctrl-C


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; returns the exit code: 0, 2 for bad input, 130 for Ctrl-C."""
    options = _parser().parse_args(arguments)
    with short_warnings():
        return _main(options)


def _main(options: argparse.Namespace) -> int:
    try:
        if launched_together() and options.command is not run_command.run:
            raise ValueError(
                "torchrun is for `run`, whose runs several processes train together; start this "
                "command without it"
            )
        options.command(options)
    except (ValueError, OSError, sqlite3.OperationalError) as error:
        if options.debug:
            raise
        say_once(f"error: {error}{_what_now(error)}")
        return 2
    except KeyboardInterrupt:
        say_once("\ninterrupted: finished runs are kept, and the same command continues from there")
        return INTERRUPTED
    return 0


def _what_now(error: Exception) -> str:
    # the record keeper's tables say it in words
    if getattr(error, "errno", None) != errno.ENOSPC and "disk is full" not in str(error):
        return ""
    return ". What is finished is kept: free some space and start the same command again"


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks",
        description="Hierarchical proxy losses against nine baselines, on PML's own trainers.",
    )
    parser.add_argument("--debug", action="store_true", help="show where an error came from")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    run = commands.add_parser("run", help="train, evaluate and compare losses")
    run_command.add_arguments(run)
    run.set_defaults(command=run_command.run)
    ablate = commands.add_parser("ablate", help="what single settings of HPL change")
    ablation.add_arguments(ablate)
    ablate.set_defaults(command=ablation.run)
    tune = commands.add_parser("tune", help="search settings, with the same budget for every loss")
    tuning.add_arguments(tune)
    tune.set_defaults(command=tuning.run)
    report = commands.add_parser("report", help="one report of the runs in several folders")
    report.add_argument(
        "folders",
        nargs="+",
        type=Path,
        metavar="DIR",
        help="folder of a data set, or an --out folder that holds several",
    )
    report.add_argument("--out", type=Path, default=Path("report"), help="default: report")
    report.set_defaults(command=_report)
    show = commands.add_parser("describe", help="show what a data set holds")
    show.add_argument("dataset", help="see `list`")
    add_source(show)
    show.add_argument("--out", type=Path, default=Path("runs"), help="default: runs")
    show.set_defaults(command=_describe)
    commands.add_parser("list", help="show data sets and losses").set_defaults(command=listing.run)
    measure = commands.add_parser("speed", help="time and memory against PML")
    speed.add_arguments(measure)
    measure.set_defaults(command=speed.run)
    return parser


def _report(options: argparse.Namespace) -> None:
    print_written(write_joint_report(options.folders, options.out), Console())


def _describe(options: argparse.Namespace) -> None:
    console = Console()
    if options.download:
        download_dataset(options.dataset, options.data_root)
    data = look_at_dataset(options.dataset, options.data_root, options.skip_broken)
    describe(data, console)
    sheet = options.out / options.dataset / "samples.png"
    write_sample_sheet(data, sheet)
    print_written([sheet], console)


if __name__ == "__main__":
    sys.exit(main())
