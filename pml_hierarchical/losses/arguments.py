"""What HierarchicalProxyLoss checks of its arguments before anything is built."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch

from ..clustering import check_num_superclasses, default_num_superclasses
from ..hierarchy import Hierarchy


def checked_hierarchy(hierarchy: Any, num_classes: int) -> Hierarchy:
    """A ``Hierarchy`` as it is, or one made of the 2-D labels of samples; of ``num_classes``."""
    if not isinstance(hierarchy, Hierarchy):
        hierarchy = Hierarchy.from_labels(hierarchy)
    if hierarchy.num_classes != num_classes:
        raise ValueError(
            f"hierarchy has {hierarchy.num_classes} fine classes, but num_classes={num_classes}"
        )
    sizes = hierarchy.sizes
    for level in range(1, len(sizes)):
        if sizes[level] >= sizes[level - 1]:
            raise ValueError(
                f"hierarchy has {sizes[level]} classes at level {level} and {sizes[level - 1]} at "
                f"level {level - 1}: a coarser level must be smaller. Leave that level out."
            )
    return hierarchy


def level_sizes(
    num_classes: int,
    hierarchy: Hierarchy | None,
    num_superclasses: int | Sequence[int] | None,
) -> tuple[int, ...]:
    """The number of classes of each level, finest first."""
    if hierarchy is not None:
        if num_superclasses is not None:
            raise ValueError(
                "give either hierarchy or num_superclasses (to discover one), not both; got "
                f"{hierarchy} and num_superclasses={num_superclasses!r}"
            )
        return hierarchy.sizes
    if num_superclasses is None:
        num_superclasses = default_num_superclasses(num_classes)
    coarse = num_superclasses if isinstance(num_superclasses, Sequence) else (num_superclasses,)
    return (num_classes, *check_num_superclasses(coarse, num_classes))


def checked_weights(level_weights: float | Sequence[float], num_levels: int) -> tuple[float, ...]:
    """One weight per level; a single number is the weight of every coarse level."""
    if isinstance(level_weights, (int, float)):
        weights = (1.0, *[float(level_weights)] * (num_levels - 1))
    else:
        weights = tuple(float(weight) for weight in level_weights)
    if len(weights) != num_levels:
        raise ValueError(
            f"level_weights must hold one weight for each of the {num_levels} levels (finest "
            f"first), got {len(weights)}: {weights}"
        )
    if any(weight < 0 or not math.isfinite(weight) for weight in weights) or not any(weights):
        raise ValueError(f"level_weights must be finite, not negative and not all 0, got {weights}")
    return weights


def check_batch(
    embeddings: torch.Tensor, labels: torch.Tensor, num_classes: int, embedding_size: int
) -> None:
    """Raise for embeddings of another size, and for labels that are not classes."""
    if embeddings.ndim != 2 or embeddings.shape[1] != embedding_size:
        raise ValueError(
            f"embeddings must have shape (batch_size, {embedding_size}), got "
            f"{tuple(embeddings.shape)}"
        )
    if labels.is_floating_point() or labels.dtype == torch.bool:
        raise TypeError(f"labels must be integers, got {labels.dtype}")
    if len(labels) == 0:
        raise ValueError("the batch is empty: a loss needs at least one embedding")
    lowest, highest = int(labels.min()), int(labels.max())
    if lowest < 0 or highest >= num_classes:
        raise ValueError(
            f"labels must be in 0..{num_classes - 1} (num_classes={num_classes}), got labels from "
            f"{lowest} to {highest}"
        )
