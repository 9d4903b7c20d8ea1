"""What several commands are asked in the same words."""

from __future__ import annotations

import argparse
from pathlib import Path

from .losses import DEFAULT_LOSSES


def add_source(parser: argparse.ArgumentParser) -> None:
    """Where the data set is."""
    parser.add_argument("--data-root", type=Path, help="folder of a data set that is not built in")
    parser.add_argument(
        "--download", action="store_true", help="fetch what is not in --data-root yet"
    )
    parser.add_argument(
        "--skip-broken", action="store_true", help="leave out missing and broken images"
    )


def add_losses(parser: argparse.ArgumentParser) -> None:
    """Which losses."""
    parser.add_argument(
        "--losses",
        nargs="+",
        default=list(DEFAULT_LOSSES),
        metavar="LOSS",
        help="see `list` (default: the nine baselines and HPL on Proxy-NCA and Proxy-Anchor)",
    )


def add_training(parser: argparse.ArgumentParser) -> None:
    """How long, where, and how many trainings at a time."""
    parser.add_argument("--epochs", type=int, help="default: the data set's number")
    parser.add_argument("--out", type=Path, default=Path("runs"), help="default: runs")
    parser.add_argument("--device", default="cpu", help="cpu (default), cuda, cuda:1, ...")
    parser.add_argument(
        "--jobs",
        type=int,
        default=1,
        help="trainings at a time, each in a process with its share of the cores (default: 1)",
    )
