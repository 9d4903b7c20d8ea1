"""An update of the hierarchy beside the training steps that it comes with.

At the size of Stanford Online Products, and of a million classes::

    pml-hierarchical speed --what reclustering --classes 11318
    pml-hierarchical speed --what reclustering --classes 1000000 --repeats 2
"""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import torch
from tabulate import tabulate

from pml_hierarchical.losses import HierarchicalProxyLoss

from .loss_sides import hierarchical, level_sizes, training_step
from .measuring import Step, interleave, seconds_of
from .options import SpeedOptions
from .record import write_record

EVERY = 100  # training steps between updates, the default of the loss


def run(args: SpeedOptions) -> None:
    """Measure, print the table and write the JSON."""
    torch.set_num_threads(args.threads)
    cases = []
    sizes = (args.classes, args.embedding_sizes, args.batch_sizes, args.levels)
    for classes, embedding_size, batch_size, levels in itertools.product(*sizes):
        torch.manual_seed(args.seed)
        loss = hierarchical(
            args.losses[0], level_sizes(classes, levels), embedding_size, is_given=False
        )
        loss.to(args.device)
        embeddings = torch.randn(batch_size, embedding_size, requires_grad=True, device=args.device)
        labels = torch.randint(classes, (batch_size,), device=args.device)
        case: dict[str, Any] = {"loss": args.losses[0], "classes": classes, "levels": levels}
        case |= {"embedding_size": embedding_size, "batch_size": batch_size}
        case["first_update"] = seconds_of(loss.recluster, args.device)
        steps = {"update": loss.recluster, "step": training_step(loss, embeddings, labels)}
        moves = {"update": _moving(loss)}
        case["seconds"] = interleave(steps, args.repeats, args.device, before=moves)
        cases.append(case)
    print(_table(cases))
    write_record(args, "reclustering", {"cases": cases})


def _moving(loss: HierarchicalProxyLoss) -> Step:
    """Move the proxies, as training would between two updates."""

    @torch.no_grad()
    def move() -> None:
        fine = getattr(loss.level_loss(0), loss.layout.attribute)
        fine += 0.01 * fine.std() * torch.randn_like(fine)

    return move


def _table(cases: list[dict[str, Any]]) -> str:
    rows = []
    for case in cases:
        update, step = (float(np.median(case["seconds"][name])) for name in ("update", "step"))
        row = [case[key] for key in ("classes", "embedding_size", "batch_size", "levels")]
        row += [f"{case['first_update']:.2f}", f"{update:.3f}", f"{1000 * step:.1f}"]
        rows.append([*row, f"{update / step:.1f}", f"{100 * update / (EVERY * step):.2f}"])
    headers = ["classes", "embedding size", "batch size", "levels", "first update s", "update s"]
    headers += ["step ms", "update / step", f"% of {EVERY} steps"]
    return tabulate(rows, headers, disable_numparse=True, stralign="right")
