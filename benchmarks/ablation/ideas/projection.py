"""Coarse losses on a linear projection of the embedding, which is dropped after training."""

from __future__ import annotations

from typing import Any

import torch

from .idea import Idea


class Projected(Idea):
    """The coarse levels see the embedding through a linear layer of the same size.

    The layer starts as the identity, as their proxies start at the means of the fine ones, and is
    trained from the end of the warm-up on. ``amount`` is the size of its output as a multiple of
    the embedding's; only 1 lets the proxies start there.
    """

    def set_up(self, loss: Any) -> None:
        """See :class:`Idea`."""
        if self.amount != 1:
            raise ValueError(f"projected={self.amount}: only 1 is possible")
        self.linear = torch.nn.Linear(loss.embedding_size, loss.embedding_size, bias=False)
        torch.nn.init.eye_(self.linear.weight)

    def coarse_loss(
        self,
        coarse: Any,
        embeddings: torch.Tensor,
        labels: torch.Tensor,
        table: torch.Tensor,
        level: int,
    ) -> torch.Tensor:
        """See :class:`Idea`."""
        return super().coarse_loss(coarse, self.linear(embeddings), labels, table, level)
