"""Classes named by their paths in a tree, and numbered."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np

from ..names import composed, printable

Path = tuple[str, ...]


def number_classes(paths: Sequence[Path]) -> tuple[np.ndarray, tuple[tuple[str, ...], ...]]:
    """Number the classes of every level in the order of their paths.

    Arguments:
        paths: for each image its classes, the coarsest first and all of one length. Two nodes of
            one name under different parents are different classes, so levels are always nested.

    Returns:
        ``int64`` labels of shape ``(N, levels)``, column 0 the finest; and the names of the
        classes of each level. A name that several classes of a level share is preceded by those
        of its parents, and what cannot be printed is escaped.

    Example:
        >>> labels, names = number_classes([("Greek", "a"), ("Latin", "a"), ("Latin", "b")])
        >>> labels.tolist()
        [[0, 0], [1, 1], [2, 1]]
        >>> names
        (('Greek/a', 'Latin/a', 'b'), ('Greek', 'Latin'))
    """
    columns, names = [], []
    distinct = set(paths)
    for depth in range(len(paths[0]), 0, -1):
        nodes = sorted({path[:depth] for path in distinct})
        number_of = {node: number for number, node in enumerate(nodes)}
        columns.append([number_of[path[:depth]] for path in paths])
        names.append(_names(nodes))
    return np.array(columns, dtype=np.int64).T, tuple(names)


def _names(nodes: list[Path]) -> tuple[str, ...]:
    shown = [composed(node[-1]) for node in nodes]  # two forms of accents look the same
    frequency = Counter(shown)
    return tuple(
        printable(node[-1] if frequency[name] == 1 else "/".join(node))
        for node, name in zip(nodes, shown, strict=True)
    )


def keep_images(
    kept: np.ndarray, labels: np.ndarray, class_names: tuple[tuple[str, ...], ...]
) -> tuple[np.ndarray, tuple[tuple[str, ...], ...]]:
    """Labels and names of some of the images, numbered again without those that have none left.

    Arguments:
        kept: ``bool`` of shape ``(N,)``.
        labels: integers of shape ``(N, levels)``.
        class_names: for each level the names of its classes.
    """
    columns, names = [], []
    for column, of_level in zip(labels[kept].T, class_names, strict=True):
        present, numbers = np.unique(column, return_inverse=True)
        columns.append(numbers.reshape(-1))
        names.append(tuple(of_level[i] for i in present.tolist()))
    return np.stack(columns, axis=1).astype(np.int64), tuple(names)
