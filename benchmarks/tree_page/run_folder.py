"""The tree of a run of the suite, with the names, pictures and updates that it left."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from pml_hierarchical import Hierarchy

from ..artifacts import TREE_FILE, read_tree
from ..files import DamagedFileError, read_json
from ..run_config import CONFIG_FILE
from ..stored import DATASET, DATASET_FILE, StoredRuns
from .found import FoundTree
from .page import write_found_tree
from .samples import unpacked

BEST = "best.pt"
_PAGE_ARRAYS = {
    "history": ("iu", 3),
    "is_given": ("b", 1),
    "counts": ("iu", 1),
    "sample_classes": ("iu", 1),
    "samples": ("u", 1),
    "sample_ends": ("iu", 1),
}


def write_run_page(
    path: Path, folder: Path, class_names: Sequence[Sequence[str]], title: str = ""
) -> Path:
    """Write the page of a run's tree.

    Arguments:
        path: of the HTML file.
        folder: of the run, which has a ``tree.npz``.
        class_names: of every level of the data set, finest first.
        title: of the page; by default the name of the loss.

    Raises:
        DamagedFileError: if the ``tree.npz`` is damaged.
        OSError: if there is none, or the page cannot be written.
    """
    found = tree_of_run(folder, class_names)
    return write_found_tree(path, found, title or f"Tree of {found.title}")


def write_tree_pages(
    stored: StoredRuns, out: Path, full_name: Callable[[str], str] = str
) -> dict[str, Path]:
    """Write a page for each loss that has a tree, that of its first run: ``tree_LOSS.html``.

    A damaged tree is left out with a warning that names it.

    Arguments:
        stored: the runs of a data set.
        out: the folder of the pages.
        full_name: the name of a loss for people.

    Returns:
        The pages by the names of the losses.

    Raises:
        OSError: if a page cannot be written.
    """
    pages: dict[str, Path] = {}
    for result in stored.results:
        loss, folder = result["config"]["loss"], result["folder"]
        if loss in pages or not (folder / TREE_FILE).exists():
            continue
        path = out / page_name(loss)
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            title = f"Tree of {full_name(loss)}"
            pages[loss] = write_run_page(path, folder, stored.class_names, title)
        except DamagedFileError as error:
            warnings.warn(f"{error}: there is no page of its tree", stacklevel=2)
    return pages


def page_name(loss: str) -> str:
    """The file of the page of a loss."""
    return f"tree_{loss.replace(':', '-')}.html"


def read_run(folder: Path) -> FoundTree:
    """The tree of a run's folder, such as ``runs/grocery/hpl-proxy_anchor/seed0_fold0``.

    Raises:
        OSError: if a file is missing.
        ValueError: if the run's loss has no tree, or a file is damaged.
    """
    if not (folder / TREE_FILE).exists():
        if (folder / BEST).exists():
            raise ValueError(
                f"{folder} has no {TREE_FILE}: its run is not finished, or its loss has no "
                f"superclasses. For the tree so far give {folder / BEST}"
            )
        raise ValueError(f"{folder} has no {TREE_FILE}: the loss of this run has no superclasses")
    whole = Path(os.path.abspath(folder))  # "." has no parents
    about = read_json(whole.parents[1] / DATASET_FILE, DATASET)
    return tree_of_run(folder, about["class_names"])


def tree_of_run(folder: Path, class_names: Sequence[Sequence[str]]) -> FoundTree:
    """What :func:`read_run` returns, with the names of the classes of every level."""
    path = folder / TREE_FILE
    arrays = read_tree(path, class_names)
    _check(path, arrays)
    superclasses, own = arrays["superclasses"], arrays["class_labels"]
    num_classes = len(own)
    try:
        flat = Hierarchy(np.vstack([np.arange(num_classes), superclasses]).T)
    except ValueError as error:
        raise DamagedFileError(path, error) from error
    names: list[tuple[str, ...] | None] = [tuple(class_names[0][label] for label in own[:, 0])]
    names += [_names_of_level(level, own, class_names) for level in superclasses]
    title, note = _origin(folder)
    return FoundTree(
        Hierarchy(flat.class_labels, names),
        pictures=unpacked(arrays),
        counts=arrays["counts"].tolist(),
        history=arrays["history"] if len(arrays["history"]) else None,
        given=tuple((1 + np.flatnonzero(arrays["is_given"])).tolist()),
        title=title,
        note=note,
    )


def _names_of_level(
    level: np.ndarray, own: np.ndarray, class_names: Sequence[Sequence[str]]
) -> tuple[str, ...] | None:
    """The data set's names for superclasses, if they are those of one of its levels."""
    for column, names in zip(own.T[1:], class_names[1:], strict=True):
        pairs = np.unique(np.stack([level, column]), axis=1).T
        found = tuple(names[label] for _, label in pairs)
        if len(pairs) == level.max() + 1 == len(set(column)) == len(set(found)):
            return found
    return None


def _check(path: Path, arrays: dict[str, np.ndarray]) -> None:
    for name, (kind, ndim) in _PAGE_ARRAYS.items():
        if name not in arrays or arrays[name].dtype.kind not in kind or arrays[name].ndim != ndim:
            raise DamagedFileError(path, f"{name!r} is missing or of another shape or type")
    levels, num_classes = arrays["superclasses"].shape
    labels, ends = arrays["sample_classes"], arrays["sample_ends"]
    if (
        arrays["history"].shape[1:] != (levels, num_classes)
        or arrays["is_given"].shape != (levels,)
        or arrays["counts"].shape != (num_classes,)
        or labels.shape != ends.shape
        or (labels.size and not 0 <= labels.min() <= labels.max() < num_classes)
        or (ends.size and ends[-1] != len(arrays["samples"]))
    ):
        raise DamagedFileError(path, "its arrays do not fit one another")


def _origin(folder: Path) -> tuple[str, str]:
    """The loss of the run; its data set, seed and fold."""
    path = folder / CONFIG_FILE
    if not path.exists():
        return "", ""
    config = read_json(path, {"dataset": str, "loss": str, "seed": int, "fold": int})
    where = f"{config['dataset']}, seed {config['seed']}, fold {config['fold']}"
    return config["loss"], where
