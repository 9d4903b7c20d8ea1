r"""The formula of Proxy-Anchor: from exponents to terms of the loss and their derivatives.

.. math:: L = \frac{1}{|C^+|} \sum_{j \in C^+}
    \log\Bigl(1 + \sum_{i: y_i = j} e^{\alpha (\delta - \cos_{ij})}\Bigr) + \frac{1}{C} \sum_j
    \log\Bigl(1 + \sum_{i: y_i \neq j} e^{\alpha (\cos_{ij} + \delta)}\Bigr)

where :math:`C^+` are the classes with a sample in the batch. Source: Kim et al., *Proxy Anchor Loss
for Deep Metric Learning*, CVPR 2020. The sums of a class depend on its column of cosines alone.
"""

from __future__ import annotations

import torch
from torch import Tensor


def attraction(
    exponents: Tensor, classes: Tensor, num_classes: int, needs_shift: bool
) -> tuple[Tensor, Tensor]:
    """The first logarithm of each class, ``(num_classes,)``, 0 for one without a sample; and its
    derivative with respect to each exponent, ``(samples,)``.

    Arguments:
        exponents: ``(samples,)``, of each sample with its class; changed in place.
        classes: ``int64`` of shape ``(samples,)``.
        needs_shift: whether a plain sum of the exponentials could overflow.
    """
    shift = None
    if needs_shift:
        shift = exponents.new_zeros(num_classes).scatter_reduce_(0, classes, exponents, "amax")
        exponents.sub_(shift.index_select(0, classes))
    exponentials = exponents.exp_()
    sums = exponentials.new_zeros(num_classes).index_add_(0, classes, exponentials)
    terms, factors = _log_one_plus(sums, shift)
    return terms, exponentials.mul_(factors.index_select(0, classes))


def repulsion(matrix: Tensor, offsets: Tensor, needs_shift: bool) -> tuple[Tensor, Tensor]:
    """The second logarithm of each class, and what its exponentials have to be multiplied by to
    get the derivatives: ``(classes,)`` each.

    Arguments:
        matrix: ``(samples, classes)``, the scaled cosines, -inf where a sample is of the class;
            exponentials take their place.
        offsets: ``(classes,)``, what is added to the scaled cosines.
        needs_shift: as above.
    """
    if needs_shift:
        shift = matrix.amax(0).add_(offsets).clamp_min_(0)
        return _log_one_plus(matrix.add_(offsets - shift).exp_().sum(0), shift)
    scales = offsets.exp()
    terms, factors = _log_one_plus(matrix.exp_().sum(0).mul_(scales), None)
    return terms, factors.mul_(scales)


def _log_one_plus(sums: Tensor, shift: Tensor | None) -> tuple[Tensor, Tensor]:
    """``log(1 + sums * exp(shift))``, and ``1 / (exp(-shift) + sums)``."""
    if shift is None:
        return sums.log1p(), sums.add_(1).reciprocal_()
    sums.add_(torch.exp(-shift))
    return sums.log().add_(shift), sums.reciprocal_()
