"""Weights that mean the same for every base loss."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from .idea import Idea

MOMENTUM = 0.99  # of the running mean of sizes: about the last hundred steps


class RelativeWeights(Idea):
    """A coarse level has ``amount`` times the size that the fine level has, on average.

    The given level weights are not used. Sizes are running means over the training steps.
    """

    sizes: torch.Tensor

    def set_up(self, loss: Any) -> None:
        """See :class:`Idea`."""
        self.register_buffer("sizes", torch.zeros(len(loss.sizes)))

    def size_of(self, value: torch.Tensor, embeddings: torch.Tensor) -> torch.Tensor:
        """How large the loss of a level is."""
        raise NotImplementedError

    def weights(
        self,
        values: Sequence[torch.Tensor],
        weights: Sequence[float],
        embeddings: torch.Tensor,
    ) -> Sequence[float | torch.Tensor]:
        """See :class:`Idea`."""
        if self.training and torch.is_grad_enabled():
            now = torch.stack([self.size_of(value, embeddings) for value in values])
            started = bool(self.sizes.any())
            mean = MOMENTUM * self.sizes + (1 - MOMENTUM) * now if started else now
            self.sizes.copy_(mean)
        ratios = self.sizes[0] / self.sizes.clamp_min(1e-12)
        return [1.0, *(self.amount * ratios[1:])]


class RelativeToLoss(RelativeWeights):
    """The size is the value of the loss."""

    def size_of(self, value: torch.Tensor, embeddings: torch.Tensor) -> torch.Tensor:
        """See :class:`RelativeWeights`."""
        return value.detach()


class RelativeToGradient(RelativeWeights):
    """The size is the norm of the gradient that the embeddings get from the loss."""

    def size_of(self, value: torch.Tensor, embeddings: torch.Tensor) -> torch.Tensor:
        """See :class:`RelativeWeights`."""
        (gradient,) = torch.autograd.grad(value, embeddings, retain_graph=True)
        return gradient.norm()
