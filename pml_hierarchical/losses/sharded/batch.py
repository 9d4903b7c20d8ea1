"""The batch of one process, checked before anything is sent."""

from __future__ import annotations

from typing import Any

import torch

from ..arguments import check_batch


def batch_error(
    loss_func: Any, embeddings: torch.Tensor, labels: torch.Tensor, indices_tuple: Any
) -> Exception | None:
    """What is wrong with the inputs of a loss in this process, to be raised in all of them."""
    device = loss_func.class_labels.device
    if indices_tuple is not None:
        return ValueError(
            "indices_tuple must be None: a miner sees the samples of one process alone"
        )
    if embeddings.device != device or labels.device != device:
        return ValueError(
            f"embeddings and labels must be on {device}, as the proxies, got {embeddings.device} "
            f"and {labels.device}"
        )
    if labels.shape != embeddings.shape[:1]:
        return ValueError(f"labels must have shape ({len(embeddings)},), got {tuple(labels.shape)}")
    try:
        check_batch(embeddings, labels, loss_func.num_classes, loss_func.embedding_size)
    except (TypeError, ValueError) as error:
        return error
    return None
