"""Activations of many pictures on disk: added block by block, read one by one."""

from __future__ import annotations

import hashlib
import json
import math
import os
import warnings
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch.utils.data import Dataset

from ..cache import made_directory
from ..files import DamagedFileError, read_arrays, write_arrays

DTYPE = np.dtype(np.float16)  # docs/backbones.md says what it changes


class ActivationFile:
    """Activations of some or all pictures of a data set, in the order in which they came.

    A second, small file says where they are, and is written after them: an interruption costs only
    what was not written yet.

    Attributes:
        path: of the numbers, half precision without a header.

    Arguments:
        name: the start of the file's name, for people who look into the directory.
        key: all that the activations depend on, as values that JSON can hold.
        num_pictures: of the data set.

    Raises:
        OSError: if the directory cannot be made.
    """

    def __init__(self, name: str, key: Mapping[str, Any], num_pictures: int) -> None:
        digest = hashlib.sha256(json.dumps(key, sort_keys=True).encode()).hexdigest()
        self.directory = made_directory()
        self.path = self.directory / f"{name}-{digest[:16]}.bin"
        self._index_path = self.path.with_suffix(".index.npz")
        self._num_pictures = num_pictures

    def missing(self, pictures: np.ndarray) -> np.ndarray:
        """Those of the pictures that have no activations here yet."""
        missing: np.ndarray = pictures[self._index()[0][pictures] < 0]
        return missing

    def write(self, pictures: np.ndarray, activations: np.ndarray) -> None:
        """Add the activations of some pictures.

        Arguments:
            pictures: integers of shape ``(n,)``.
            activations: of shape ``(n, ...)``, the same ``...`` for all pictures.

        Raises:
            OSError: if the disk is full or cannot be written to.
            ValueError: if a number is too large for half precision.
        """
        with np.errstate(over="ignore"):
            halves = activations.astype(DTYPE)
        if not np.isfinite(halves).all():
            raise ValueError(
                f"{self.path.name}: activations up to {np.abs(activations).max():.3g} do not fit "
                f"into half precision (at most {np.finfo(DTYPE).max:.0f}): choose another block"
            )
        rows, _ = self._index()
        count = rows.max() + 1
        with self.path.open("r+b" if count else "wb") as file:
            file.seek(count * halves[0].nbytes)
            file.truncate()  # what was written before an interruption
            file.write(halves.tobytes())
            file.flush()
            os.fsync(file.fileno())
        rows[pictures] = np.arange(count, count + len(pictures))
        write_arrays(self._index_path, {"rows": rows, "shape": np.array(activations.shape[1:])})

    def open(self) -> tuple[np.ndarray, np.ndarray]:
        """The activations, mapped from the file, and for each picture its row there, or -1."""
        rows, shape = self._index()
        return np.memmap(self.path, DTYPE, "r", shape=(rows.max() + 1, *shape)), rows

    def _index(self) -> tuple[np.ndarray, tuple[int, ...]]:
        """For each picture its row or -1, and the shape of a row; a damaged file is empty."""
        empty = np.full(self._num_pictures, -1), ()
        if not self._index_path.exists():
            return empty
        try:
            found = read_arrays(self._index_path, {"rows": ("i", 1), "shape": ("i", 1)})
            rows, shape = found["rows"], tuple(found["shape"].tolist())
            expected = (rows.max() + 1) * math.prod(shape) * DTYPE.itemsize
            if len(rows) != self._num_pictures or self.path.stat().st_size < expected:
                raise DamagedFileError(self.path, f"expected {expected} bytes")
        except (OSError, ValueError) as error:
            warnings.warn(f"{self.path} is unusable and is computed again: {error}", stacklevel=3)
            self._index_path.unlink()
            return empty
        return rows, shape


class Activations(Dataset[torch.Tensor]):
    """Items are the activations of a picture, ``float32``, from one of several files.

    Arguments:
        files: each with a view of every picture that is asked for. With more than one, torch's
            global generator draws which.
    """

    def __init__(self, files: list[ActivationFile]) -> None:
        self.files = files
        self._views: list[tuple[np.ndarray, np.ndarray]] | None = None

    def __len__(self) -> int:
        return len(self._opened()[0][1])

    def __getitem__(self, index: int) -> torch.Tensor:
        views = self._opened()
        drawn = int(torch.randint(len(views), ())) if len(views) > 1 else 0
        activations, rows = views[drawn]
        if rows[index] < 0:
            raise IndexError(f"there are no activations of picture {index}")
        return torch.from_numpy(activations[rows[index]].astype(np.float32))

    def __getstate__(self) -> dict[str, Any]:
        # pickling a memory map would pickle all of its content
        return {**vars(self), "_views": None}

    def _opened(self) -> list[tuple[np.ndarray, np.ndarray]]:
        if self._views is None:
            self._views = [file.open() for file in self.files]
        return self._views
