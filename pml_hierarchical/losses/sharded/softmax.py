r"""The softmax losses over classes of which every process has a part.

.. math:: L = -\frac{1}{B} \sum_i \log \frac{e^{s \phi(\cos_{i y_i})}}
    {e^{s \phi(\cos_{i y_i})} + \sum_{j \neq y_i} e^{s \cos_{ij}}}

as in :mod:`pml_hierarchical.losses.fast.softmax`. The sum over :math:`j` is over the classes of all
processes: the largest and the sum of their partial sums are asked for, two numbers per sample and
level.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
import torch.distributed as dist

from ..fast.options import Options
from ..fast.softmax import smallest_log
from ..fast.targets import TARGETS
from .collectives import max_over_processes, sum_over_processes
from .parts import Gradients, Part

Kept = list[tuple[torch.Tensor, torch.Tensor]]  # by block, exponentials and what was taken off


class Scaling(NamedTuple):
    """What the gradient needs of each sample at each level, of shape ``(levels, batch_size)``."""

    logs: torch.Tensor  # what the exponents of the negatives are to be increased by
    targets: torch.Tensor  # the gradient of the target's cosine


def softmax_step(
    parts: Sequence[Part],
    unit: torch.Tensor,
    setting: Options,
    gradients: Gradients | None,
    group: dist.ProcessGroup,
) -> torch.Tensor:
    """The unweighted loss of each level; this process's part of the gradient is added.

    Arguments:
        parts: of each level the classes of this process.
        unit: unit embeddings of the whole batch, ``(batch_size, embedding_size)``.
        setting: the loss.
        gradients: ``None`` if none is needed.
        group: the processes.

    Returns:
        ``(levels,)``, the same in all processes.
    """
    keep = gradients is not None and not setting.save_memory
    found = [_exponentials(p, unit, s, keep) for p, s in zip(parts, setting.scales, strict=True)]
    cosines = unit.new_zeros(len(parts), len(unit))
    for row, part in zip(cosines, parts, strict=True):
        row[part.rows] = part.positive_cosines(unit)
    logs, cosines = _over_processes(torch.stack([log for log, _ in found]), cosines, group)
    losses, scaling = _losses(logs, cosines, setting)
    if gradients is not None:
        for level, (part, (_, kept)) in enumerate(zip(parts, found, strict=True)):
            here = Scaling(*(one[level] for one in scaling))
            _add_gradient(part, unit, setting.scales[level], kept, here, gradients)
    return losses


def _exponentials(
    part: Part, unit: torch.Tensor, scale: float, keep: bool
) -> tuple[torch.Tensor, Kept]:
    """The logarithm of each sample's sum over the negatives here, and the exponentials."""
    log = unit.new_full((len(unit),), -math.inf)
    kept: Kept = []
    for block in part.blocks:
        matrix = part.cosines(unit, block).mul_(scale)
        matrix[block.rows, block.columns] = -math.inf
        # where all are -inf, the lowest number keeps them so
        shift = matrix.amax(1, keepdim=True).clamp_min_(torch.finfo(matrix.dtype).min)
        sums = matrix.sub_(shift).exp_().sum(1)
        log = torch.logaddexp(log, sums.log_().add_(shift.squeeze(1)))
        if keep:
            kept.append((matrix, shift))
    return log, kept


def _over_processes(
    logs: torch.Tensor, cosines: torch.Tensor, group: dist.ProcessGroup
) -> tuple[torch.Tensor, torch.Tensor]:
    """The logarithm of the sum over all processes, and the cosine from the one that has it."""
    highest = max_over_processes(logs.clone(), group).clamp_min_(torch.finfo(logs.dtype).min)
    sums, cosines = sum_over_processes(torch.stack([(logs - highest).exp_(), cosines]), group)
    return sums.log().add_(highest), cosines


def _losses(
    logs: torch.Tensor, cosines: torch.Tensor, setting: Options
) -> tuple[torch.Tensor, Scaling]:
    """The loss of each level, in every process from the same numbers."""
    weights, scales, margins = cosines.new_tensor(
        [setting.weights, setting.scales, setting.margins]
    ).unsqueeze(2)
    changed, slope = TARGETS[setting.kind](cosines, margins)
    logits = changed * scales
    losses = torch.logaddexp(logs - logits, torch.zeros_like(logits))
    counted = torch.ones_like(losses)
    if setting.kind == "proxy_nca":  # as PML: the mean is over probabilities that are not 0
        counted = (losses < smallest_log(losses.dtype)).to(losses.dtype)
    counts = counted.sum(1, keepdim=True).clamp_min_(1)
    factors = weights * scales / counts * counted
    targets = torch.expm1(-losses).mul_(factors).mul_(slope)  # probability - 1
    scaling = Scaling(factors.log() - logits - losses, targets)
    return (losses * counted / counts).sum(1), scaling


def _add_gradient(
    part: Part,
    unit: torch.Tensor,
    scale: float,
    kept: Kept,
    scaling: Scaling,
    gradients: Gradients,
) -> None:
    """The second pass: exponentials become probabilities, times the factor of their sample."""
    logs = scaling.logs.unsqueeze(1)
    for number, block in enumerate(part.blocks):
        if kept:
            matrix, shift = kept[number]
            matrix.mul_((logs + shift).exp_())
        else:
            matrix = part.cosines(unit, block).mul_(scale).add_(logs).exp_()
        matrix[block.rows, block.columns] = scaling.targets[block.rows]
        gradients.add(part, block, matrix)
