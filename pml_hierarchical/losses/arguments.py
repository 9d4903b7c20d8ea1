"""What HierarchicalProxyLoss checks of its arguments before anything is built."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch

from ..clustering import merged_sizes
from ..hierarchy import Hierarchy

COARSE_PROXIES = ("fixed", "live", "learned")


def check_integer(name: str, value: Any, at_least: int) -> None:
    """Raise unless ``value`` is an integer that is large enough."""
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)):
        raise TypeError(f"{name} must be an integer, got {value!r}")
    if value < at_least:
        raise ValueError(f"{name} must be at least {at_least}, got {value}")


def checked_integer(name: str, value: Any, at_least: int) -> int:
    """The value as an ``int``, after :func:`check_integer`."""
    check_integer(name, value, at_least)
    return int(value)


def check_choice(name: str, value: Any, choices: Sequence[str]) -> None:
    """Raise unless ``value`` is one of the choices."""
    if value not in choices:
        raise ValueError(f"{name} must be one of {', '.join(map(repr, choices))}, got {value!r}")


def check_saving(save_memory: Any, fast_path: bool, num_levels: int) -> None:
    """Raise if ``save_memory`` would change nothing."""
    if not isinstance(save_memory, bool):
        raise TypeError(f"save_memory must be True or False, got {save_memory!r}")
    if save_memory and num_levels == 1:
        raise ValueError(
            "save_memory=True needs two or more levels: with one, this loss is its base loss"
        )
    if save_memory and not fast_path:
        raise ValueError("save_memory=True needs the fast path: leave fast_path at True")


def checked_hierarchy(name: str, hierarchy: Any, num_classes: int) -> Hierarchy:
    """A ``Hierarchy`` as it is, or one made of the 2-D labels of samples; of ``num_classes``."""
    if not isinstance(hierarchy, Hierarchy):
        hierarchy = Hierarchy.from_labels(hierarchy)
    if hierarchy.num_classes != num_classes:
        raise ValueError(
            f"{name} has {hierarchy.num_classes} fine classes, but num_classes={num_classes}"
        )
    sizes = hierarchy.sizes
    for level in range(1, len(sizes)):
        if sizes[level] >= sizes[level - 1]:
            raise ValueError(
                f"{name} has {sizes[level]} classes at level {level} and {sizes[level - 1]} at "
                f"level {level - 1}: a coarser level must be smaller. Leave that level out."
            )
    return hierarchy


def checked_tree(
    num_classes: int, hierarchy: Any, num_superclasses: Any
) -> tuple[Hierarchy | None, tuple[int, ...], tuple[bool, ...]]:
    """The given part of the tree, the size of each level, and which levels are given."""
    if hierarchy is None:
        wanted = "auto" if num_superclasses is None else num_superclasses
        return None, *merged_sizes(num_classes, (), wanted)
    given = checked_hierarchy("hierarchy", hierarchy, num_classes)
    wanted = () if num_superclasses is None else num_superclasses
    return given, *merged_sizes(num_classes, given.sizes[1:], wanted)


def checked_taxonomy(taxonomy: Any, num_classes: int, is_given: Sequence[bool]) -> Hierarchy | None:
    """A tree to compare discovered levels with: there must be both."""
    if taxonomy is None:
        return None
    checked = checked_hierarchy("taxonomy", taxonomy, num_classes)
    if checked.num_levels == 1:
        raise ValueError("taxonomy has one level: there are no superclasses to compare with")
    if all(is_given):
        raise ValueError(
            "taxonomy is compared with levels that are discovered, and here none is: leave it out, "
            "or set num_superclasses"
        )
    return checked


def first_table(
    given: Hierarchy | None, is_given: Sequence[bool], num_classes: int
) -> torch.Tensor:
    """The class labels of every level, ``-1`` where they are still to be discovered."""
    table = np.full((num_classes, len(is_given)), -1)
    table[:, np.flatnonzero(is_given)] = (
        np.arange(num_classes)[:, None] if given is None else given.class_labels
    )
    return torch.tensor(table)


def checked_level_kwargs(
    level_kwargs: Mapping[int, Mapping[str, Any]] | Sequence[Mapping[str, Any]] | None,
    num_levels: int,
) -> tuple[dict[str, Any], ...]:
    """One dictionary of settings for each level."""
    if level_kwargs is None:
        level_kwargs = {}
    if isinstance(level_kwargs, Mapping):
        unknown = [level for level in level_kwargs if level not in range(num_levels)]
        if unknown:
            raise ValueError(
                f"level_kwargs has settings for level {unknown[0]!r}, but the levels are "
                f"0..{num_levels - 1} (0 is the finest)"
            )
        level_kwargs = [level_kwargs.get(level, {}) for level in range(num_levels)]
    if len(level_kwargs) != num_levels:
        raise ValueError(
            f"level_kwargs must hold one mapping for each of the {num_levels} levels (finest "
            f"first), got {len(level_kwargs)}; a mapping {{level: settings}} may leave levels out"
        )
    for level, settings in enumerate(level_kwargs):
        if not isinstance(settings, Mapping):
            raise TypeError(
                f"level_kwargs must hold mappings of keyword arguments, got {settings!r} for "
                f"level {level}"
            )
    return tuple(dict(settings) for settings in level_kwargs)


def check_batch(
    embeddings: torch.Tensor,
    labels: torch.Tensor,
    num_classes: int,
    embedding_size: int,
    needs_norm: bool = False,
) -> None:
    """Raise for embeddings of another size or without a value, and labels that are no classes.

    The values are not looked at while a graph is compiled: that would break it.
    """
    if embeddings.ndim != 2 or embeddings.shape[1] != embedding_size:
        raise ValueError(
            f"embeddings must have shape (batch_size, {embedding_size}), got "
            f"{tuple(embeddings.shape)}"
        )
    if labels.is_floating_point() or labels.dtype == torch.bool:
        raise TypeError(f"labels must be integers, got {labels.dtype}")
    if len(labels) == 0:
        raise ValueError("the batch is empty: a loss needs at least one embedding")
    if torch.compiler.is_compiling():
        return
    lowest, highest = (int(extreme) for extreme in labels.aminmax())
    if lowest < 0 or highest >= num_classes:
        raise ValueError(
            f"labels must be in 0..{num_classes - 1} (num_classes={num_classes}), got labels from "
            f"{lowest} to {highest}"
        )
    values = embeddings.detach()
    # a sum is quick; it is finite unless a value is not, or they are huge
    if not math.isfinite(float(values.sum())) and not values.isfinite().all():
        rows = (~values.isfinite().all(dim=1)).nonzero().flatten().tolist()
        raise ValueError(
            f"embeddings hold NaN or infinite values in {len(rows)} of {len(values)} rows (the "
            f"first is row {rows[0]}); the proxies would become NaN too. Look for a learning rate "
            "that is too high, or a division by zero in the network."
        )
    if needs_norm and not values.any(dim=1).all():
        row = int((~values.any(dim=1)).nonzero()[0])
        raise ValueError(
            f"embeddings hold a row of zeros (row {row}), which has no direction: this base loss "
            "divides by its length"
        )
