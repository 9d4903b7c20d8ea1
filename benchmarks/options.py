"""What several commands are asked in the same words, and the request that it makes."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from .backbones import BackboneChoice
from .backbones.choice import FROZEN, TRAINED
from .losses import DEFAULT_LOSSES
from .request import DataSource, RunRequest
from .settings import REGIMES


def add_dataset(parser: argparse.ArgumentParser, default: str | None = None) -> None:
    """Which data set: as an argument or as an option."""
    shown = f"see `list` (default: {default})" if default else "see `list`"
    parser.add_argument("name", nargs="?", metavar="DATASET", help=shown)
    parser.add_argument("--dataset", help="the same as an option")
    parser.set_defaults(default_dataset=default)


def chosen_dataset(options: argparse.Namespace) -> str:
    """The data set that is asked for.

    Raises:
        ValueError: if there is none, or there are two.
    """
    named = list(dict.fromkeys(n for n in (options.name, options.dataset) if n is not None))
    if len(named) > 1:
        raise ValueError(f"give one data set, not {named[0]} and --dataset {named[1]}")
    if not named and options.default_dataset is None:
        raise ValueError("which data set? Name it behind the command; `list` shows all")
    return str(named[0] if named else options.default_dataset)


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


def add_training(parser: argparse.ArgumentParser, regime: str) -> None:
    """How long, where, and how many trainings at a time."""
    length = parser.add_mutually_exclusive_group()
    length.add_argument(
        "--regime",
        choices=REGIMES,
        default=regime,
        help=f"the full trainings, or the short form for a first look (default: {regime})",
    )
    length.add_argument("--epochs", type=int, help="another number of epochs")
    parser.add_argument("--out", type=Path, default=Path("runs"), help="default: runs")
    parser.add_argument("--device", default="cpu", help="cpu (default), cuda, cuda:1, ...")
    parser.add_argument(
        "--jobs",
        type=int,
        default=1,
        help="trainings at a time, each in a process with its share of the cores (default: 1)",
    )


def add_network(parser: argparse.ArgumentParser) -> None:
    """The network and what of it is trained."""
    add = parser.add_argument_group("the network").add_argument
    add("--backbone", default="default", help="glyph, efficientnet_lite0, torchvision:MODEL or "
        "timm:MODEL (default: what suits the data set)")  # fmt: skip
    add("--weights", default="pretrained", help="pretrained (default), none, or a file")
    add("--train-trunk", action="store_true", help="not the head alone")
    add("--train-batch-norm", action="store_true", help="with --train-trunk")
    add("--crop", type=int, metavar="PIXELS", help="of the pictures (default: 227, or the model's)")
    add("--learning-rate", type=float, help="of trunk and head (default: the data set's)")
    add("--batch-size", type=int, help="default: the data set's")
    add("--workers", type=int, default=0, help="processes that load images (default: 0)")


def make_request(
    options: argparse.Namespace,
    losses: Sequence[str],
    seeds: Sequence[int],
    device: str | None = None,
) -> RunRequest:
    """What the options of this module and ``--folds`` ask for.

    Arguments:
        options: of a command that has all of them.
        losses: their names.
        seeds: of the trainings.
        device: instead of ``--device``, where every process has one of its own.

    Raises:
        ValueError: for a network that does not exist.
    """
    backbone = BackboneChoice(
        options.backbone,
        options.weights,
        options.train_trunk,
        TRAINED if options.train_batch_norm else FROZEN,
        options.crop,
    )
    return RunRequest(
        source=DataSource(
            chosen_dataset(options),
            options.data_root,
            options.skip_broken,
            backbone,
            device or options.device,
        ),
        losses=tuple(losses),
        seeds=tuple(seeds),
        folds=None if options.folds is None else tuple(options.folds),
        out=options.out,
        regime=options.regime,
        epochs=options.epochs,
        learning_rate=options.learning_rate,
        batch_size=options.batch_size,
        jobs=options.jobs,
        workers=options.workers,
    )
