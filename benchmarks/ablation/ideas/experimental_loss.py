"""HPL with one idea."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from pytorch_metric_learning.utils import common_functions as c_f

from pml_hierarchical import Hierarchy
from pml_hierarchical.losses import HierarchicalProxyLoss

from .idea import Idea


class ExperimentalLoss(HierarchicalProxyLoss):
    """The hierarchical loss as PML's losses compute it level by level, changed by an idea.

    Arguments:
        idea: what is changed.
        *args, **kwargs: of :class:`~pml_hierarchical.losses.HierarchicalProxyLoss`.
    """

    def __init__(self, idea: Idea, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.idea = idea
        idea.set_up(self)

    def compute_loss(
        self, embeddings: Any, labels: Any, indices_tuple: Any, ref_emb: Any, ref_labels: Any
    ) -> dict[str, Any]:
        """PML's ``loss_dict`` of the weighted sum, or of the fine loss until the warm-up ends."""
        c_f.ref_not_supported(embeddings, labels, ref_emb, ref_labels)
        is_step = self.training and torch.is_grad_enabled()
        if is_step:
            self._before_training_step()
        weights: Sequence[float | torch.Tensor] = self.level_weights[:1]
        if not self.is_active:
            values = [self.level_loss(0)(embeddings, labels)]
        else:
            if is_step:
                self.idea.before_step(self)
            values = self._values(embeddings, labels)
            weights = self.idea.weights(values, self.level_weights, embeddings)
        for name, value in zip(self.level_records, values, strict=False):
            setattr(self, name, value.detach())
        total = sum(weight * value for weight, value in zip(weights, values, strict=True))
        return {"loss": {"losses": total, "indices": None, "reduction_type": "already_reduced"}}

    def _values(self, embeddings: torch.Tensor, labels: torch.Tensor) -> list[torch.Tensor]:
        table = self.class_labels
        fine = self.idea.fine_loss(self.level_loss(0), embeddings, labels, table)
        return [fine] + [
            self.idea.coarse_loss(self.level_loss(level), embeddings, labels, table, level)
            for level in range(1, len(self.sizes))
        ]

    def recluster(self) -> Hierarchy:
        """The same as HPL's; the idea is told of it."""
        before = self.class_labels.clone() if self.is_active else None
        tree = super().recluster()
        self.idea.after_update(self.class_labels if before is None else before, self.class_labels)
        return tree
