r"""Proxy-Anchor over classes of which every process has a part.

.. math:: L = \frac{1}{|C^+|} \sum_{j \in C^+}
    \log\Bigl(1 + \sum_{i: y_i = j} e^{\alpha (\delta - \cos_{ij})}\Bigr) + \frac{1}{C} \sum_j
    \log\Bigl(1 + \sum_{i: y_i \neq j} e^{\alpha (\cos_{ij} + \delta)}\Bigr)

as in :mod:`pml_hierarchical.losses.fast.anchor`. Every class has sums of its own, over samples
that all processes know, so that only the loss has to be summed over the processes.
:math:`|C^+|` is counted in the labels of the whole batch, of which every process has all.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
import torch.distributed as dist

from ..fast.options import Options
from .collectives import sum_over_processes
from .parts import Gradients, Part


def proxy_anchor_step(
    parts: Sequence[Part],
    unit: torch.Tensor,
    labels: torch.Tensor,
    setting: Options,
    gradients: Gradients | None,
    group: dist.ProcessGroup,
) -> torch.Tensor:
    """The unweighted loss of each level; this process's part of the gradient is added.

    Arguments:
        parts: of each level the classes of this process.
        unit: unit embeddings of the whole batch, ``(batch_size, embedding_size)``.
        labels: of the whole batch, ``(levels, batch_size)``.
        setting: the loss.
        gradients: ``None`` if none is needed.
        group: the processes.

    Returns:
        ``(levels,)``, the same in all processes.
    """
    num_positive = labels.sort(1).values.diff(dim=1).ne(0).sum(1).add_(1).to(unit.dtype)
    losses = []
    for level, part in enumerate(parts):
        alpha, margin = setting.scales[level], setting.margins[level]
        slope = setting.weights[level] * alpha
        attraction, shares = _positive_terms(part, unit, alpha, margin)
        shares.mul_(-slope / num_positive[level])
        repulsion = unit.new_zeros(())
        for block in part.blocks:
            matrix = part.cosines(unit, block).add_(margin).mul_(alpha)
            matrix[block.rows, block.columns] = -math.inf
            terms, factors = _log_one_plus_sum(matrix)
            repulsion += terms.sum()
            if gradients is not None:
                matrix.mul_(factors.mul_(slope / setting.sizes[level]))
                matrix[block.rows, block.columns] = shares[block.rows]
                gradients.add(part, block, matrix)
        losses.append(attraction / num_positive[level] + repulsion / setting.sizes[level])
    return sum_over_processes(torch.stack(losses), group)


def _log_one_plus_sum(matrix: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Of each column the logarithm of 1 and its exponentials, which are put in their place.

    Returns:
        The logarithms, and what the exponentials are to be multiplied with to be softmax weights.
    """
    shift = matrix.amax(0).clamp_min_(0)
    sums = matrix.sub_(shift).exp_().sum(0).add_(torch.exp(-shift))
    return sums.log().add_(shift), sums.reciprocal()


def _positive_terms(
    part: Part, unit: torch.Tensor, alpha: float, margin: float
) -> tuple[torch.Tensor, torch.Tensor]:
    """The first sum over the classes here, and the softmax weight of each sample in its class.

    Returns:
        A scalar, and ``(batch_size,)`` with 0 for the samples of other classes.
    """
    shares = unit.new_zeros(len(unit))
    exponents = part.positive_cosines(unit).neg_().add_(margin).mul_(alpha)
    classes, group = torch.unique(part.columns, return_inverse=True)
    shift = exponents.new_zeros(len(classes)).scatter_reduce_(0, group, exponents, "amax")
    exponentials = exponents.sub_(shift[group]).exp_()
    sums = torch.exp(-shift).scatter_add_(0, group, exponentials)
    shares[part.rows] = exponentials / sums[group]
    return sums.log().add_(shift).sum(), shares
