"""Tables and optimizer states that grow with the classes of a loss."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor


def grown_table(table: np.ndarray, num_new: int, parents: Any, given: Sequence[int]) -> np.ndarray:
    """The labels of the old classes and the new ones, ``-1`` where a level is to be discovered.

    Arguments:
        table: ``(num_classes, num_levels)``, as in ``Hierarchy``.
        parents: the superclasses of the new classes, ``(num_new, len(given))``, or ``(num_new,)``
            of the finest given level, if these exist. ``None`` if no coarse level is given.
        given: which coarse levels are given.
    """
    new = np.full((num_new, table.shape[1]), -1)
    new[:, 0] = len(table) + np.arange(num_new)
    if (parents is None) != (not given):
        raise TypeError(
            "parents is for a hierarchy that is given, and this one is discovered: leave it out"
            if parents is not None
            else f"parents must say which superclasses the new classes belong to: shape "
            f"({num_new},) or ({num_new}, {len(given)})"
        )
    if parents is not None:
        parents = np.asarray(parents)
        if not np.issubdtype(parents.dtype, np.integer):
            raise TypeError(f"parents must be integers, got {parents.dtype}")
        if parents.shape == (num_new,):
            parents = _ancestors(table[:, given], parents)
        if parents.shape != (num_new, len(given)):
            raise ValueError(
                f"parents must have shape ({num_new},) or ({num_new}, {len(given)}), one row for "
                f"each new class, got {parents.shape}"
            )
        new[:, given] = parents
    return np.concatenate([table, new])


def _ancestors(table: np.ndarray, superclasses: np.ndarray) -> np.ndarray:
    known, first = np.unique(table[:, 0], return_index=True)
    if table.shape[1] == 1:
        return superclasses[:, None]
    if len(superclasses) and not (superclasses.min() >= 0 and superclasses.max() < len(known)):
        raise ValueError(
            f"parents of shape ({len(superclasses)},) must be superclasses that exist, "
            f"0..{len(known) - 1}, got {superclasses.min()}..{superclasses.max()}; for a new "
            f"superclass give its own parents too: shape ({len(superclasses)}, {table.shape[1]})"
        )
    return table[first[superclasses]]


def replace_in_optimizer(
    optimizer: torch.optim.Optimizer, pairs: Sequence[tuple[Tensor, Tensor]]
) -> None:
    """Make an optimizer train the second parameter of each pair in the place of the first, from
    which it has grown. Its statistics of the old classes stay.

    Raises ``ValueError`` if it does not train the parameter, or keeps something that cannot grow;
    nothing has changed then.
    """
    states = [_grown_state(optimizer, old, new) for old, new in pairs]
    for (old, new), state in zip(pairs, states, strict=True):
        for group in optimizer.param_groups:
            group["params"] = [new if p is old else p for p in group["params"]]
        optimizer.state.pop(old, None)
        if state:
            optimizer.state[new] = state


def _grown_state(optimizer: torch.optim.Optimizer, old: Tensor, new: Tensor) -> dict[str, Any]:
    """Statistics of the parameter, and of its rows or columns (Adafactor), grow by zeros."""
    name = type(optimizer).__name__
    if not any(p is old for group in optimizer.param_groups for p in group["params"]):
        raise ValueError(
            f"optimizer does not train the proxies of this loss; give the {name} that was made "
            "with loss_func.parameters()"
        )
    state = {}
    for key, value in optimizer.state.get(old, {}).items():
        if isinstance(value, Tensor) and value.numel() > 1:
            shape = _grown_shape(tuple(value.shape), tuple(old.shape), tuple(new.shape))
            if shape is None:
                raise ValueError(
                    f"{name} keeps {key!r} of shape {tuple(value.shape)} for proxies of shape "
                    f"{tuple(old.shape)}, not clearly of rows or columns: add the classes without "
                    "optimizer=, and construct a new optimizer"
                )
            grown = value.new_zeros(shape)
            grown[tuple(slice(size) for size in value.shape)] = value
            value = grown
        state[key] = value
    return state


def _grown_shape(
    shape: tuple[int, ...], old: tuple[int, ...], new: tuple[int, ...]
) -> tuple[int, ...] | None:
    """The shape of a statistic after its parameter has grown; ``None`` if that is not clear."""
    if len(shape) == len(old) and all(s in (1, o) for s, o in zip(shape, old, strict=True)):
        return tuple(1 if s == 1 else n for s, n in zip(shape, new, strict=True))
    matches = [n for s, o, n in zip(shape * len(old), old, new, strict=False) if s == o]
    return (matches[0],) if len(shape) == 1 and len(matches) == 1 else None
