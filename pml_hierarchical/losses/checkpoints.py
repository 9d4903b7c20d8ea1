"""Checkpoints of another loss are refused with a reason."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def check_checkpoint(loss_func: Any, state_dict: Mapping[str, Any], prefix: str) -> None:
    """Raise unless the sizes in a checkpoint are those of a loss.

    Arguments:
        loss_func: a ``HierarchicalProxyLoss``.
        state_dict: what is to be loaded, maybe of a larger module.
        prefix: of the keys that belong to the loss.

    Raises:
        ValueError: for another number of classes, levels or superclasses.
    """
    saved = state_dict.get(prefix + "class_labels")
    sizes = loss_func.sizes
    if saved is not None and (num_levels := saved.shape[1]) != len(sizes):
        raise ValueError(
            f"the checkpoint is of a loss with {num_levels} levels, and this one has {len(sizes)} "
            f"(sizes {sizes}): construct it with the same hierarchy or num_superclasses"
        )
    for level, size in enumerate(sizes):
        name = loss_func.layout.attribute
        stored = state_dict.get(f"{prefix}level_losses.level{level}.{name}")
        ours = getattr(loss_func.level_loss(level), name)
        if stored is not None and stored.shape != ours.shape:
            raise ValueError(
                f"the checkpoint's proxies of level {level} have shape {tuple(stored.shape)}, and "
                f"those of this loss {tuple(ours.shape)} ({size} classes): construct it with the "
                "num_classes and num_superclasses of the checkpoint, which has "
                f"{'other' if saved is None else len(saved)} classes"
            )
