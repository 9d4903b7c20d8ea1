"""The softmax losses of :mod:`.softmax` on a matrix of cosines that fits the cache."""

from __future__ import annotations

import torch
from torch.nn.functional import softplus

from .constants import Constants
from .options import Options
from .small import Logits
from .softmax import shares_of_samples
from .targets import TARGETS, plain


def small_softmax_step(
    logits: Logits, options: Options, constants: Constants, needs_gradient: bool
) -> torch.Tensor:
    """See :data:`.small.Step`. Every sample has its target apart, as in :mod:`.softmax`."""
    matrix, own = logits
    target, slope = matrix.gather(1, own), None
    if (change := TARGETS[options.kind]) is not plain:
        changed, slope = change(target.div_(constants.scales), constants.margins)
        target = changed * constants.scales
    sums = matrix.exp_().scatter_(1, own, 0) @ constants.of_level
    odds = sums.log().sub_(target)  # of all other classes against the target
    losses = softplus(odds, threshold=40)
    shares = shares_of_samples(losses, options.kind == "proxy_nca", dim=0)
    if needs_gradient:
        # minus the probability of all other classes, which they share by their exponentials; a
        # level of a single class has none
        of_own = odds.sigmoid_().mul_(constants.slopes * -shares)
        of_others = of_own.div(sums.neg_().clamp_max_(-torch.finfo(sums.dtype).tiny))
        matrix.mul_(of_others @ constants.of_column)
        matrix.scatter_(1, own, of_own if slope is None else of_own.mul_(slope))
    return (losses * shares).sum(0)
