"""A share of the classes for each training step, as Partial FC takes them."""

from __future__ import annotations

import math
from typing import Any

import torch


def checked_share(class_share: Any, num_levels: int) -> float:
    """Raise unless the share is a number above 0 and at most 1, and 1 for a single level."""
    if isinstance(class_share, bool) or not isinstance(class_share, (int, float)):
        raise TypeError(f"class_share must be a number, got {class_share!r}")
    if not 0 < class_share <= 1:
        raise ValueError(f"class_share must be above 0 and at most 1 (all), got {class_share}")
    if class_share < 1 and num_levels == 1:
        raise ValueError(
            f"class_share={class_share} needs two or more levels: with one, this loss is its base "
            "loss, which takes all classes"
        )
    return float(class_share)


def sample_classes(
    labels: torch.Tensor, num_classes: int, share: float, seed: int
) -> tuple[torch.Tensor, torch.Tensor]:
    """All classes of a batch, and others drawn at random up to a share of all classes.

    Source: An et al., "Partial FC: Training 10 Million Identities on a Single Machine", ICCVW 2021.

    Arguments:
        labels: ``int64`` of shape ``(batch_size,)``.
        num_classes: of which there are.
        share: how many classes of all are taken; more if the batch has more.
        seed: equal seeds draw equal classes.

    Returns:
        The classes, ascending, and the labels as positions among them.

    Example:
        >>> classes, labels = sample_classes(torch.tensor([7, 7, 2]), 10, share=0.4, seed=0)
        >>> len(classes), classes[labels].tolist()
        (4, [7, 7, 2])
    """
    generator = torch.Generator().manual_seed(seed)
    order = torch.rand(num_classes, generator=generator).to(labels.device)
    order[labels] = 2.0  # before all others
    size = max(math.ceil(share * num_classes), int((order == 2).sum()))
    classes = order.topk(size, sorted=False).indices.sort().values
    return classes, torch.searchsorted(classes, labels)
