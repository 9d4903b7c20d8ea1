r"""The softmax losses at all levels: a pass for the sums, and a pass for the gradient.

.. math:: L = -\frac{1}{B} \sum_i \log \frac{e^{s \phi(\cos_{i y_i})}}
    {e^{s \phi(\cos_{i y_i})} + \sum_{j \neq y_i} e^{s \cos_{ij}}}

with the scale :math:`s` and the change :math:`\phi` of the loss (see :mod:`.targets`). The
exponentials of the first pass are kept for the second one, or computed again to save memory.
Every sample has its target apart, so that the loss is exact where a target is nearly certain.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import torch

from .columns import Columns
from .gradients import Gradients
from .plan import Block
from .targets import Target


class Setting(NamedTuple):
    """The loss; one number for each level."""

    weights: Sequence[float]
    scales: Sequence[float]
    margins: Sequence[float]
    target: Target
    leaves_out_zeros: bool  # the mean is over the samples whose probability is not 0
    is_unit: bool  # no embedding has a norm above 1, which bounds the exponents


class Sums(NamedTuple):
    """What the first pass leaves: sums of exponentials over the classes but the target."""

    logs: torch.Tensor  # (levels, batch_size): the logarithm of the sum
    cosines: torch.Tensor  # of the targets, in the order of Columns.positive_rows
    shifts: list[list[torch.Tensor | None]]  # by block and level, (batch_size, 1), if any
    kept: list[torch.Tensor]  # by block, the exponentials; empty if memory is to be saved


def softmax_step(
    columns: Columns,
    unit: torch.Tensor,
    setting: Setting,
    gradients: Gradients | None,
    save_memory: bool,
) -> torch.Tensor:
    """The unweighted loss of each level; the weighted gradient is added to ``gradients``.

    Arguments:
        columns: the proxies of all levels, and the labels.
        unit: embeddings, ``(batch_size, embedding_size)``.
        setting: the loss.
        gradients: ``None`` if none is needed.
        save_memory: whether to compute every exponential twice.
    """
    logit_scale = columns.per_column(setting.scales).mul_(columns.inverse_norms)
    keep = gradients is not None and not save_memory
    sums = _sum_exponentials(columns, unit, logit_scale, setting, keep)
    weights, scales, margins = unit.new_tensor(
        [setting.weights, setting.scales, setting.margins]
    ).unsqueeze(2)
    cosines = columns.by_sample(sums.cosines.view_as(sums.logs)).div_(scales)
    changed, slope = setting.target(cosines, margins)
    logits = changed * scales
    losses = torch.logaddexp(sums.logs - logits, torch.zeros_like(logits))
    shares = shares_of_samples(losses, setting.leaves_out_zeros, dim=1)
    if gradients is not None:
        factors = (weights * scales * shares).expand_as(losses)
        of_target = torch.expm1(-losses).mul_(factors).mul_(slope)  # probability - 1
        targets = columns.by_positive(of_target) * columns.inverse_norms[columns.positive_columns]
        scaling = (logits + losses, factors, targets)
        _add_gradient(columns, unit, logit_scale, sums, scaling, gradients)
    return (losses * shares).sum(1)


def shares_of_samples(
    losses: torch.Tensor, leaves_out_zeros: bool, dim: int
) -> float | torch.Tensor:
    """What each sample counts in the mean of its level; ``dim`` is that of the samples."""
    if not leaves_out_zeros:
        return 1 / losses.shape[dim]
    counted = (losses < smallest_log(losses.dtype)).to(losses.dtype)
    return counted / counted.sum(dim, keepdim=True).clamp_min_(1)


def smallest_log(dtype: torch.dtype) -> float:
    """Minus the logarithm of the largest number that is rounded to 0: 103.97 in ``float32``."""
    info = torch.finfo(dtype)
    return -math.log(info.tiny) - math.log(info.eps) + math.log(2)


def _sum_exponentials(
    columns: Columns, unit: torch.Tensor, logit_scale: torch.Tensor, setting: Setting, keep: bool
) -> Sums:
    needs_shift = not setting.is_unit or may_overflow(
        unit.dtype, setting.scales, columns.num_columns
    )
    shape = columns.positive_columns.shape
    logs = unit.new_full(shape, -math.inf if needs_shift else 0)
    found, kept, shifts = [], [], []
    buffer = unit.new_empty(columns.batch_size * (columns.num_columns if keep else columns.width))
    for number, block in enumerate(columns.blocks):
        here = buffer[columns.batch_size * block.start :] if keep else buffer
        matrix = columns.product(unit, block, here)
        matrix.mul_(logit_scale[block.start : block.stop])
        found.append(columns.replace_positives(matrix, number, -math.inf))
        shifts.append(_exponentials(matrix, block, needs_shift, logs))
        if keep:
            kept.append(matrix)
    cosines = found[0] if len(found) == 1 else torch.cat(found)
    return Sums(logs if needs_shift else logs.log_(), cosines, shifts, kept)


def _exponentials(
    matrix: torch.Tensor, block: Block, needs_shift: bool, sums: torch.Tensor
) -> list[torch.Tensor | None]:
    """In place, the exponentials of a block; their sums by row are added to those of each level.

    Returns:
        What was taken from the exponents of each level, in which case ``sums`` are logarithms.
    """
    pieces = matrix.split(block.level_widths, 1)
    shifts: list[torch.Tensor | None] = []
    if not needs_shift:
        matrix.exp_()
        for level, entries in zip(block.levels, pieces, strict=True):
            sums[level].add_(entries.sum(1))
            shifts.append(None)
        return shifts
    for level, entries in zip(block.levels, pieces, strict=True):
        # where all are -inf, the lowest number keeps them so
        shift = entries.amax(1, keepdim=True).clamp_min_(torch.finfo(matrix.dtype).min)
        logs = entries.sub_(shift).exp_().sum(1).log_().add_(shift.squeeze(1))
        torch.logaddexp(sums[level], logs, out=sums[level])
        shifts.append(shift)
    return shifts


def _add_gradient(
    columns: Columns,
    unit: torch.Tensor,
    logit_scale: torch.Tensor,
    sums: Sums,
    scaling: tuple[torch.Tensor, torch.Tensor, torch.Tensor],
    gradients: Gradients,
) -> None:
    """The second pass: exponentials become probabilities, times the factor of their sample."""
    totals, factors, targets = scaling
    logs = (factors.log() - totals).unsqueeze(2)
    buffer = unit.new_empty(0 if sums.kept else columns.batch_size * columns.width)
    for number, block in enumerate(columns.blocks):
        here = slice(block.start, block.stop)
        if sums.kept:
            matrix = sums.kept[number]
        else:
            matrix = columns.product(unit, block, buffer).mul_(logit_scale[here])
        pieces = matrix.split(block.level_widths, 1)
        for level, entries, shift in zip(block.levels, pieces, sums.shifts[number], strict=True):
            if not sums.kept:
                entries.add_(logs[level]).exp_()
            else:
                entries.mul_((logs[level] if shift is None else logs[level] + shift).exp())
        matrix.mul_(columns.inverse_norms[here])
        columns.set_positives(matrix, number, targets)
        gradients.add(block, matrix)


def may_overflow(dtype: torch.dtype, scales: Sequence[float], num_columns: int) -> bool:
    """Whether a plain sum of exponentials could leave the range of the number type."""
    room = math.log(torch.finfo(dtype).max) - 2
    return 1.01 * max(abs(scale) for scale in scales) + math.log(num_columns) > room
