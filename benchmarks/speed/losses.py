"""Losses beside PML's: forward and backward passes, interleaved in one process.

At the size of Stanford Online Products::

    pml-hierarchical speed --what losses

how the cost grows with the classes, the batch and the levels, and where PML does not fit::

    pml-hierarchical speed --what losses --losses proxy_anchor cosface --one-at-a-time \\
        --classes 11318 100 1000 100000 --batch-sizes 128 32 512 --levels 3 2 4 5
    pml-hierarchical speed --what losses --classes 1000000 --loss-sides products ours
"""

from __future__ import annotations

import itertools
import sys
from typing import Any

import torch
from tqdm import tqdm

from .loss_report import plot, table
from .loss_sides import CASE, make_steps
from .measuring import interleave, peak_bytes
from .options import SpeedOptions
from .record import write_record


def run(args: SpeedOptions) -> None:
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


def growing_sizes(args: SpeedOptions) -> list[tuple[int, int, int]]:
    """Classes, batch size and levels of what is to be measured."""
    growing = (args.classes, args.batch_sizes, args.levels)
    chosen = list(itertools.product(*growing))
    if not args.one_at_a_time:
        return chosen
    first = [values[0] for values in growing]
    return [case for case in chosen if sum(a != b for a, b in zip(case, first, strict=True)) <= 1]


def _cases(args: SpeedOptions) -> list[tuple[str, int, int, int, int]]:
    """What to measure, each as ``CASE``."""
    return [
        (loss, classes, embedding_size, batch_size, levels)
        for loss in args.losses
        for embedding_size in args.embedding_sizes
        for classes, batch_size, levels in growing_sizes(args)
    ]
