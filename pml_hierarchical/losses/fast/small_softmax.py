"""The softmax losses of :mod:`.softmax` on a matrix of cosines that fits the cache."""

from __future__ import annotations

import torch
from torch.nn.functional import softplus

from .constants import Constants
from .options import Options
from .small import Cosines
from .softmax import shares_of_samples
from .targets import TARGETS


def small_softmax_step(
    cosines: Cosines, options: Options, constants: Constants, needs_gradient: bool
) -> torch.Tensor:
    """See :data:`.small.Step`. Every sample has its target apart, as in :mod:`.softmax`."""
    matrix, own = cosines
    changed, slope = TARGETS[options.kind](matrix.gather(1, own), constants.margins)
    logits = changed * constants.scales
    is_same = len(set(options.scales)) == 1
    matrix.mul_(options.scales[0] if is_same else constants.column_scales)
    sums = matrix.exp_().scatter_(1, own, 0) @ constants.of_level
    losses = softplus(sums.log().sub_(logits), threshold=40)
    shares = shares_of_samples(losses, options.kind == "proxy_nca", dim=0)
    if needs_gradient:
        # minus the probability of all other classes, which they share by their exponentials; a
        # level of a single class has none
        of_own = losses.neg().expm1_().mul_(constants.slopes * shares)
        of_others = of_own.div(sums.neg_().clamp_max_(-torch.finfo(sums.dtype).tiny))
        matrix.mul_(of_others @ constants.of_column)
        matrix.scatter_(1, own, of_own.mul_(slope))
    return (losses * shares).sum(0)
