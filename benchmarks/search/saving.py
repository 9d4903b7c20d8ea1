"""A model folder as a command writes it."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from pml_hierarchical.search import RetrievalModel
from pml_hierarchical.search.model import DESCRIPTION_FILE, TEMPORARY, WEIGHTS_FILE

from ..wording import counted
from .exchange import write_onnx, write_torchscript


def check_new(out: Path) -> None:
    """Refuse a folder that holds something else, before any work is done.

    Raises:
        FileExistsError: if there is a model in ``out``.
        NotADirectoryError: if ``out`` is a file.
        PermissionError: if nothing can be written there.
    """
    if out.exists() and not out.is_dir():
        raise NotADirectoryError(f"--out {out} is a file: name a folder for the model")
    if (out / DESCRIPTION_FILE).exists():
        raise FileExistsError(f"{out} holds a model already: delete it, or choose another --out")
    there = next(place for place in (out, *out.absolute().parents) if place.exists())
    if not os.access(there, os.W_OK):
        raise PermissionError(f"--out {out}: you may not write to {there}; choose another folder")


def save_model(model: RetrievalModel, out: Path, formats: Sequence[str] = ()) -> None:
    """Write a model in all formats that are asked for, and say what it is.

    Raises:
        FileExistsError, NotADirectoryError: see :func:`check_new`.
        OSError: if the folder cannot be written.
        ValueError: if a format is not possible.
    """
    check_new(out)
    is_new = not out.exists()
    out.mkdir(parents=True, exist_ok=True)
    for name, write in (("onnx", write_onnx), ("torchscript", write_torchscript)):
        if name in formats:
            write(model, out)
    try:
        model.save(out)  # last: once it exists, nothing is missing, and a second call is refused
    except OSError as error:
        for name in (WEIGHTS_FILE, DESCRIPTION_FILE):
            (out / name).unlink(missing_ok=True)
            (out / (name + TEMPORARY)).unlink(missing_ok=True)
        if is_new and not any(out.iterdir()):
            out.rmdir()
        raise OSError(error.errno, f"{error.strerror} while writing", str(out)) from error
    console = Console()
    sizes = () if model.hierarchy is None else model.hierarchy.sizes[1:]
    levels = f" in {' and '.join(map(str, sizes))} superclasses" if sizes else ""
    console.print(
        f"wrote {out}: embeddings of {model.embedding_size}, "
        f"{counted(len(model.class_names), 'class', 'classes')}{levels}; "
        f"fingerprint {model.fingerprint[:12]}",
        markup=False,
        highlight=False,
        soft_wrap=True,
    )
