"""From the command's input to a tree, or to proxies that are still to be clustered."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from pml_hierarchical import Hierarchy

from ..artifacts import TREE_FILE
from ..datasets.folder import search
from ..files import DamagedFileError, read_arrays, read_json
from ..names import composed
from ..tensor_files import read_tensors
from .files import SUFFIXES, read_tree_file
from .found import FoundTree
from .run_folder import BEST, read_run
from .samples import SAMPLES_PER_CLASS
from .state import checked_proxies, read_checkpoint_file

MODEL_FILE, WEIGHTS_FILE = "model.json", "model.safetensors"
CHECKPOINTS = (".pt", ".pth", ".bin", ".ckpt", ".safetensors")
KINDS = (
    "a checkpoint of the loss (.pt, .pth, .ckpt, .safetensors), a run's folder with tree.npz, a "
    "model's folder with model.json, proxies (.npy, .npz) or a tree (.json, .csv, .nwk, .dot)"
)


def read_source(path: Path) -> FoundTree:
    """The tree or the proxies in a file or folder.

    Raises:
        OSError: if it cannot be read.
        ValueError: if it is of an unknown kind, or holds neither a tree nor proxies.
    """
    if not path.exists():
        raise FileNotFoundError(f"there is no {path}: expected {KINDS}")
    if path.is_dir():
        if (path / MODEL_FILE).exists():
            return _read_model(path)
        if (path / TREE_FILE).exists() or (path / BEST).exists():
            return read_run(path)
        raise ValueError(f"the folder {path} has neither tree.npz nor model.json: expected {KINDS}")
    suffix = path.suffix.lower()
    if suffix in CHECKPOINTS:
        return read_checkpoint_file(path)
    if suffix == ".npy":
        return FoundTree(vectors=checked_proxies(read_array(path), path))
    if suffix == ".npz":
        if path.name == TREE_FILE:
            return read_run(path.parent)
        arrays = [one for one in read_arrays(path, {}).values() if one.ndim == 2]
        if len(arrays) != 1:
            raise ValueError(
                f"{path} holds {len(arrays)} arrays of two dimensions: expected one, the proxies"
            )
        return FoundTree(vectors=checked_proxies(arrays[0], path))
    if suffix in SUFFIXES and SUFFIXES[suffix] not in ("html", "text"):
        return FoundTree(read_tree_file(path))
    raise ValueError(f"{path} has the suffix {suffix!r}: expected {KINDS}")


def read_array(path: Path) -> np.ndarray:
    """The array in a ``.npy`` file; no code in it runs.

    Raises:
        OSError: if the file cannot be read.
        ValueError: if it is not such a file.
    """
    try:
        array = np.load(path, allow_pickle=False)
    except (ValueError, EOFError) as error:
        # numpy takes any other file for a pickle, and tells how to run its code
        reason = "" if "pickle" in str(error) else f" ({error})"
        raise ValueError(f"{path} is not an array of NumPy{reason}: give a .npy file") from error
    if not isinstance(array, np.ndarray):
        raise ValueError(f"{path} holds several arrays: expected the .npy file of one")
    return array


def _read_model(folder: Path) -> FoundTree:
    """The folder of an exported model."""
    about = read_json(folder / MODEL_FILE, {"class_names": list})
    names, weights = about["class_names"], folder / WEIGHTS_FILE
    vectors = None
    if weights.exists():
        try:
            held = read_tensors(weights)
        except ValueError as error:
            raise DamagedFileError(weights, error) from error
        if "proxies" in held:
            vectors = checked_proxies(held["proxies"], weights)
    if about.get("hierarchy") is None and vectors is None:
        raise ValueError(f"the model in {folder} has neither a tree nor proxies")
    if about.get("hierarchy") is None:
        return FoundTree(vectors=vectors, names=names)
    try:
        tree = Hierarchy.from_dict(about["hierarchy"])
    except (ValueError, TypeError, LookupError) as error:
        raise DamagedFileError(folder / MODEL_FILE, error) from error
    has_names = tree.names is not None and tree.names[0] is not None
    return FoundTree(tree, vectors, names=None if has_names else names)


def pictures_of_classes(
    folder: Path, names: Sequence[str]
) -> tuple[dict[int, list[Path]], list[int]]:
    """The pictures of each class in a folder that has a folder for each of them.

    Arguments:
        folder: with ``.../class/image``; a class is found by its whole path below ``folder``
            or by the name of its own folder; the form of accents matters only if both forms occur.
        names: of the classes.

    Returns:
        A few pictures of each class that has some, and how many each has.

    Raises:
        OSError: if a folder cannot be read.
        ValueError: if no class has any.
    """
    if not folder.is_dir():
        raise NotADirectoryError(f"--pictures takes a folder with a folder per class, not {folder}")
    by_name: dict[str, list[Path]] = defaultdict(list)
    by_form: dict[str, list[Path]] = defaultdict(list)
    for image in search(folder).images:
        own = image.parent.relative_to(folder)
        for name in {own.as_posix(), own.name}:
            by_name[name].append(image)
            by_form[composed(name)].append(image)
    images = [by_name.get(name) or by_form.get(composed(name), []) for name in names]
    if not any(images):
        raise ValueError(
            f"{folder} has no folder of pictures that is named like a class, such as {names[0]!r}"
        )
    some = {label: own[:SAMPLES_PER_CLASS] for label, own in enumerate(images) if own}
    return some, [len(own) for own in images]
