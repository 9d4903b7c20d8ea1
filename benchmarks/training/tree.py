"""The classes that a run trains on, and their tree."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from pml_hierarchical import Hierarchy

from ..datasets.base import LabelledImages
from ..files import read_json, write_whole

CLASSES_FILE = "classes.json"


def training_tree(labels: np.ndarray) -> tuple[np.ndarray, Hierarchy]:
    """Number the classes that occur without gaps; return the fine labels and the tree."""
    columns = [np.unique(column, return_inverse=True)[1].reshape(-1) for column in labels.T]
    # A level that says nothing more than the one below it (every superclass holds one training
    # class, or all hold the same) cannot be a level of its own.
    kept = [columns[0]]
    for column in columns[1:]:
        if 1 < column.max() + 1 < kept[-1].max() + 1:
            kept.append(column)
    return columns[0], Hierarchy.from_labels(np.stack(kept, axis=1))


def named_tree(data: LabelledImages, train: np.ndarray) -> Hierarchy:
    """The tree of :func:`training_tree` with the names of its classes.

    Arguments:
        data: the data set.
        train: the indices of the images that are trained on.
    """
    labels = data.labels[train]
    tree = training_tree(labels)[1]
    names = [
        [of_level[c] for c in np.unique(column).tolist()]
        for of_level, column in zip(data.class_names, labels.T, strict=True)
    ]
    # the levels that training_tree keeps are the first of their size
    by_size = {len(of_level): of_level for of_level in reversed(names)}
    return Hierarchy(tree.class_labels, [_different(by_size[size]) for size in tree.sizes])


def _different(names: Sequence[str]) -> list[str]:
    """The names; one that occurs again is followed by a number."""
    found: dict[str, None] = {}
    for name in names:
        number, new = 1, name
        while new in found:
            number += 1
            new = f"{name} ({number})"
        found[new] = None
    return list(found)


def write_classes(folder: Path, data: LabelledImages, train: np.ndarray) -> None:
    """Keep the names of the classes of a run and their tree, so that its model can be exported."""
    write_whole(folder / CLASSES_FILE, json.dumps(named_tree(data, train).to_dict()))


def read_classes(folder: Path) -> Hierarchy:
    """What :func:`write_classes` wrote.

    Raises:
        FileNotFoundError: if there is no such file.
        DamagedFileError: if the file is damaged.
    """
    return Hierarchy.from_dict(
        read_json(folder / CLASSES_FILE, {"class_labels": [[int]], "names": [[str]]})
    )
