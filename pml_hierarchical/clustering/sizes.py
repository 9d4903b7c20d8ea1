"""How many classes each level gets: the sizes that are asked for, and those that are given."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np


def default_num_superclasses(num_classes: int) -> int:
    """``round(sqrt(num_classes))``, but at least 2: as many superclasses as each has members.

    Example:
        >>> default_num_superclasses(100)
        10
    """
    return max(2, round(num_classes**0.5))


def check_num_superclasses(num_superclasses: Any, num_classes: int) -> tuple[int, ...]:
    """Return the sizes of the coarse levels as a tuple, or say what is wrong with them.

    Arguments:
        num_superclasses: integers, decreasing; one integer; or ``"auto"``, one level of the
            :func:`default_num_superclasses`.
        num_classes: the size of the finest level.

    Raises:
        TypeError: if a size is not an integer.
        ValueError: if the sizes do not decrease from ``num_classes``, or one is below 2.

    Example:
        >>> check_num_superclasses("auto", 100), check_num_superclasses([20, 5], 100)
        ((10,), (20, 5))
    """
    if isinstance(num_superclasses, str):
        if num_superclasses != "auto":
            raise ValueError(
                f'num_superclasses must be integers or "auto", got {num_superclasses!r}'
            )
        num_superclasses = default_num_superclasses(num_classes)
    if not isinstance(num_superclasses, Iterable):
        num_superclasses = (num_superclasses,)
    checked: list[int] = []
    for size in num_superclasses:
        if isinstance(size, bool) or not isinstance(size, (int, np.integer)):
            raise TypeError(f"num_superclasses must be integers, got {size!r}")
        if size < 2:
            raise ValueError(
                f"num_superclasses must be at least 2 (one superclass tells nothing apart), got "
                f"{size}; num_superclasses=() asks for no superclasses at all"
            )
        below = checked[-1] if checked else num_classes
        if size >= below:
            what = "the level below it" if checked else "num_classes"
            raise ValueError(
                f"num_superclasses must be smaller than {what}: got {size} superclasses for "
                f"{below} classes"
            )
        checked.append(int(size))
    return tuple(checked)


def merged_sizes(
    num_classes: int, given_sizes: Sequence[int], num_superclasses: Any
) -> tuple[tuple[int, ...], tuple[bool, ...]]:
    """The sizes of all levels of a tree of which some levels are given and some discovered.

    Arguments:
        num_classes: the size of the finest level.
        given_sizes: of the coarse levels that are given, ``hierarchy.sizes[1:]``, or ``()``.
        num_superclasses: of the levels to discover, as :func:`check_num_superclasses` takes it.

    Returns:
        The sizes of all levels, the finest first, and for each whether it is given; the finest is.

    Raises:
        TypeError: if a size is not an integer.
        ValueError: as :func:`check_num_superclasses`; if a given level is not smaller than the one
            below it; if a level to discover is as large as a given one.

    Example:
        >>> merged_sizes(100, (30, 5), [12])
        ((100, 30, 12, 5), (True, True, False, True))
    """
    wanted = check_num_superclasses(num_superclasses, num_classes)
    given = (num_classes, *(int(size) for size in given_sizes))
    for level, (below, size) in enumerate(itertools.pairwise(given), start=1):
        if size >= below:
            raise ValueError(
                f"the given hierarchy has {size} classes at level {level} and {below} at level "
                f"{level - 1}: a coarser level must be smaller. Leave that level out."
            )
    for size in wanted:
        if size in given:
            raise ValueError(
                f"num_superclasses={size} is the size of level {given.index(size)} of the given "
                f"hierarchy, {given[given.index(size)]}: a level to discover must be smaller than "
                "the one below it and larger than the one above it"
            )
    levels = sorted([(size, True) for size in given] + [(size, False) for size in wanted])[::-1]
    return tuple(size for size, _ in levels), tuple(is_given for _, is_given in levels)


def share_out(num_clusters: int, counts: np.ndarray) -> np.ndarray:
    """Share clusters out over groups of points, in proportion to the number of points of each.

    By largest remainder, each group getting at least one cluster and at most one per point.

    Arguments:
        num_clusters: between the number of groups and the number of points.
        counts: the number of points of each group, at least 1, of shape ``(num_groups,)``.

    Returns:
        ``int64`` of shape ``(num_groups,)`` whose sum is ``num_clusters``.

    Example:
        >>> share_out(5, np.array([1, 1, 20, 10])).tolist()
        [1, 1, 2, 1]
    """
    counts = counts.astype(np.int64)
    fair = num_clusters * counts  # in units of 1 / total: integers, so that ties are ties
    total = counts.sum()
    shares = np.maximum(fair // total, 1)
    while shares.sum() < num_clusters:
        # never more than one per point: where a group is full, nothing is missing
        shares[np.argmax(fair - shares * total)] += 1
    while shares.sum() > num_clusters:
        surplus = np.where(shares > 1, shares * total - fair, np.iinfo(np.int64).min)
        shares[np.argmax(surplus)] -= 1
    return shares
