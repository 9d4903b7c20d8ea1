"""A fine loss in which how hard classes repel each other depends on the tree."""

from __future__ import annotations

from typing import Any

import torch

from .idea import Idea


class TreeMargin(Idea):
    """``amount`` is added to the cosine of an embedding with some wrong proxies, by the tree.

    The loss then pushes those proxies away as if they were that much nearer.
    """

    def fine_loss(
        self, fine: Any, embeddings: torch.Tensor, labels: torch.Tensor, table: torch.Tensor
    ) -> torch.Tensor:
        """See :class:`Idea`."""
        # the finest of the coarse levels: the superclasses proper
        superclasses = table[:, 1]
        siblings = superclasses[labels, None] == superclasses[None]
        own = labels[:, None] == torch.arange(len(table), device=labels.device)[None]
        nearer = self.amount * self.chosen(siblings, own)

        def shifted(distance: Any, inputs: Any, output: torch.Tensor) -> torch.Tensor:
            # squared distances of unit vectors are 2 - 2 cos
            return output + nearer if distance.is_inverted else output - 2 * nearer

        handle = fine.distance.register_forward_hook(shifted)
        try:
            value: torch.Tensor = fine(embeddings, labels)
        finally:
            handle.remove()
        return value

    def chosen(self, siblings: torch.Tensor, own: torch.Tensor) -> torch.Tensor:
        """Which proxies are pushed harder: ``bool`` of shape ``(batch_size, num_classes)``."""
        raise NotImplementedError


class RepelSiblingsMore(TreeMargin):
    """Classes of the same superclass repel each other more."""

    def chosen(self, siblings: torch.Tensor, own: torch.Tensor) -> torch.Tensor:
        """See :class:`TreeMargin`."""
        return siblings & ~own


class RepelOthersMore(TreeMargin):
    """Classes of other superclasses repel each other more: a margin that grows with the distance
    in the tree.
    """

    def chosen(self, siblings: torch.Tensor, own: torch.Tensor) -> torch.Tensor:
        """See :class:`TreeMargin`."""
        return ~siblings
