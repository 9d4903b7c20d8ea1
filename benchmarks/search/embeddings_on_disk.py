"""Embed many pictures into a file; a call that was interrupted is continued by the next one."""

from __future__ import annotations

import json
import os
import time
import warnings
from collections.abc import Sequence
from multiprocessing.pool import ThreadPool
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tqdm import tqdm

from pml_hierarchical.search.model import RetrievalModel
from pml_hierarchical.search.pictures import read_picture

from ..files import NUMBER, TEMPORARY, DamagedFileError, read_json, write_whole
from ..unreadable import reason_of
from ..wording import counted

EMBEDDINGS_FILE, LIST_FILE = "embeddings.npy", "pictures.json"
LISTED = {"root": str, "paths": [str], "sizes": [NUMBER], "times": [NUMBER], "fingerprint": str}
_UNFINISHED, _PROGRESS = "unfinished.npy", "progress.npy"  # which rows are embedded, bool (n,)
_SECONDS, _BLOCK = 10, 2**14  # between two records of the progress; rows that are copied at a time


class BrokenPicturesError(OSError):
    """Some pictures cannot be read: ``reasons`` says why, by path. All others are embedded."""

    def __init__(self, reasons: dict[str, str]) -> None:
        self.reasons = reasons
        path, why = next(iter(reasons.items()))
        super().__init__(f"{counted(len(reasons), 'picture')} cannot be read, first {path} ({why})")


def embed(
    model: RetrievalModel,
    paths: Sequence[str | Path],
    folder: str | Path,
    root: str | Path = ".",
    batch_size: int = 32,
    workers: int = 1,
    show_progress: bool = False,
) -> np.ndarray:
    """Write the embeddings of pictures to ``folder/embeddings.npy``, batch by batch.

    Pictures that it holds already, with the same path, size and time, are not embedded again: an
    interrupted call is continued by the next, and pictures can be added, changed and removed.

    Arguments:
        model: on the device to use.
        paths: one per row, relative to ``root``; they are also written to ``pictures.json``.
        workers: threads that read pictures.

    Returns:
        ``float32 (n, embedding_size)``, rows of length 1, mapped into memory.

    Raises:
        ValueError: if there are no pictures, ``batch_size`` or ``workers`` is below 1, or the
            folder holds embeddings of another model or a damaged ``pictures.json``.
        BrokenPicturesError: if some cannot be read; raised after all others are embedded.
        OSError: if a file is missing or the disk is full, before any are embedded.
    """
    if min(batch_size, workers) < 1:
        raise ValueError(
            f"batch_size and workers must be at least 1, got {batch_size} and {workers}"
        )
    folder, files = Path(folder), [Path(root, path) for path in paths]
    states = [(file.stat().st_size, file.stat().st_mtime_ns) for file in files]
    sizes, times = map(list, zip(*states, strict=True)) if states else ([], [])
    pictures = {"root": os.path.abspath(root), "paths": list(map(str, paths)), "sizes": sizes}
    pictures |= {"times": times, "fingerprint": model.fingerprint}
    array, done = _open(folder, pictures, model.embedding_size)

    def read(row: int) -> torch.Tensor | str:
        try:
            picture = read_picture(files[row].read_bytes())
        except Exception as error:  # what the decoders raise is not documented
            return reason_of(error)
        try:
            return model.transform(picture)
        except (MemoryError, OverflowError, RuntimeError) as error:  # it is enlarged too far
            wrong = f"the picture {str(files[row])!r} of {picture.width} x {picture.height} pixels"
            return f"{wrong} cannot be transformed ({str(error) or type(error).__name__})"

    reasons, recorded = dict[str, str](), time.monotonic()
    todo = np.flatnonzero(~done).tolist()
    bar = tqdm(
        None, "embedding", len(done), initial=done.sum(), disable=not show_progress or done.all()
    )
    try:
        with bar, ThreadPool(workers) as pool, torch.inference_mode():
            coming = pool.map_async(read, todo[:batch_size])
            for end in range(batch_size, len(todo) + batch_size, batch_size):
                rows, following = todo[end - batch_size : end], todo[end : end + batch_size]
                found: dict[int, Any] = dict(zip(rows, coming.get(), strict=True))
                coming = pool.map_async(read, following)  # while the network computes
                inputs = {row: one for row, one in found.items() if not isinstance(one, str)}
                if inputs:
                    batch = torch.stack([*inputs.values()]).to(model.proxies.device)
                    array[[*inputs]] = model.eval()(batch).float().cpu().numpy()
                    done[[*inputs]] = True
                reasons |= {str(paths[row]): x for row, x in found.items() if isinstance(x, str)}
                bar.update(len(rows))
                if time.monotonic() > recorded + _SECONDS:
                    recorded = _record(folder, array, done)
    finally:
        _record(folder, array, done)
    if reasons:
        raise BrokenPicturesError(reasons)
    return np.load(folder / EMBEDDINGS_FILE, mmap_mode="c")  # PyTorch warns of read-only arrays


def _open(folder: Path, pictures: dict[str, Any], size: int) -> tuple[np.memmap, np.ndarray]:
    """The array for these pictures, with the rows that the folder holds, and which they are."""
    listed, progress, unfinished = (folder / one for one in (LIST_FILE, _PROGRESS, _UNFINISHED))
    stored = folder / EMBEDDINGS_FILE if (folder / EMBEDDINGS_FILE).exists() else unfinished
    wanted = _keys(pictures)
    if not wanted:
        raise ValueError("there are no pictures to embed")
    folder.mkdir(parents=True, exist_ok=True)
    source, old = np.full(len(wanted), -1), np.empty((0, size))
    if stored.exists():
        if not listed.exists():
            raise ValueError(f"{stored} was not written by embed: choose another folder")
        held = read_list(listed)
        if held["fingerprint"] != pictures["fingerprint"]:
            number = counted(len(held["paths"]), "picture")
            wrong = f"{folder} holds the embeddings of {number} by another model"
            raise ValueError(f"{wrong}: choose another folder, or delete this one")
        # without a record of the progress a crash has left files that do not belong together
        if progress.exists() and (found := _read(stored, progress, (len(held["paths"]), size))):
            old, done = found
            if _keys(held) == wanted:
                write_whole(listed, json.dumps({**held, **pictures}))
                return np.load(stored, mmap_mode="r+"), done
            source = _rows(held, done, pictures)
    header = {"descr": "<f4", "fortran_order": False, "shape": (len(wanted), size)}
    new, described = folder / (_UNFINISHED + TEMPORARY), folder / (LIST_FILE + TEMPORARY)
    try:
        with new.open("wb") as file:  # writing all of it finds out now whether the disk is full
            np.lib.format.write_array_header_1_0(file, header)
            for start in range(0, len(wanted), _BLOCK):
                rows = source[start : start + _BLOCK]
                block = np.zeros((len(rows), size), "<f4")
                block[rows >= 0] = old[rows[rows >= 0]]
                file.write(block.tobytes())
        described.write_text(json.dumps(pictures), encoding="utf-8")
    except OSError:
        new.unlink(missing_ok=True)
        raise
    progress.unlink(missing_ok=True)
    for target in (new, unfinished), (described, listed):
        os.replace(*target)
    (folder / EMBEDDINGS_FILE).unlink(missing_ok=True)
    array = np.load(unfinished, mmap_mode="r+")
    _record(folder, array, source >= 0)
    return array, source >= 0


def read_list(file: Path) -> dict[str, Any]:
    """What ``pictures.json`` says.

    Raises:
        DamagedFileError: if it is damaged, or was not written by :func:`embed`.
        OSError: if there is no such file.
    """
    advice = "delete its folder, or choose another, and embed again"
    try:
        listed: dict[str, Any] = read_json(file, LISTED)
    except DamagedFileError as error:
        raise DamagedFileError(file, f"{error.reason}; {advice}") from error
    lengths = {key: len(listed[key]) for key in ("paths", "sizes", "times")}
    if len(set(lengths.values())) > 1:
        raise DamagedFileError(file, f"its lists are not of one length: {lengths}; {advice}")
    return listed


def _read(stored: Path, progress: Path, shape: tuple[int, int]) -> tuple[np.memmap, Any] | None:
    """The rows that were written and which are done; ``None``, with a warning, if damaged.

    A file that was copied in part must not be mapped for writing, which fills it up with zeros.
    """
    damaged = stored
    try:
        old = np.load(stored, mmap_mode="r", allow_pickle=False)
        damaged = progress
        done = np.load(progress, allow_pickle=False)
    except (EOFError, ValueError):
        pass
    else:
        damaged = stored if (old.shape, old.dtype) != (shape, np.dtype("<f4")) else progress
        if damaged is progress and (done.shape, done.dtype) == (shape[:1], np.dtype(bool)):
            return old, done
    warnings.warn(f"{damaged} is damaged: all pictures are embedded again", stacklevel=4)
    return None


def _rows(held: dict[str, Any], done: np.ndarray, pictures: dict[str, Any]) -> np.ndarray:
    """For each picture its row in what is held, ``int64``; -1 if it is to be embedded.

    The same file may have another path, since the root changes when a second folder is given; and
    the same path may belong to another file, since the root was moved.
    """
    whole, below = (
        {key: row for row, key in enumerate(keys) if done[row]}
        for keys in (_keys(held, held["root"]), _keys(held))
    )
    wanted = zip(_keys(pictures, pictures["root"]), _keys(pictures), strict=True)
    return np.array([whole.get(own, below.get(path, -1)) for own, path in wanted], np.int64)


def _keys(pictures: dict[str, Any], root: str = "") -> list[tuple[Any, ...]]:
    """What must be the same for a picture not to be embedded again; paths begin with ``root``."""
    paths = (os.path.normpath(os.path.join(root, path)) for path in pictures["paths"])
    return list(zip(paths, pictures["sizes"], pictures["times"], strict=True))


def _record(folder: Path, array: np.memmap, done: np.ndarray) -> float:
    """Write down which rows are embedded, after the rows themselves; returns the time."""
    array.flush()
    with (folder / (_PROGRESS + TEMPORARY)).open("wb") as file:
        np.save(file, done)
    os.replace(folder / (_PROGRESS + TEMPORARY), folder / _PROGRESS)
    if done.all() and (folder / _UNFINISHED).exists():
        os.replace(folder / _UNFINISHED, folder / EMBEDDINGS_FILE)
    return time.monotonic()
