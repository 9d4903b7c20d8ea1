"""The halves of PML's own dataset classes."""

from __future__ import annotations

import io
import sys
from pathlib import Path
from unittest import mock

import numpy as np
from pytorch_metric_learning.datasets.base_dataset import BaseDataset

from .layout import Layout


def read_list(file: Path) -> str:
    """The text of a list, as its publisher wrote it: without what editors add.

    That is a byte order mark, line ends of another system, and blank lines at the end.

    Raises:
        ValueError: if it is not text.
    """
    try:
        text = file.read_text(encoding="utf-8-sig").rstrip()
    except UnicodeDecodeError as error:
        raise ValueError(f"{file} is not text in UTF-8 ({error})") from error
    return f"{text}\n" if text else ""


def open_list(file: str, mode: str = "r") -> io.StringIO:
    """A replacement for ``open`` in PML's modules, which read lists only as they were published."""
    return io.StringIO(read_list(Path(file)))


def read_halves(
    dataset: type[BaseDataset], root: Path, layout: Layout
) -> tuple[list[Path], list[int], np.ndarray]:
    """The images of the training half and then of the test half, as PML's class reads them.

    Returns:
        The files, their fine labels, and a ``bool`` array that says which are of the test half.

    Raises:
        ValueError: if the class cannot read the lists; says what is expected.
    """
    module = sys.modules[dataset.__module__]
    try:
        with mock.patch.object(module, "open", open_list, create=True):
            train, test = (dataset(root=str(root), split=split) for split in ("train", "test"))
    except (ValueError, LookupError, TypeError, AttributeError, OSError, RecursionError) as error:
        raise layout.unreadable(root, error) from error
    files = [Path(path) for path in (*train.paths, *test.paths)]
    is_test = np.repeat([False, True], [len(train.paths), len(test.paths)])
    return files, [*train.labels, *test.labels], is_test
