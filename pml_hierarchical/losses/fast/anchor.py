r"""Proxy-Anchor at all levels, values and gradients in a single pass over the classes.

.. math:: L = \frac{1}{|C^+|} \sum_{j \in C^+}
    \log\Bigl(1 + \sum_{i: y_i = j} e^{\alpha (\delta - \cos_{ij})}\Bigr) + \frac{1}{C} \sum_j
    \log\Bigl(1 + \sum_{i: y_i \neq j} e^{\alpha (\cos_{ij} + \delta)}\Bigr)

where :math:`C^+` are the classes with a sample in the batch. Source: Kim et al., *Proxy Anchor Loss
for Deep Metric Learning*, CVPR 2020, and PML's ``ProxyAnchorLoss``. Every class has a sum of its
own, so that a block of classes is done with once it has been seen.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch

from .columns import Columns
from .gradients import Gradients


def proxy_anchor_step(
    columns: Columns,
    unit: torch.Tensor,
    weights: Sequence[float],
    margins: Sequence[float],
    alphas: Sequence[float],
    gradients: Gradients | None,
) -> torch.Tensor:
    """The unweighted loss of each level; the weighted gradient is added to ``gradients``.

    Arguments:
        columns: the proxies of all levels, and the labels, sorted.
        unit: unit embeddings, ``(batch_size, embedding_size)``.
        weights: of the levels, as are ``margins`` and ``alphas``.
        gradients: ``None`` if none is needed.
    """
    positive, positive_slope = _positive_terms(columns, unit, weights, margins, alphas)
    entries = positive_slope.mul_(columns.inverse_norms[columns.positive_columns])
    logit_scale = columns.per_column(alphas).mul_(columns.inverse_norms)
    offset = columns.per_column([a * m for a, m in zip(alphas, margins, strict=True)])
    slope = columns.per_column(
        [w * a / c for w, a, c in zip(weights, alphas, columns.sizes, strict=True)]
    ).mul_(columns.inverse_norms)
    needs_shift = may_overflow(unit.dtype, margins, alphas, columns.batch_size)
    terms = torch.empty_like(offset)
    buffer = unit.new_empty(columns.batch_size * columns.width)
    for number, block in enumerate(columns.blocks):
        here = slice(block.start, block.stop)
        matrix = columns.product(unit, block, buffer).mul_(logit_scale[here])
        columns.replace_positives(matrix, number, -math.inf)
        share = _log_one_plus_sum(matrix, offset[here], needs_shift, terms[here])
        if gradients is not None:
            matrix.mul_(share.mul_(slope[here]))
            columns.set_positives(matrix, number, entries)
            gradients.add(block, matrix)
    means = [level.mean() for level in terms.split(columns.sizes)]
    return positive + torch.stack(means)


def _log_one_plus_sum(
    matrix: torch.Tensor, offset: torch.Tensor, needs_shift: bool, out: torch.Tensor
) -> torch.Tensor:
    """Exponentials in place, and ``log(1 + sum_i exp(matrix_ij + offset_j))`` to ``out``.

    Returns:
        What the exponentials of a column are to be multiplied with to be its softmax weights.
    """
    if not needs_shift:
        factor = offset.exp()
        sums = matrix.exp_().sum(0).mul_(factor)
        torch.log1p(sums, out=out)
        return factor.div_(sums.add_(1))
    shift = matrix.amax(0).add_(offset).clamp_min_(0)
    sums = matrix.add_(offset - shift).exp_().sum(0).add_(torch.exp(-shift))
    torch.log(sums, out=out).add_(shift)
    return sums.reciprocal_()


def may_overflow(
    dtype: torch.dtype, margins: Sequence[float], alphas: Sequence[float], batch_size: int
) -> bool:
    """Whether a plain sum of the exponentials could leave the range of the number type."""
    largest = max(abs(a) * (1.01 + abs(m)) for a, m in zip(alphas, margins, strict=True))
    room = math.log(torch.finfo(dtype).max) - 2
    return largest + math.log(batch_size) > room


def _positive_terms(
    columns: Columns,
    unit: torch.Tensor,
    weights: Sequence[float],
    margins: Sequence[float],
    alphas: Sequence[float],
) -> tuple[torch.Tensor, torch.Tensor]:
    """The first sum of each level, and its weighted slope for each positive cosine.

    Returns:
        Shapes ``(levels,)`` and ``(levels, batch_size)``.
    """
    cosines = columns.positive_cosines(unit)
    alpha = cosines.new_tensor(alphas).unsqueeze(1)
    exponents = alpha * (cosines.new_tensor(margins).unsqueeze(1) - cosines)
    # Sorted by class, a class is a run: nothing here is as long as the number of classes.
    begins = torch.ones_like(columns.positive_columns)
    begins[:, 1:] = columns.positive_columns.diff(dim=1) != 0
    group = begins.cumsum(1) - 1
    shift = torch.zeros_like(cosines).scatter_reduce_(1, group, exponents, "amax")
    exponentials = exponents.sub_(shift.gather(1, group)).exp_()
    sums = torch.exp(-shift).scatter_add_(1, group, exponentials)
    terms = torch.log(sums).add_(shift)  # 0 where there is no such group
    counts = begins.sum(1)
    slope = alpha * cosines.new_tensor(weights).unsqueeze(1) / counts.unsqueeze(1)
    return terms.sum(1) / counts, -slope * exponentials / sums.gather(1, group)
