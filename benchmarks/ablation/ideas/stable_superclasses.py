"""Superclasses that the clustering does not find again are given up until it does."""

from __future__ import annotations

from typing import Any

import torch

from .idea import Idea


class OnlyStable(Idea):
    """Images of a superclass that changed a lot in the last update have no coarse loss.

    ``amount`` is the smallest overlap of a superclass with itself before the update (the Jaccard
    index of its members) at which it counts. All of them count until the second clustering.
    """

    stable: torch.Tensor

    def set_up(self, loss: Any) -> None:
        """See :class:`Idea`."""
        self.register_buffer("stable", torch.ones(loss.num_classes, len(loss.sizes)).bool())

    def after_update(self, before: torch.Tensor, after: torch.Tensor) -> None:
        """See :class:`Idea`."""
        for level in range(1, after.shape[1]):
            old, new = before[:, level], after[:, level]  # superclasses keep their numbers
            size = int(max(old.max(), new.max())) + 1
            both = new[old == new].bincount(minlength=size)
            either = old.bincount(minlength=size) + new.bincount(minlength=size) - both
            overlap = both / either.clamp_min(1)
            self.stable[:, level] = (overlap >= self.amount)[new]

    def coarse_loss(
        self,
        coarse: Any,
        embeddings: torch.Tensor,
        labels: torch.Tensor,
        table: torch.Tensor,
        level: int,
    ) -> torch.Tensor:
        """See :class:`Idea`."""
        counted = self.stable[labels, level]
        if not counted.any():
            return 0 * embeddings.sum()
        return super().coarse_loss(coarse, embeddings[counted], labels[counted], table, level)
