"""The softmax losses of :mod:`.softmax` on a matrix of cosines that fits the cache."""

from __future__ import annotations

import torch
from torch.nn.functional import softplus

from .options import Options
from .small import Cosines, per_column
from .softmax import shares_of_samples
from .targets import TARGETS


def small_softmax_step(cosines: Cosines, options: Options, needs_gradient: bool) -> torch.Tensor:
    """See :data:`.small.Step`. Every sample has its target apart, as in :mod:`.softmax`."""
    matrix, own = cosines
    weights, scales, margins = matrix.new_tensor(
        [options.weights, options.scales, options.margins]
    )  # of shape (levels,), as the last dimension of everything but the matrix
    changed, slope = TARGETS[options.kind](matrix.gather(1, own), margins)
    logits = changed * scales
    if len(set(options.scales)) == 1:
        matrix.mul_(options.scales[0])
    else:
        matrix.mul_(per_column(options.scales, options.sizes, matrix))
    pieces = matrix.exp_().scatter_(1, own, 0).split(options.sizes, 1)
    sums = torch.stack([entries.sum(1) for entries in pieces], 1)
    losses = softplus(sums.log_().sub_(logits), threshold=40)
    shares = shares_of_samples(losses, options.kind == "proxy_nca", dim=0)
    if needs_gradient:
        factors = (weights * scales * shares).expand_as(losses)
        of_others = (logits + losses).neg_().exp_().mul_(factors)
        for entries, factor in zip(pieces, of_others.split(1, 1), strict=True):
            entries.mul_(factor)
        of_own = losses.neg().expm1_().mul_(factors).mul_(slope)  # probability - 1
        matrix.scatter_(1, own, of_own)
    return (losses * shares).sum(0)
