"""The command line: ``python -m benchmarks run``, ``ablate``, ``describe``, ``list``, ``speed``."""

from __future__ import annotations

import argparse
import logging
import sys
import warnings
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.table import Table

from . import ablation, speed, suite
from .datasets import DATASETS, download_dataset, look_at_dataset
from .describe import describe, write_sample_sheet
from .losses import BASELINES, DEFAULT_LOSSES, HPL_PREFIXES, hierarchical_bases
from .report import write_report
from .report.tables import terminal_table
from .results import collect

INTERRUPTED = 130  # as a shell reports a command ended by Ctrl-C


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; returns the exit code: 0, 2 for bad input, 130 for Ctrl-C."""
    options = _parser().parse_args(arguments)
    logging.getLogger("PML").setLevel(logging.ERROR)
    # PML's trainer formats its loss for a bar that is not shown here.
    warnings.filterwarnings("ignore", message="Converting a tensor with requires_grad=True")
    try:
        options.command(options)
    except (ValueError, OSError) as error:
        if options.debug:
            raise
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print(
            "\ninterrupted: finished runs are kept, and the same command goes on from there",
            file=sys.stderr,
        )
        return INTERRUPTED
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks",
        description="Hierarchical proxy losses against nine baselines, on PML's own trainers.",
    )
    parser.add_argument("--debug", action="store_true", help="show where an error came from")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    run = commands.add_parser("run", help="train, evaluate and compare losses")
    run.add_argument("--dataset", default="glyphs", help="see `list` (default: glyphs)")
    _add_source(run)
    run.add_argument(
        "--losses",
        nargs="+",
        default=list(DEFAULT_LOSSES),
        metavar="LOSS",
        help="see `list` (default: the nine baselines and HPL on Proxy-NCA and Proxy-Anchor)",
    )
    run.add_argument("--seeds", nargs="+", type=int, default=[0], help="default: 0")
    run.add_argument("--folds", nargs="+", type=int, help="default: those of the data set")
    run.add_argument("--epochs", type=int, help="default: the data set's number")
    run.add_argument("--out", type=Path, default=Path("runs"), help="default: runs")
    run.add_argument("--device", default="cpu", help="cpu (default), cuda, cuda:1, ...")
    run.set_defaults(command=_run)
    ablate = commands.add_parser("ablate", help="what single settings of HPL change")
    ablation.add_arguments(ablate)
    _add_source(ablate)
    ablate.set_defaults(command=ablation.run)
    show = commands.add_parser("describe", help="show what a data set holds")
    show.add_argument("dataset", help="see `list`")
    _add_source(show)
    show.add_argument("--out", type=Path, default=Path("runs"), help="default: runs")
    show.set_defaults(command=_describe)
    commands.add_parser("list", help="show data sets and losses").set_defaults(command=_list)
    measure = commands.add_parser("speed", help="time and memory against PML")
    speed.add_arguments(measure)
    measure.set_defaults(command=speed.run)
    return parser


def _add_source(command: argparse.ArgumentParser) -> None:
    command.add_argument("--data-root", type=Path, help="folder of a data set that is not built in")
    command.add_argument(
        "--download", action="store_true", help="fetch what is not in --data-root yet"
    )
    command.add_argument(
        "--skip-broken", action="store_true", help="leave out missing and broken images"
    )


def _run(options: argparse.Namespace) -> None:
    console = Console()
    planned = suite.plan(
        options.dataset,
        options.data_root,
        options.losses,
        options.seeds,
        options.folds,
        options.epochs,
        options.out,
        options.device,
        options.skip_broken,
    )
    if options.download:
        download_dataset(options.dataset, options.data_root)
    outcome = suite.run(planned, console)
    summary = collect(outcome)
    console.print(terminal_table(summary, console.width))
    for path in write_report(outcome, summary):
        console.print(f"wrote {path}", highlight=False)


def _describe(options: argparse.Namespace) -> None:
    console = Console()
    if options.download:
        download_dataset(options.dataset, options.data_root)
    data = look_at_dataset(options.dataset, options.data_root, options.skip_broken)
    describe(data, console)
    sheet = options.out / options.dataset / "samples.png"
    write_sample_sheet(data, sheet)
    console.print(f"wrote {sheet}", highlight=False, soft_wrap=True)


def _list(_: argparse.Namespace) -> None:
    console = Console()
    datasets = Table("data set", "what it is", "needs", title="Data sets", title_justify="left")
    for entry in DATASETS.values():
        download = " (--download fills it)" if entry.archives else ""
        needs = f"--data-root{download}" if entry.needs_root else "nothing"
        datasets.add_row(entry.name, entry.description, needs)
    losses = Table("loss", "settings", "source", title="Losses", title_justify="left")
    for spec in BASELINES.values():
        settings = ", ".join(f"{key}={value}" for key, value in spec.settings().items())
        losses.add_row(spec.name, settings, spec.source)
    bases = ", ".join(hierarchical_bases())
    for prefix, kind in HPL_PREFIXES.items():
        losses.add_row(f"{prefix}:LOSS", f"HPL with a {kind} hierarchy", f"LOSS is one of {bases}")
    console.print(datasets)
    console.print(losses)


if __name__ == "__main__":
    sys.exit(main())
