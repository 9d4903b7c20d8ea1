"""The folder that ``embed`` writes and ``index`` reads."""

from __future__ import annotations

import json
import os
import warnings
from collections import Counter
from collections.abc import Collection, Sequence
from functools import partial
from pathlib import Path
from types import NoneType
from typing import IO, Any

import numpy as np

from pml_hierarchical import Hierarchy
from pml_hierarchical.search import BrokenPicturesError, RetrievalModel
from pml_hierarchical.search.model import WEIGHTS_FILE

from ..files import DamagedFileError, mismatch, read_json, write_together
from ..names import composed, last_part, printable
from ..wording import counted
from .embed_pictures import FoundPictures, named, state_of
from .embeddings_on_disk import EMBEDDINGS_FILE, LIST_FILE, read_list
from .embeddings_on_disk import embed as embed_files

MODEL_FILE = "model.json"
BLOCK = 2**14  # rows
ADDED = {  # to the list that Python's embed writes
    "classes": (list, NoneType),
    "known": [bool],
    "model": str,
    "inputs": [str],
    "left_out": list,
    "left_out_states": list,
}
DESCRIPTION = {"class_names": list, "hierarchy": (dict, NoneType)}


def check_no_model(out: Path) -> None:
    """Refuse the folder of a model, whose description would be replaced.

    Raises:
        FileExistsError: if ``out`` holds a model.
    """
    if (out / WEIGHTS_FILE).exists():
        raise FileExistsError(
            f"--out {printable(out)} holds a model: choose another folder for the embeddings"
        )


def check_apart(out: Path, pictures: FoundPictures) -> None:
    """Refuse a folder of the pictures, where the embeddings would be files that are not pictures.

    Raises:
        ValueError: if ``out`` is one that was given, that holds some of the pictures, or that is
            between these. Not if it holds embeddings: Python may have written them anywhere.
    """
    if (out / LIST_FILE).exists():
        return
    folders = {os.path.dirname(path) for path in pictures.paths}
    direct = {(pictures.root / folder).resolve() for folder in folders}
    given = {place.resolve() for place in pictures.inputs}
    above = {parent for place in direct for parent in place.parents}
    place = out.resolve()
    is_between = place in above and not given.isdisjoint(place.parents)
    if place in direct | given or is_between:
        raise ValueError(
            f"--out {printable(out)} is a folder of the pictures: choose another one, such as "
            "one beside it"
        )


def embed_into(
    out: Path,
    folder: Path,
    model: RetrievalModel,
    pictures: FoundPictures,
    *,
    skip_broken: bool = False,
    batch_size: int = 32,
    workers: int = 2,
) -> str:
    """Embed the pictures that ``out`` does not hold yet; returns what to tell the user.

    Arguments:
        out: folder of the embeddings.
        folder: of the model, which is noted for ``search``.
        model: from this folder.
        pictures: all that the embeddings should hold.
        skip_broken: leave out pictures that cannot be read.
        batch_size: of pictures.
        workers: threads that read pictures.

    Raises:
        ValueError, OSError: see :func:`pml_hierarchical.search.embed` and :func:`check_no_model`.
    """
    check_no_model(out)
    description = (folder / MODEL_FILE).read_bytes()
    paths = list(pictures.paths)
    left_out = {str(file): state_of(file) for file in pictures.left_out}

    def embed_them() -> np.ndarray:
        return embed_files(
            model, paths, out, pictures.root, batch_size, workers, show_progress=True
        )

    try:
        embeddings = embed_them()
    except BrokenPicturesError as error:
        broken = set(error.reasons)
        total = counted(len(paths), "picture")
        listed = named(f"{path} ({why})" for path, why in error.reasons.items())
        wrong = f"{listed}: cannot be read ({len(broken):,} of {total})"
        if not skip_broken:
            raise OSError(
                f"{wrong}. All others are embedded and kept: replace these, or leave them out with "
                "--skip-broken, and start the same command again"
            ) from error
        warnings.warn(f"left out: {wrong}", stacklevel=2)
        left_out |= _states_of(broken, out)
        paths = [path for path in paths if path not in broken]
        embeddings = embed_them()
    classes, known = classes_of(model, paths, pictures.root, embeddings)
    described = json.loads((out / LIST_FILE).read_bytes()) | {
        "classes": None if classes is None else classes.tolist(),
        "known": known.tolist(),
        "model": str(folder.resolve()),
        "inputs": [str(path) for path in pictures.inputs],
        "left_out": list(left_out),
        "left_out_states": list(left_out.values()),
    }
    files = {LIST_FILE: json.dumps(described).encode(), MODEL_FILE: description}
    # together: classes are numbers in the tree of the description
    write_together({out / name: partial(_write, content) for name, content in files.items()})
    n, d = embeddings.shape
    of_classes = "" if classes is None else f", {known.sum():,} of them in folders of known classes"
    size = embeddings.nbytes / 2**20
    return f"{counted(n, 'picture')}, {d} dimensions, {size:.1f} MiB{of_classes}"


def _write(content: bytes, file: IO[bytes]) -> None:
    file.write(content)


def _states_of(paths: Collection[str], folder: Path) -> dict[str, list[int] | None]:
    """The states of some pictures before they were embedded: they may have changed by now."""
    listed = read_list(folder / LIST_FILE)
    noted = zip(listed["paths"], listed["sizes"], listed["times"], strict=True)
    root = Path(listed["root"])
    return {str(root / path): [size, when] for path, size, when in noted if path in paths}


def classes_of(
    model: RetrievalModel, paths: list[str], root: Path, embeddings: np.ndarray
) -> tuple[np.ndarray | None, np.ndarray]:
    """The class of each picture: that of its folder's name, otherwise that of the nearest proxy.

    A class is known by its whole name, such as ``fruit/apple``, or by the last part of it if that
    is the only one. How accents are written, see :func:`~benchmarks.names.composed`, counts only
    if two classes differ by nothing else.

    Returns:
        ``int64 (n,)``, or ``None`` for a model without classes; and whether the folder's name told.
    """
    whole = [composed(name) for name in model.class_names]
    ends = list(map(last_part, whole))
    uses = Counter(ends)
    number = {end: i for i, end in enumerate(ends) if uses[end] == 1}
    number |= {name: i for i, name in enumerate(whole)}
    number |= {name: i for i, name in enumerate(model.class_names)}
    folders = {str(Path(path).parent) for path in paths}
    number_of = {folder: _number(Path(root, folder), number) for folder in folders}
    classes = np.array([number_of[str(Path(path).parent)] for path in paths], np.int64)
    known = classes >= 0
    if not model.class_names:
        return None, known
    for start in range(0, len(paths), BLOCK):
        rows = start + np.flatnonzero(~known[start : start + BLOCK])
        if len(rows):
            classes[rows] = model.nearest_classes(embeddings[rows])
    return classes, known


def tree_of(class_names: Sequence[str], hierarchy: Hierarchy | None) -> Hierarchy | None:
    """The tree of a model's classes: one level if there are no others, ``None`` without classes."""
    if hierarchy is not None or not class_names:
        return hierarchy
    return Hierarchy(np.arange(len(class_names))[:, None], [class_names])


def has_classes_of(tree: Hierarchy | None, model: RetrievalModel) -> bool:
    """Whether the classes of a gallery are those of a model, by their names if there are any."""
    own = tree_of(model.class_names, model.hierarchy)
    if tree is None or own is None or tree.names is not None:
        return tree == own
    return np.array_equal(tree.class_labels, own.class_labels)


def read_embeddings(folder: Path) -> tuple[np.ndarray, dict[str, Any]]:
    """The embeddings, ``float32 (n, d)`` mapped into memory, and what ``pictures.json`` says.

    Raises:
        FileNotFoundError: if ``embed`` did not write the folder.
        ValueError: if it is not finished, or damaged.
    """
    if not (folder / LIST_FILE).is_file():
        raise FileNotFoundError(
            f"{printable(folder)} holds no embeddings: it has no {LIST_FILE}. The command embed "
            "makes such folders"
        )
    pictures = read_list(folder / LIST_FILE)
    if not (folder / EMBEDDINGS_FILE).is_file():
        raise ValueError(
            f"not all of the {len(pictures['paths']):,} pictures of {printable(folder)} are "
            "embedded: start the command embed again to continue"
        )
    if "classes" not in pictures:
        raise ValueError(
            f"the pictures of {printable(folder)} are embedded, but it has no classes for them: "
            f"start the command embed with --out {printable(folder)} to add them; it embeds "
            "nothing again"
        )
    _check_added(folder / LIST_FILE, pictures)
    try:
        embeddings = np.load(folder / EMBEDDINGS_FILE, mmap_mode="r", allow_pickle=False)
    except ValueError as error:
        raise DamagedFileError(folder / EMBEDDINGS_FILE, error) from error
    if embeddings.ndim != 2 or len(embeddings) != len(pictures["paths"]):
        raise DamagedFileError(folder / EMBEDDINGS_FILE, f"its shape is {embeddings.shape}")
    return embeddings, pictures


def read_tree(folder: Path) -> Hierarchy | None:
    """The tree of the classes of embeddings, see :func:`tree_of`.

    Raises:
        DamagedFileError: if the description of their model is damaged.
        OSError: if it is missing.
    """
    model = read_json(folder / MODEL_FILE, DESCRIPTION)
    tree = model["hierarchy"]
    try:
        given = None if tree is None else Hierarchy.from_dict(tree)
        return tree_of(model["class_names"], given)
    except (KeyError, TypeError, ValueError) as error:
        raise DamagedFileError(folder / MODEL_FILE, error) from error


def _check_added(file: Path, pictures: dict[str, Any]) -> None:
    found = mismatch(pictures, ADDED)
    if not found and pictures["classes"] is not None:
        found = mismatch(pictures["classes"], [int], "classes")
    if not found:
        listed = [pictures[key] for key in ("paths", "known", "classes")]
        lengths = {len(one) for one in listed if one is not None}
        found = None if len(lengths) == 1 else f"its lists are not of one length: {lengths}"
    if found:
        raise DamagedFileError(file, f"{found}; start the command embed again to repair it")


def _number(folder: Path, number: dict[str, int]) -> int:
    """The number of the class that the last parts of a path name; -1 for none."""
    parts = [printable(part) for part in folder.parts]
    names = ("/".join(parts[start:]) for start in range(len(parts)))  # the longest first
    forms = (form for name in names for form in (name, composed(name)))
    return next((number[form] for form in forms if form in number), -1)
