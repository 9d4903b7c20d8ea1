r"""The formula of the softmax losses: from sums of exponentials to losses and their derivatives.

.. math:: L = -\frac{1}{B} \sum_i \log \frac{e^{s \phi(\cos_{i y_i})}}
    {e^{s \phi(\cos_{i y_i})} + \sum_{j \neq y_i} e^{s \cos_{ij}}}

with the scale :math:`s` and the change :math:`\phi` of the cosine of a sample's own class. The own
class is kept apart from the sum, so that the loss is exact where the own class is nearly certain.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn.functional import softplus

from .settings import Numbers


def softmax_terms(
    kind: str, logs: Tensor, own: Tensor, numbers: Numbers
) -> tuple[Tensor, Tensor, Tensor]:
    """The losses of a batch at all levels, and the derivatives of their weighted sum.

    Arguments:
        logs: ``(batch_size, levels)``, the logarithm of the sum over the other classes of the
            exponentials of the scaled cosines; -inf where there is no other class.
        own: the scaled cosines of the samples' own classes, of the same shape.

    Returns:
        The unweighted losses, ``(levels,)``; the derivatives for the cosines of own classes; and
        the sums of those for the other classes, to be split in proportion to the exponentials.
    """
    logits, slope = own, None
    if kind == "cosface":  # minus a margin (Wang et al., CVPR 2018)
        logits = own - numbers.offsets
    elif kind == "arcface":
        logits, slope = _arcface(own, numbers)
    odds = logs - logits  # of all other classes against the own one
    losses = softplus(odds, threshold=40)
    if kind == "proxy_nca":  # as PML: the mean is over the samples whose probability is not 0
        counted = (losses < smallest_log(losses.dtype)).to(losses.dtype)
        shares = counted / counted.sum(0).clamp_min_(1)
        factors, means = shares * numbers.slopes, (losses * shares).sum(0)
    else:
        factors, means = numbers.slopes / len(losses), losses.mean(0)
    of_others = odds.sigmoid_().mul_(factors)
    of_own = of_others.neg()
    return means, of_own if slope is None else of_own.mul_(slope), of_others


def smallest_log(dtype: torch.dtype) -> float:
    """Minus the logarithm of the largest number that is rounded to 0: 103.97 in ``float32``."""
    info = torch.finfo(dtype)
    return -math.log(info.tiny) - math.log(info.eps) + math.log(2)


def _arcface(logits: Tensor, numbers: Numbers) -> tuple[Tensor, Tensor]:
    r""":math:`s \cos(\theta + m)` and its derivative in :math:`s \cos\theta` (Deng, CVPR 2019).

    Where :math:`\theta > \pi - m`, PML's :math:`\cos\theta - m \sin m` keeps it falling.
    The derivative :math:`\sin(\theta + m) / \sin\theta` has no limit at :math:`\theta = 0`. The
    sine is bounded from below by its own rounding error, so that the gradient is finite: the
    gradient of a cosine vanishes there.
    """
    margins = numbers.margins
    cosines = logits.div(numbers.scales).clamp_(-1, 1)
    squared_sines = 1 - cosines.square()
    bounded = squared_sines.clamp_min(torch.finfo(cosines.dtype).eps).sqrt_()
    cos_margin, sin_margin = margins.cos(), margins.sin()
    is_turned = torch.acos(cosines) <= math.pi - margins
    turned = cosines * cos_margin - squared_sines.sqrt_() * sin_margin
    slope = cos_margin + cosines / bounded * sin_margin
    changed = torch.where(is_turned, turned, cosines - margins * sin_margin)
    return changed.mul_(numbers.scales), torch.where(is_turned, slope, 1.0)
