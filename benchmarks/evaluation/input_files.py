"""What is read from files: arrays in ``.npy``, ``.npz`` and ``.pt``, and hierarchies in JSON.

Arrays are left on disk until a slice is wanted. Whatever a file holds, reading it gives what was
asked for or a :class:`FileError`.
"""

from __future__ import annotations

import json
import math
import pickle
import zipfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from pml_hierarchical import Hierarchy

_NAMES = ("embeddings", "labels")  # of arrays that share a file
_OF_TORCH = (".pt", ".pth")


class FileError(ValueError):
    """A file that does not hold what was asked for; the message names the file."""


@contextmanager
def _reading(path: Path, expected: str) -> Iterator[None]:
    """The context of every reader: libraries raise a dozen kinds of errors for broken files."""
    try:
        if not path.is_file():
            raise FileError(f"{path} is a folder" if path.is_dir() else f"there is no file {path}")
        yield
    except FileError:
        raise
    except pickle.UnpicklingError as error:  # torch's text tells how to run a stranger's code
        raise FileError(
            f"{path} is damaged or holds objects other than tensors, such as a model (expected "
            f"{expected})"
        ) from error
    except Exception as error:
        first_line = str(error).strip().partition("\n")[0][:300]
        raise FileError(
            f"{path} cannot be read: {type(error).__name__}: {first_line} (expected {expected})"
        ) from error


def load_array(
    path: str | Path, name: str, must_be_named: bool = False, prefixes: Sequence[str] = ("",)
) -> np.ndarray | Tensor:
    """Open an array without reading it.

    ``.npy`` files, the arrays of ``numpy.savez`` and tensors of ``torch.save`` are mapped into
    memory; those of ``numpy.savez_compressed`` and of old ``torch.save`` have to be read.

    ``.npz`` and ``.pt`` files may hold several arrays; ``name``, ``"embeddings"`` or ``"labels"``,
    is the one wanted. The only array of a file may have another name, but not that of the other
    one, and not if it ``must_be_named``, as when a file was given for its embeddings. Arrays of
    several may have one of ``prefixes`` before their name; the first that is there is taken.

    Raises:
        FileError: if there is no such file, it cannot be read, its checksum is wrong, or it does
            not hold the array.
    """
    path = Path(path)
    with _reading(path, f"{name} in a .npy, .npz or .pt file"):
        if path.suffix == ".npz":
            with np.load(path, allow_pickle=False) as arrays:
                chosen = _choose(arrays.files, name, path, must_be_named, prefixes)
                mapped = _map_stored(path, f"{chosen}.npy")
                return arrays[chosen] if mapped is None else mapped
        if path.suffix in _OF_TORCH:
            return _from_torch(path, name, must_be_named, prefixes)
        if path.suffix != ".npy":
            raise FileError(f"{path}: expected a .npy, .npz or .pt file")
        if must_be_named:
            raise FileError(f"{path} holds no {name}: give them in a file of their own")
        array = np.load(path, mmap_mode="r", allow_pickle=False)
        if not isinstance(array, np.ndarray):
            raise FileError(f"{path} is not a .npy file, whatever its name says")
        return array


def array_names(path: str | Path) -> list[str]:
    """The names of the arrays of a file that holds several; none for other files."""
    path = Path(path)
    with _reading(path, "arrays in a .npz or .pt file"):
        if path.suffix == ".npz":
            with np.load(path, allow_pickle=False) as arrays:
                return list(arrays.files)
        held = _loaded(path) if path.suffix in _OF_TORCH else None
        return [name for name in held if isinstance(name, str)] if isinstance(held, dict) else []


def load_hierarchy(path: str | Path) -> Hierarchy:
    """Read what ``Hierarchy.to_dict`` gave, from JSON; a :class:`FileError` for anything else."""
    path = Path(path)
    with _reading(path, "the JSON of Hierarchy.to_dict()"):
        return Hierarchy.from_dict(json.loads(path.read_text(encoding="utf-8")))


def _from_torch(path: Path, name: str, must_be_named: bool, prefixes: Sequence[str]) -> Tensor:
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            damaged = archive.testzip()
        if damaged is not None:
            raise FileError(f"{path} is damaged: the checksum of {damaged} in it is wrong")
    held = _loaded(path)
    if isinstance(held, dict):
        held = held[_choose(list(held), name, path, must_be_named, prefixes)]
    elif must_be_named:
        raise FileError(f"{path} holds no {name}: give them in a file of their own")
    if not isinstance(held, Tensor):
        raise FileError(f"{path} holds a {type(held).__name__}, expected a tensor")
    if held.layout != torch.strided or held.device.type != "cpu" or held.is_quantized:
        raise FileError(f"{path} holds {name} that are sparse, quantised or without values")
    return held


def _loaded(path: Path) -> Any:
    if zipfile.is_zipfile(path) and str(path).isprintable():
        return torch.load(path, map_location="cpu", mmap=True, weights_only=True)
    with path.open("rb") as file:  # torch cannot map old files, nor those whose name is not UTF-8
        return torch.load(file, map_location="cpu", weights_only=True)


def _choose(
    names: list[Any], wanted: str, path: Path, must_be_named: bool, prefixes: Sequence[str]
) -> Any:
    for prefix in prefixes:
        if f"{prefix}{wanted}" in names:
            return f"{prefix}{wanted}"
    if len(names) == 1 and names[0] not in _NAMES and not must_be_named:
        return names[0]
    shown = ", ".join(map(repr, names[:10])) + (", ..." if len(names) > 10 else "")
    advice = ": give them in a file of their own" if must_be_named else ""
    raise FileError(f"{path} holds no {wanted!r} among its {len(names)} arrays: {shown}{advice}")


def _map_stored(path: Path, member: str) -> np.memmap | None:
    """Map an array of a zip file that is stored as it is; ``None`` if it is compressed."""
    with zipfile.ZipFile(path) as archive:
        info = archive.getinfo(member)
        if info.compress_type != zipfile.ZIP_STORED:
            return None
        with archive.open(member) as stream:
            version, npy = np.lib.format.read_magic(stream), np.lib.format
            if version not in ((1, 0), (2, 0)):
                return None
            read = npy.read_array_header_1_0 if version == (1, 0) else npy.read_array_header_2_0
            shape, is_fortran, dtype = read(stream)
            length_of_header = stream.tell()
            while stream.read(2**22):  # to the end, where the checksum is compared
                pass
    if dtype.hasobject or 0 in shape:
        return None
    size, claimed = info.file_size - length_of_header, math.prod(shape) * dtype.itemsize
    if size != claimed:
        raise FileError(
            f"{path} is damaged: {member} says that it holds {claimed} bytes of shape {shape}, but "
            f"there are {size}"
        )
    # the data follow a local header of 30 bytes, whose last four are the lengths of two fields
    with path.open("rb") as file:
        file.seek(info.header_offset + 26)
        lengths = int.from_bytes(file.read(2), "little") + int.from_bytes(file.read(2), "little")
    offset = info.header_offset + 30 + lengths + length_of_header
    return np.memmap(path, dtype, "r", offset, shape, "F" if is_fortran else "C")
