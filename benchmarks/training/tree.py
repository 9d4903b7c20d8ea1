"""The classes that a run trains on, and their tree."""

from __future__ import annotations

import numpy as np

from pml_hierarchical import Hierarchy


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
