"""Checks of integers, engines and batches."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from pytorch_metric_learning.utils import common_functions as c_f

if TYPE_CHECKING:
    from .fast_path import FastPath


def check_integer(name: str, value: Any, at_least: int) -> int:
    """The value as an ``int``; an error unless it is an integer that is large enough."""
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)):
        raise TypeError(f"{name} must be an integer, got {value!r}")
    if value < at_least:
        raise ValueError(f"{name} must be at least {at_least}, got {value}")
    return int(value)


def check_engine(engine: FastPath | None, when: str) -> None:
    """Raise for settings of the fast path where the losses of PML are called instead."""
    if engine is not None and (engine.class_share < 1 or engine.save_memory):
        raise ValueError(f"engine={engine} has no effect: {when}, the loss is PML's. Leave it out")


def checked_labels(labels: Any, embeddings: torch.Tensor, embedding_size: int) -> torch.Tensor:
    """``int64`` labels of shape ``(batch_size,)`` on the device of the embeddings.

    ``labels`` are integers of any type, as a tensor, an array or a list; ``embeddings`` have the
    shape ``(batch_size, embedding_size)``. ``TypeError`` or ``ValueError`` for anything else.
    """
    c_f.labels_required(labels)
    if not isinstance(labels, torch.Tensor):
        array = np.asarray(labels)
        if array.dtype.kind in "USO":
            wrong = f"got {array.ravel()[:1]}: encode names first, with Hierarchy.encode(names)"
            raise TypeError(f"labels must be integers, {wrong}")
        # a copy in the byte order of this machine, which torch can take
        labels = torch.as_tensor(array.astype(np.int64) if array.dtype.kind in "iu" else array)
    if labels.ndim != 1:
        rule = "use labels[:, 0], the finest level; the loss knows the superclasses of each class"
        raise ValueError(f"labels must be 1D, got shape {tuple(labels.shape)}: {rule}")
    is_tensor = isinstance(embeddings, torch.Tensor)
    if not is_tensor or not embeddings.is_floating_point():
        found = embeddings.dtype if is_tensor else type(embeddings).__name__
        raise TypeError(f"embeddings must be a floating point tensor, got {found}")
    if labels.is_floating_point() or labels.is_complex() or labels.dtype == torch.bool:
        raise TypeError(f"labels must be integers, got {labels.dtype}")
    c_f.check_shapes(embeddings, labels)
    if embeddings.ndim != 2 or embeddings.shape[1] != embedding_size:
        wrong = f"embeddings must have shape (batch_size, {embedding_size})"
        raise ValueError(f"{wrong}, got {tuple(embeddings.shape)}")
    if len(embeddings) == 0:
        raise ValueError("the batch is empty: a loss needs at least one embedding")
    return labels.to(embeddings.device, torch.int64)


def check_values(
    embeddings: torch.Tensor, labels: torch.Tensor, num_classes: int, needs_norm: bool = False
) -> None:
    """Raise for labels that are not classes, and embeddings that are not finite (or, where a loss
    ``needs_norm``, are zero). This reads values, so the CPU waits for the GPU."""
    lowest, highest = (int(extreme) for extreme in labels.aminmax())
    if lowest < 0 or highest >= num_classes:
        rule = f"labels must be in 0..{num_classes - 1} (num_classes={num_classes})"
        raise ValueError(f"{rule}, got labels from {lowest} to {highest}")
    values = embeddings.detach()
    # a sum is quick; it is finite unless a value is not finite or values are huge
    if not math.isfinite(float(values.sum())) and not values.isfinite().all():
        rows = (~values.isfinite().all(dim=1)).nonzero().flatten().tolist()
        raise ValueError(
            f"embeddings hold NaN or infinite values in {len(rows)} of {len(values)} rows (the "
            f"first is row {rows[0]}); the proxies would become NaN too. Look for a learning rate "
            "that is too high, or a division by zero in the network."
        )
    if needs_norm and not values.any(dim=1).all():
        row = int((~values.any(dim=1)).nonzero()[0])
        wrong = f"embeddings hold a row of zeros (row {row}), which has no direction"
        raise ValueError(f"{wrong}: this base loss divides by its length")
