"""Losses beside PML's: forward and backward passes, interleaved in one process.

At the size of Stanford Online Products::

    python -m benchmarks speed --what losses

how the cost grows with the classes, the batch and the levels, and where PML does not fit::

    python -m benchmarks speed --what losses --losses proxy_anchor cosface --one-at-a-time \\
        --classes 11318 100 1000 100000 --batch-sizes 128 32 512 --levels 3 2 4 5
    python -m benchmarks speed --what losses --classes 1000000 --loss-sides products ours
"""

from __future__ import annotations

import argparse
import itertools
import sys
from typing import Any

import torch
from tqdm import tqdm

from .loss_report import plot, table
from .loss_sides import CASE, COMPILED, LOSSES, SIDES, make_steps
from .measuring import interleave, peak_bytes
from .record import write_record


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of the measurement; every combination of the sizes is a case."""
    add = parser.add_argument_group("losses").add_argument
    add("--losses", nargs="+", choices=LOSSES, default=list(LOSSES))
    add("--classes", type=int, nargs="+", default=[100, 11_318], metavar="C")
    add("--embedding-sizes", type=int, nargs="+", default=[128, 512], metavar="D")
    add("--batch-sizes", type=int, nargs="+", default=[128], metavar="B")
    add("--levels", type=int, nargs="+", default=[3], metavar="L",
        help="how many; each has the square root of the classes of the one before")  # fmt: skip
    add("--one-at-a-time", action="store_true",
        help="of classes, batch sizes and levels vary one, with the others at their first value, "
        "instead of every combination")  # fmt: skip
    add("--loss-sides", nargs="+", choices=[*SIDES, COMPILED], default=SIDES,
        help=f"default: all but {COMPILED}, which takes a minute per case to compile")  # fmt: skip
    add("--repeats", type=int, default=25)


def run(args: argparse.Namespace) -> None:
    """Measure case by case, print the table, write the JSON and the plot."""
    torch.set_num_threads(args.threads)
    cases = []
    for values in tqdm(_cases(args), file=sys.stderr):
        case: dict[str, Any] = dict(zip(CASE, values, strict=True))
        torch.manual_seed(args.seed)
        steps = make_steps(values, args.loss_sides, args.device)
        case["seconds"] = interleave(steps, args.repeats, args.device)
        case["peak_bytes"] = {name: peak_bytes(step, args.device) for name, step in steps.items()}
        cases.append(case)
    print(table(cases))
    write_record(args, "losses", {"cases": cases})
    picture = args.out / "losses.png"
    plot(cases, picture)
    print(f"wrote {picture}")


def _cases(args: argparse.Namespace) -> list[tuple[str, int, int, int, int]]:
    """What to measure, each as ``CASE``."""
    growing = (args.classes, args.batch_sizes, args.levels)
    chosen = list(itertools.product(*growing))
    if args.one_at_a_time:
        first = [values[0] for values in growing]
        chosen = [
            case for case in chosen if sum(a != b for a, b in zip(case, first, strict=True)) <= 1
        ]
    return [
        (loss, classes, embedding_size, batch_size, levels)
        for loss in args.losses
        for embedding_size in args.embedding_sizes
        for classes, batch_size, levels in chosen
    ]
