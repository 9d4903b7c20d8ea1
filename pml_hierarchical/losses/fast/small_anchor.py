"""Proxy-Anchor, as in :mod:`.anchor`, on a matrix of cosines that fits the cache."""

from __future__ import annotations

import torch

from .constants import Constants
from .options import Options
from .small import Logits


def small_anchor_step(
    logits: Logits, options: Options, constants: Constants, needs_gradient: bool
) -> torch.Tensor:
    """See :data:`.small.Step`. A class has a sum over its own samples, and one over the others."""
    matrix, own = logits
    scaled_margins = constants.margins * constants.scales
    of_own = torch.sub(scaled_margins, matrix.gather(1, own)).exp_()
    flat_own = own.reshape(-1)
    own_sums = matrix.new_zeros(matrix.shape[1]).index_add_(0, flat_own, of_own.reshape(-1))
    factor = constants.of_level.mv(scaled_margins).exp_()
    exponentials = matrix.exp_().scatter_(1, own, 0)
    other_sums = exponentials.sum(0).mul_(factor)
    # no exponential is rounded to 0 here, so a sum is 0 only where a class has no sample
    terms = torch.stack([own_sums.log1p(), other_sums.log1p(), own_sums.sign()])
    of_present, of_all, counts = terms @ constants.of_level
    if needs_gradient:
        by_class = constants.of_level.mv(constants.slopes / constants.sizes)
        share = factor.div_(other_sums.add_(1)).mul_(by_class)
        sums = own_sums.add_(1).index_select(0, flat_own).view(own.shape)
        of_own.div_(sums).mul_(constants.slopes / -counts)
        exponentials.mul_(share).scatter_(1, own, of_own)
    return of_present / counts + of_all / constants.sizes
