"""Where an idea can change HPL."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch


class Idea(torch.nn.Module):
    """One change to a hierarchical loss; on its own it changes nothing.

    Its parameters are trained at the rate of the network, and its buffers are saved with the loss.

    Arguments:
        amount: how much of it there is; what the number means is for each idea to say.
    """

    def __init__(self, amount: float) -> None:
        super().__init__()
        self.amount = amount

    def set_up(self, loss: Any) -> None:
        """Called once, at the end of the loss's construction."""

    def before_step(self, loss: Any) -> None:
        """Called before every training step in which the coarse levels take part."""

    def after_update(self, before: torch.Tensor, after: torch.Tensor) -> None:
        """Called after an update of the superclasses, with the class labels of all levels."""

    def fine_loss(
        self, fine: Any, embeddings: torch.Tensor, labels: torch.Tensor, table: torch.Tensor
    ) -> torch.Tensor:
        """The loss of the finest level.

        Arguments:
            fine: PML's loss of that level.
            embeddings: ``(batch_size, embedding_size)``.
            labels: fine classes, ``(batch_size,)``.
            table: the class labels of all levels, ``(num_classes, num_levels)``.
        """
        value: torch.Tensor = fine(embeddings, labels)
        return value

    def coarse_loss(
        self,
        coarse: Any,
        embeddings: torch.Tensor,
        labels: torch.Tensor,
        table: torch.Tensor,
        level: int,
    ) -> torch.Tensor:
        """The loss of a coarse level; the arguments are those of :meth:`fine_loss`."""
        value: torch.Tensor = coarse(embeddings, table[labels, level])
        return value

    def weights(
        self,
        values: Sequence[torch.Tensor],
        weights: Sequence[float],
        embeddings: torch.Tensor,
    ) -> Sequence[float | torch.Tensor]:
        """What the losses of the levels are multiplied by.

        Arguments:
            values: the loss of every level, with gradients.
            weights: those that the loss was given.
            embeddings: of the batch.
        """
        return weights
