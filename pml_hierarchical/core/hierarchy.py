"""The tree of classes that losses, metrics and clusterings share."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch


class Hierarchy:
    """An immutable tree of classes: each has one parent in the level above; there is no root.

    Levels are counted as in PML: 0 is the finest. The ``C`` classes of a level are ``0..C-1``.

    Arguments:
        class_labels: integers of shape ``(num_classes, num_levels)``: row ``c`` holds the classes
            that fine class ``c`` belongs to, from the finest level (``c`` itself) to the coarsest.
        names: for every level, the names of its classes, or ``None``.

    Raises ``TypeError`` unless the labels are integers, ``ValueError`` for two parents or a gap.

    Example:
        >>> Hierarchy([[0, 0], [1, 0], [2, 1]])
        Hierarchy(sizes=(3, 2))
    """

    class_labels: np.ndarray  # read-only int64
    names: tuple[tuple[str, ...] | None, ...] | None
    sizes: tuple[int, ...]  # the number of classes of each level, finest first
    num_classes: int
    num_levels: int

    def __init__(self, class_labels: Any, names: Sequence[Any] | None = None) -> None:
        labels = as_integers(class_labels, "class_labels", ndim=2)
        _check_levels(labels)
        table = labels[np.unique(labels[:, 0], return_index=True)[1]]
        table.setflags(write=False)
        names = None if names is None else tuple(None if n is None else tuple(n) for n in names)
        vars(self).update(class_labels=table, num_classes=len(table), num_levels=table.shape[1])
        vars(self).update(names=names, sizes=tuple((table.max(axis=0) + 1).tolist()))

    def __setattr__(self, name: str, value: Any) -> None:
        raise AttributeError(f"a Hierarchy is immutable: {name} cannot be set")

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Hierarchy) or self.names != other.names:
            return False
        return np.array_equal(self.class_labels, other.class_labels)

    def __hash__(self) -> int:
        return hash((self.class_labels.tobytes(), self.sizes, self.names))

    def __repr__(self) -> str:
        return f"Hierarchy(sizes={self.sizes})"

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (np.array(self.class_labels), self.names)


def as_integers(values: Any, name: str, ndim: int = 0) -> np.ndarray:
    """Tensors, arrays and lists of integers as ``int64``, checked."""
    array = np.asarray(values.detach().cpu() if isinstance(values, torch.Tensor) else values)
    if ndim and (array.ndim != ndim or not array.size):
        raise ValueError(f"{name} must be {ndim}-D and not empty, got shape {array.shape}")
    if array.size and not np.issubdtype(array.dtype, np.integer):
        raise TypeError(f"{name} must be integers, got dtype {array.dtype}")
    return array.astype(np.int64)


def _check_levels(labels: np.ndarray) -> None:
    """Raise unless each level is numbered without gaps and each class has one parent."""
    for level, column in enumerate(labels.T):
        low, counts = column.min(), np.bincount(column.clip(0, len(column)))
        if low < 0 or not counts.all():  # a number beyond the rows leaves a gap, too
            missing = f"class {counts.argmin()} is missing"
            wrong = missing if low >= 0 else f"row {column.argmin()} has {low}"
            raise ValueError(f"the classes of level {level} must be 0, 1, 2, ..., but {wrong}")
    for level, (child, parent) in enumerate(zip(labels.T[:-1], labels.T[1:], strict=True)):
        parent_of = np.zeros_like(parent)
        parent_of[child] = parent
        if (differ := parent_of[child] != parent).any():
            node, one, other = (x[differ][0] for x in (child, parent, parent_of[child]))
            wrong = f"class {node} of level {level} has two parents at level {level + 1}"
            hint = " Are the columns in reverse order? Column 0 must be the finest."
            hint = hint if labels[:, 0].max() < labels[:, -1].max() else ""
            raise ValueError(f"{wrong}: {one} and {other}. Every class needs exactly one.{hint}")
