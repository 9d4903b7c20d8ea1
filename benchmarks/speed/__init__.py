"""``python -m benchmarks speed``: time and memory beside PML's, measured in the same run."""

from __future__ import annotations

import argparse

from . import evaluation, losses

_MEASUREMENTS = {"evaluation": evaluation, "losses": losses}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of the command."""
    choices = sorted(_MEASUREMENTS)
    parser.add_argument("--what", choices=choices, default=choices[0], help="what to measure")
    for measurement in _MEASUREMENTS.values():
        measurement.add_arguments(parser)


def run(args: argparse.Namespace) -> None:
    """Measure, print the table and write the JSON."""
    _MEASUREMENTS[args.what].run(args)
