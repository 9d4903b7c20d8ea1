"""``python -m benchmarks speed``: time and memory beside PML's, measured in the same run."""

from __future__ import annotations

import argparse

from . import evaluation, losses, optimizers, reclustering

_MEASUREMENTS = {
    "evaluation": evaluation,
    "losses": losses,
    "optimizers": optimizers,
    "reclustering": reclustering,
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of the command."""
    choices = sorted(_MEASUREMENTS)
    parser.add_argument("--what", choices=choices, default=choices[0], help="what to measure")
    evaluation.add_arguments(parser)
    losses.add_arguments(parser)  # those of optimizers and reclustering too


def run(args: argparse.Namespace) -> None:
    """Measure, print the table and write the JSON."""
    _MEASUREMENTS[args.what].run(args)
