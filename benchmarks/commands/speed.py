"""``pml-hierarchical speed``: time and memory beside PML's, measured in the same run."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import replace

from ..option_groups import with_groups
from ..speed.options import COMPILED, EVALUATION_SIDES, LOSS_SIDES, LOSSES, WHAT, SpeedOptions


@with_groups
def speed(options: SpeedOptions) -> None:
    """Compare the time and memory of losses and evaluation with PML's.

    Prints tables, and writes a JSON file of each measurement and a plot.
    """
    import torch

    from ..files import check_place
    from ..speed import evaluation, losses, optimizers, reclustering

    options = replace(
        options,
        threads=options.threads or torch.get_num_threads(),
        superclasses=[size for size in options.superclasses if size != 0],
    )
    check(options)
    measurements = {
        "losses": losses,
        "reclustering": reclustering,
        "optimizers": optimizers,
        "evaluation": evaluation,
    }
    check_place(options.out, "--out")
    options.out.mkdir(parents=True, exist_ok=True)
    for number, what in enumerate(options.what):
        if len(options.what) > 1:
            print(f"{'' if number == 0 else chr(10)}== {what} ==")
        measurements[what].run(options)


def check(options: SpeedOptions) -> None:
    """Raise before anything is measured, rather than after an hour of it."""
    from ..device import checked_device
    from ..speed.loss_sides import level_sizes
    from ..speed.losses import growing_sizes

    checked_device(options.device)
    for name, known in {
        "what": WHAT,
        "losses": LOSSES,
        "loss_sides": (*LOSS_SIDES, COMPILED),
        "sides": EVALUATION_SIDES,
    }.items():
        unknown = [one for one in getattr(options, name) if one not in known]
        if unknown:
            raise ValueError(
                f"{_option(name)} must be among {', '.join(known)}; got {', '.join(unknown)}"
            )
    for name in ("threads", "repeats", "samples", "embedding_size", "class_size"):
        _check_at_least_one(name, [getattr(options, name)])
    for name in ("classes", "embedding_sizes", "batch_sizes", "levels", "superclasses"):
        _check_at_least_one(name, getattr(options, name))
    # only the measurement of the losses has --one-at-a-time
    every = {(classes, levels) for classes, _, levels in growing_sizes(options)}
    if options.what != ["losses"]:
        every = set(itertools.product(options.classes, options.levels))
    for classes, levels in sorted(every):
        sizes = level_sizes(classes, levels)
        if sizes != sorted(set(sizes), reverse=True):
            raise ValueError(
                f"--levels {levels} are too many for --classes {classes}: they would have "
                f"{', '.join(map(str, sizes))} classes, and a coarser level must have fewer"
            )


def _check_at_least_one(name: str, values: Sequence[int]) -> None:
    if any(value < 1 for value in values):
        raise ValueError(f"{_option(name)} must be at least 1, got {min(values)}")


def _option(name: str) -> str:
    return f"--{name.replace('_', '-')}"
