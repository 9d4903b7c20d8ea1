"""Activations of many pictures on disk: computed block by block, read row by row."""

from __future__ import annotations

import hashlib
import json
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.utils.data import Dataset

from .cache import made_directory
from .files import DamagedFileError, read_arrays, write_arrays

DTYPE = np.dtype(np.float16)  # docs/backbones.md says what it changes


class ActivationFile:
    """One row for each picture of a data set, of which some or all are computed.

    Rows that are not computed take no space where the file system has sparse files. Which ones are
    is in a second, small file, which is written after them: an interruption costs the rows since.

    Attributes:
        path: of the rows, a ``.npy`` file.

    Arguments:
        name: the start of the file's name, for people who look into the directory.
        key: all that the activations depend on, as values that JSON can hold.
        num_rows: how many pictures there are.
        directory: :func:`~benchmarks.cache.cache_directory` by default.

    Raises:
        OSError: if the directory cannot be made.
    """

    def __init__(
        self, name: str, key: Mapping[str, Any], num_rows: int, directory: Path | None = None
    ) -> None:
        digest = hashlib.sha256(json.dumps(key, sort_keys=True).encode()).hexdigest()
        self.directory = made_directory(directory)
        self.path = self.directory / f"{name}-{digest[:16]}.npy"
        self._done_path = self.path.with_suffix(".rows.npz")
        self._num_rows = num_rows

    def missing(self, rows: np.ndarray) -> np.ndarray:
        """Those of the rows that are not computed yet."""
        missing: np.ndarray = rows[~self._done()[rows]]
        return missing

    def write(self, rows: np.ndarray, activations: np.ndarray) -> None:
        """Keep the activations of some pictures.

        Arguments:
            rows: integers of shape ``(n,)``.
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
        done = self._done()
        shape = (self._num_rows, *activations.shape[1:])
        if not done.any():
            array = np.lib.format.open_memmap(self.path, "w+", DTYPE, shape)
        else:
            array = np.load(self.path, mmap_mode="r+")
        array[rows] = halves
        array.flush()
        done[rows] = True
        write_arrays(self._done_path, {"done": done})

    def read(self) -> np.ndarray:
        """All rows, mapped from the file; those that are not computed are undefined."""
        array: np.ndarray = np.load(self.path, mmap_mode="r")
        return array

    def _done(self) -> np.ndarray:
        """For each row whether it is computed: none of a file that is damaged."""
        none = np.zeros(self._num_rows, bool)
        if not self._done_path.exists():
            return none
        try:
            done = read_arrays(self._done_path, {"done": ("b", 1)})["done"]
            if len(self.read()) != self._num_rows or len(done) != self._num_rows:
                raise DamagedFileError(self.path, "it has another number of rows")
        except (OSError, ValueError) as error:
            warnings.warn(f"{self.path} is unusable and is computed again: {error}", stacklevel=3)
            self._done_path.unlink()
            return none
        return done


class Activations(Dataset[torch.Tensor]):
    """Items are the activations of a picture, ``float32``, from one of several files.

    Arguments:
        files: each with a view of every picture that is asked for. With more than one, torch's
            global generator draws which.
    """

    def __init__(self, files: list[ActivationFile]) -> None:
        self.files = files
        self._arrays: list[np.ndarray] | None = None

    def __len__(self) -> int:
        return len(self._opened()[0])

    def __getitem__(self, index: int) -> torch.Tensor:
        arrays = self._opened()
        drawn = int(torch.randint(len(arrays), ())) if len(arrays) > 1 else 0
        return torch.from_numpy(arrays[drawn][index].astype(np.float32))

    def __getstate__(self) -> dict[str, Any]:
        # a pickled memory map would be all of its content
        return {**vars(self), "_arrays": None}

    def _opened(self) -> list[np.ndarray]:
        if self._arrays is None:
            self._arrays = [file.read() for file in self.files]
        return self._arrays
