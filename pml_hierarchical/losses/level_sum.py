"""The last step of a hierarchical loss: the sum of what its levels came to."""

from __future__ import annotations

from typing import Any

import torch
from pytorch_metric_learning.reducers import MultipleReducers


class LevelSum(MultipleReducers):
    """PML's reducer of several losses, for losses that are single numbers already.

    It writes each into a tensor of its own, each time behind autograd's back, which takes longer
    than a loss of a hundred classes has time for. Here they are added.
    """

    def __init__(self) -> None:
        super().__init__({})

    def forward(
        self, loss_dict: dict[str, Any], embeddings: torch.Tensor, labels: torch.Tensor
    ) -> torch.Tensor:
        """The sum, of the number type and on the device of the embeddings."""
        if any(info["reduction_type"] != "already_reduced" for info in loss_dict.values()):
            return super().forward(loss_dict, embeddings, labels)
        first, *others = [info["losses"] for info in loss_dict.values()]
        total: torch.Tensor = sum(others, first)
        return total.to(embeddings.device, embeddings.dtype)
