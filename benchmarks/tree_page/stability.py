"""How stable superclasses were over the updates of a loss."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np

from ..wording import counted


@dataclass(frozen=True)
class Stability:
    """What :func:`stability` computes.

    Attributes:
        num_updates: how many updates there were, at least 2.
        overlaps: for each level above the finest an array ``(num_updates - 1, size)``: the
            overlap of each superclass with itself at the update before, 0..1.
        moves: ``(C,)``, how many times each class changed its superclass of the first level.
    """

    num_updates: int
    overlaps: tuple[np.ndarray, ...]
    moves: np.ndarray


def stability(history: Any, sizes: Sequence[int]) -> Stability | None:
    r"""The overlap of every superclass with itself between one update and the next.

    The overlap at update ``t`` is Jaccard's, of the classes ``M`` that the superclass has:
    :math:`|M_{t-1} \cap M_t| / |M_{t-1} \cup M_t|`. It is 1 if no class left and none came, and 0
    if no class stayed. The stability of a superclass is the mean over the updates after the first.
    Superclasses keep their numbers from one update of the loss to the next.

    Arguments:
        history: integers ``(updates, levels above the finest, C)``: the superclass of each class
            after each update; or a list of such arrays, one per update, in which later ones may
            have more classes. ``-1`` for a class that did not exist yet.
        sizes: how many superclasses each level above the finest has.

    Returns:
        ``None`` if there were fewer than two updates.

    Raises:
        ValueError: if the history does not fit the sizes.

    Example:
        >>> history = [[[0, 0, 1, 1]], [[0, 0, 0, 1]]]
        >>> stability(history, [2]).overlaps[0].round(2).tolist()
        [[0.67, 0.5]]
    """
    table = stack_history(history)
    if not table.size:
        return None
    if table.shape[1] != len(sizes):
        raise ValueError(
            f"the history has {counted(table.shape[1], 'level')} above the finest, and the tree "
            f"{len(sizes)}"
        )
    for level, size in enumerate(sizes):
        low, high = table[:, level].min(), table[:, level].max()
        if low < -1 or high >= size:
            raise ValueError(
                f"the history has superclasses {low}..{high} at level {level + 1}, and the tree "
                f"has {size} there, from 0"
            )
    if len(table) < 2:
        return None
    overlaps = tuple(_overlaps(table[:, level], size) for level, size in enumerate(sizes))
    before, after = table[:-1, :1], table[1:, :1]
    moves = ((before != after) & (before >= 0)).sum(axis=(0, 1))
    return Stability(len(table), overlaps, moves)


def stack_history(history: Any) -> np.ndarray:
    """The superclasses after every update in one array ``(updates, levels, C)``, padded by -1.

    Raises:
        ValueError: if an update is not an integer array of two dimensions, or the numbers of
            levels differ.
    """
    tables = [np.asarray(table) for table in history]
    for table in tables:
        if table.ndim != 2 or table.dtype.kind not in "iu" or len(table) != len(tables[0]):
            raise ValueError(
                "a history needs integers of shape (levels above the finest, classes) for each "
                f"update, as loss_func.class_labels.T[1:] gives them; got {table.dtype} of shape "
                f"{table.shape}"
            )
    if not tables:
        return np.zeros((0, 0, 0), np.int64)
    classes = max(table.shape[1] for table in tables)
    stacked = np.full((len(tables), len(tables[0]), classes), -1, np.int64)
    for update, table in enumerate(tables):
        stacked[update, :, : table.shape[1]] = table
    return stacked


def _overlaps(labels: np.ndarray, size: int) -> np.ndarray:
    """Overlaps of shape ``(updates - 1, size)``, from the labels ``(updates, C)`` of one level."""
    members = np.stack([np.bincount(row[row >= 0], minlength=size) for row in labels])
    stayed = np.stack(
        [
            np.bincount(after[(after == before) & (after >= 0)], minlength=size)
            for before, after in pairwise(labels)
        ]
    )
    either = members[:-1] + members[1:] - stayed
    overlaps: np.ndarray = stayed / np.maximum(either, 1)
    return overlaps
