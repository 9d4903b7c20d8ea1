"""The options of the measurements; every combination of the sizes is a case."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

from typer import Option

STEPS, EVALUATION = "Losses, re-clustering and optimizers", "Evaluation"  # panels of the help

WHAT = ("losses", "reclustering", "optimizers", "evaluation")
LOSSES = ("proxy_anchor", "proxy_nca", "normalized_softmax", "cosface", "arcface")
# the bare products, the paper's formula and PML's loss of one level, the sum of PML's losses over
# the levels, the core's HPL, which calls those, and HPL: in its warm-up, which is one level, with
# all, with all in less memory, and on a tenth of the classes in each step
LOSS_SIDES = (
    "products", "formula", "pml", "pml_levels", "core", "ours_flat", "ours", "ours_saving",
    "ours_share",
)  # fmt: skip
COMPILED = "pml_compiled"  # the sum of PML's losses by torch.compile: a minute per case to compile
EVALUATION_SIDES = ("floor", "ours", "ours_hierarchical", "core", "pml")


def _listed(names: Sequence[str]) -> str:
    return f"{', '.join(names[:-1])} or {names[-1]}"


_WHAT, _LOSSES = _listed(WHAT), _listed(LOSSES)
_EVALUATED, _LOSS_SIDES = _listed(EVALUATION_SIDES), _listed((*LOSS_SIDES, COMPILED))


@dataclass(frozen=True)
class SpeedOptions:
    """What to measure, at which sizes, and how often."""

    what: Annotated[
        list[str],
        Option(
            metavar="WHAT...",
            show_default=False,
            help=f"{_WHAT}, one after another. By default all.",
        ),
    ] = field(default_factory=lambda: [*WHAT])
    out: Annotated[Path, Option(help="Folder of the JSON files and the plot.")] = Path("runs/speed")
    device: Annotated[str, Option(help="cpu, cuda, cuda:1, ...")] = "cpu"
    threads: Annotated[int, Option(help="Threads of the CPU; 0 is torch's default.")] = 0
    seed: Annotated[int, Option(help="Random seed.")] = 0
    samples: Annotated[int, Option(help="Number of embeddings.", rich_help_panel=EVALUATION)] = (
        60_502
    )
    embedding_size: Annotated[
        int, Option(help="Size of an embedding.", rich_help_panel=EVALUATION)
    ] = 128
    class_size: Annotated[
        int, Option(help="Samples of a fine class.", rich_help_panel=EVALUATION)
    ] = 5
    superclasses: Annotated[
        list[int],
        Option(
            metavar="C...",
            help="How many classes each coarser level has; 0 for no coarser level.",
            rich_help_panel=EVALUATION,
        ),
    ] = field(default_factory=lambda: [12])
    sides: Annotated[
        list[str],
        Option(
            metavar="SIDE...",
            show_default=False,
            help=f"{_EVALUATED}. By default all.",
            rich_help_panel=EVALUATION,
        ),
    ] = field(default_factory=lambda: [*EVALUATION_SIDES])
    losses: Annotated[
        list[str],
        Option(
            metavar="LOSS...",
            show_default=False,
            help=f"{_LOSSES}. By default all.",
            rich_help_panel=STEPS,
        ),
    ] = field(default_factory=lambda: [*LOSSES])
    classes: Annotated[
        list[int], Option(metavar="C...", help="Number of classes.", rich_help_panel=STEPS)
    ] = field(default_factory=lambda: [100, 11_318])
    embedding_sizes: Annotated[
        list[int], Option(metavar="D...", help="Size of the proxies.", rich_help_panel=STEPS)
    ] = field(default_factory=lambda: [128, 512])
    batch_sizes: Annotated[
        list[int], Option(metavar="B...", help="Embeddings per step.", rich_help_panel=STEPS)
    ] = field(default_factory=lambda: [128])
    levels: Annotated[
        list[int],
        Option(
            metavar="L...",
            help="Number of levels; each has the square root of the classes of the one before.",
            rich_help_panel=STEPS,
        ),
    ] = field(default_factory=lambda: [3])
    one_at_a_time: Annotated[
        bool,
        Option(
            "--one-at-a-time",
            help="Vary classes, batch sizes and levels one at a time, with the others at their "
            "first value, instead of measuring every combination.",
            rich_help_panel=STEPS,
        ),
    ] = False
    loss_sides: Annotated[
        list[str],
        Option(
            metavar="SIDE...",
            show_default=False,
            help=f"{_LOSS_SIDES}. By default all but {COMPILED}, which takes "
            "a minute per case to compile.",
            rich_help_panel=STEPS,
        ),
    ] = field(default_factory=lambda: [*LOSS_SIDES])
    repeats: Annotated[int, Option(help="How often each step is timed.", rich_help_panel=STEPS)] = (
        25
    )
