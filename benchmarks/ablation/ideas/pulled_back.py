"""Learned coarse proxies that cannot leave the means of their classes far behind."""

from __future__ import annotations

from typing import Any

import torch

from .idea import Idea


class PulledBack(Idea):
    """Every training step takes a coarse proxy the share ``amount`` of the way back to the mean
    of the proxies of its classes. Needs learned coarse proxies.
    """

    @torch.no_grad()
    def before_step(self, loss: Any) -> None:
        """See :class:`Idea`."""
        vectors, table = loss.class_vectors(), loss.class_labels
        for level in range(1, len(loss.sizes)):
            proxies = getattr(loss.level_loss(level), loss.layout.attribute)
            mean = loss.layout.stored_form(loss.coarse_means(vectors, table, level))
            proxies.lerp_(mean.to(proxies), self.amount)
