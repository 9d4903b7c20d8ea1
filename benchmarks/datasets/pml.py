"""The halves of PML's own dataset classes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from pytorch_metric_learning.datasets.base_dataset import BaseDataset

from benchmarks.datasets.layout import Layout


def read_halves(
    dataset: type[BaseDataset], root: Path, layout: Layout
) -> tuple[list[Path], list[int], np.ndarray]:
    """The images of the training half and then of the test half, as PML's class reads them.

    Returns:
        The files, their fine labels, and a ``bool`` array that says which are of the test half.

    Raises:
        ValueError: if the class cannot read the lists; says what is expected.
    """
    try:
        train, test = (dataset(root=str(root), split=split) for split in ("train", "test"))
    except (ValueError, KeyError, IndexError, OSError) as error:
        raise layout.unreadable(root, error) from error
    files = [Path(path) for path in (*train.paths, *test.paths)]
    is_test = np.repeat([False, True], [len(train.paths), len(test.paths)])
    return files, [*train.labels, *test.labels], is_test
