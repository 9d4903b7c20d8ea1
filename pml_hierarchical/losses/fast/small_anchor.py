"""Proxy-Anchor, as in :mod:`.anchor`, on a matrix of cosines that fits the cache."""

from __future__ import annotations

import torch

from .options import Options
from .small import Cosines, per_column


def small_anchor_step(cosines: Cosines, options: Options, needs_gradient: bool) -> torch.Tensor:
    """See :data:`.small.Step`. A class has a sum over its own samples, and one over the others."""
    matrix, own = cosines
    sizes, alphas = options.sizes, options.scales
    offsets = [alpha * margin for alpha, margin in zip(alphas, options.margins, strict=True)]
    slopes = [w * a for w, a in zip(options.weights, alphas, strict=True)]
    alpha, offset, slope, size = matrix.new_tensor([alphas, offsets, slopes, sizes])
    of_own = torch.exp(offset - matrix.gather(1, own) * alpha)
    own_sums = matrix.new_zeros(matrix.shape[1]).index_add_(0, own.reshape(-1), of_own.reshape(-1))
    factor = per_column(offsets, sizes, matrix).exp_()
    exponentials = matrix.mul_(per_column(alphas, sizes, matrix)).exp_().scatter_(1, own, 0)
    other_sums = exponentials.sum(0).mul_(factor)
    # no exponential is rounded to 0 here, so a sum is 0 only where a class has no sample
    terms = torch.stack([own_sums.log1p(), other_sums.log1p(), own_sums.sign()])
    totals = torch.stack([level.sum(1) for level in terms.split(sizes, 1)], 1)
    of_present, of_all, counts = totals
    if needs_gradient:
        by_class = [slope / size for slope, size in zip(slopes, sizes, strict=True)]
        share = factor.div_(other_sums.add_(1)).mul_(per_column(by_class, sizes, matrix))
        sums = own_sums.add_(1).index_select(0, own.reshape(-1)).view(own.shape)
        exponentials.mul_(share).scatter_(1, own, of_own.div_(sums).mul_(-slope / counts))
    return of_present / counts + of_all / size
