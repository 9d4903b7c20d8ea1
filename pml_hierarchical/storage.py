"""Arrays in ``.npy``, ``.npz`` and ``.pt`` files, left on disk until a slice is wanted."""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor


def load_array(path: str | Path, name: str) -> np.ndarray | Tensor:
    """Open an array without reading it.

    ``.npy`` files, the arrays of ``numpy.savez`` and tensors of ``torch.save`` are mapped into
    memory; those of ``numpy.savez_compressed`` have to be read.

    Arguments:
        path: the file. ``.npz`` and ``.pt`` files may hold several arrays.
        name: which one is wanted, such as ``"embeddings"``; not needed where there is only one.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: for another kind of file, or one that does not hold the array.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"there is no file {path}")
    if path.suffix == ".npy":
        return np.load(path, mmap_mode="r", allow_pickle=False)
    if path.suffix == ".npz":
        with np.load(path, allow_pickle=False) as arrays:
            chosen = _choose(arrays.files, name, path)
            mapped = _map_stored(path, f"{chosen}.npy")
            return arrays[chosen] if mapped is None else mapped
    if path.suffix in (".pt", ".pth"):
        held = torch.load(path, map_location="cpu", mmap=True, weights_only=True)
        if isinstance(held, dict):
            held = held[_choose(list(held), name, path)]
        if not isinstance(held, Tensor):
            raise ValueError(f"{path} holds a {type(held).__name__}, expected a tensor")
        return held
    raise ValueError(f"{path}: expected a .npy, .npz or .pt file")


def _choose(names: list[Any], wanted: str, path: Path) -> Any:
    if wanted in names:
        return wanted
    if len(names) == 1:
        return names[0]
    raise ValueError(f"{path} holds no {wanted!r} among its {len(names)} arrays: {names}")


def _map_stored(path: Path, member: str) -> np.memmap | None:
    """Map an array of a zip file that is stored as it is; ``None`` if it is compressed."""
    with zipfile.ZipFile(path) as archive:
        info = archive.getinfo(member)
        if info.compress_type != zipfile.ZIP_STORED:
            return None
        with archive.open(member) as stream:
            version = np.lib.format.read_magic(stream)
            read = {
                (1, 0): np.lib.format.read_array_header_1_0,
                (2, 0): np.lib.format.read_array_header_2_0,
            }.get(version)
            if read is None:
                return None
            shape, is_fortran, dtype = read(stream)
            length_of_header = stream.tell()
    if dtype.hasobject or 0 in shape:
        return None
    # the data follow a local header of 30 bytes, whose last four are the lengths of two fields
    with path.open("rb") as file:
        file.seek(info.header_offset + 26)
        lengths = int.from_bytes(file.read(2), "little") + int.from_bytes(file.read(2), "little")
    offset = info.header_offset + 30 + lengths + length_of_header
    return np.memmap(path, dtype, "r", offset, shape, "F" if is_fortran else "C")
