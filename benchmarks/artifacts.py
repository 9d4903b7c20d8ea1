"""What a run leaves for the report besides its numbers: embeddings, retrievals and its tree.

The report is written from these files alone, so that it can be made again, and from the folders of
several data sets, without the data sets themselves.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from pytorch_metric_learning.utils.inference import FaissKNN

from pml_hierarchical.losses import HierarchicalProxyLoss

from .datasets.base import RetrievalData
from .files import DamagedFileError, read_arrays, write_arrays
from .tree_page.samples import chosen_samples, encoded, packed

TEST_FILE = "test.npz"
RETRIEVALS_FILE = "retrievals.npz"
TREE_FILE = "tree.npz"
NUM_QUERIES = 8
NUM_NEIGHBOURS = 5
PICTURE_SIZE = 64  # pixels
NUM_SUPERCLASSES, CLASSES_PER_SUPERCLASS = 12, 8


def keep_retrievals(data: RetrievalData, test: dict[str, np.ndarray], folder: Path) -> None:
    """Keep a few queries, the same in every run on the same test classes, and what they find.

    The file has ``queries`` (8), ``neighbours`` (8, 5): indices of images; ``query_labels``
    (8, levels), ``neighbour_labels`` (8, 5, levels), and ``pictures`` (8, 6, 64, 64, 3), the query
    first, ``uint8``.

    Arguments:
        data: the data set.
        test: ``test_embeddings`` and ``test_indices``; those of the ``gallery`` if there is one.
        folder: of the run.
    """
    indices = test["test_indices"]
    rows = np.random.default_rng(0).choice(
        len(indices), min(NUM_QUERIES, len(indices)), replace=False
    )
    embeddings = torch.from_numpy(test["test_embeddings"])
    with_itself = "gallery_embeddings" not in test
    references = embeddings if with_itself else torch.from_numpy(test["gallery_embeddings"])
    wanted = min(NUM_NEIGHBOURS + with_itself, len(references))
    _, found = FaissKNN()(embeddings[rows], wanted, references, False)
    found = found.cpu().numpy()
    if with_itself:
        pairs = zip(found, rows, strict=True)
        found = np.stack([line[line != row][: wanted - 1] for line, row in pairs])
    neighbours = test.get("gallery_indices", indices)[found]
    queries = indices[rows]
    pictures = [
        [picture(data, i) for i in (query, *line)]
        for query, line in zip(queries, neighbours, strict=True)
    ]
    arrays = {
        "queries": queries,
        "neighbours": neighbours,
        "query_labels": data.labels[queries],
        "neighbour_labels": data.labels[neighbours],
        "pictures": np.stack(pictures),
    }
    write_arrays(folder / RETRIEVALS_FILE, arrays)


def keep_tree(
    data: RetrievalData,
    train: np.ndarray,
    loss: torch.nn.Module,
    folder: Path,
    updates: Sequence[torch.Tensor] = (),
) -> None:
    """Keep the tree of a hierarchical loss that was trained, with pictures of some of its classes.

    The file has ``classes`` (C,), the data set's fine classes that were trained on, in the order
    of the loss; ``class_labels`` (C, levels), the data set's own labels of these classes;
    ``superclasses`` (levels above the finest, C), the superclass of each class at each of the
    loss's levels; ``shown`` and ``pictures`` (n, 64, 64, 3) ``uint8``: the classes, as rows
    of ``classes``, of which there is a picture: up to 8 of each of the 12 largest superclasses of
    the level above the finest.

    For the page of the tree it has ``history`` (updates, levels above the finest, C), the
    superclasses after each update up to the state of the loss; ``is_given`` (levels above the
    finest,); ``counts`` (C,), how many images of each class were trained; and small pictures of
    all superclasses: ``sample_classes`` (m,), rows of ``classes``, and ``samples`` and
    ``sample_ends``, the bytes of WebP files. Losses without a tree leave no file.

    Arguments:
        data: the data set.
        train: indices of the images that were trained on.
        loss: with the state that is kept.
        folder: of the run.
        updates: after each update of the loss its superclasses, ``(levels above the finest, C)``.
    """
    if not isinstance(loss, HierarchicalProxyLoss) or loss.hierarchy is None:
        return
    classes = np.unique(data.labels[train, 0])
    superclasses = loss.hierarchy.class_labels.T[1:]
    if not len(superclasses):
        return
    sizes = np.bincount(superclasses[0])
    largest = np.argsort(-sizes, kind="stable")[:NUM_SUPERCLASSES]
    shown = np.concatenate(
        [np.flatnonzero(superclasses[0] == s)[:CLASSES_PER_SUPERCLASS] for s in largest]
    )
    first = {c: i for i, c in reversed(list(zip(train, data.labels[train, 0], strict=True)))}
    labels = np.searchsorted(classes, data.labels[train, 0])
    rows, sample_classes = chosen_samples(labels, superclasses[0])
    known = [update.numpy() for update in updates[: loss.num_updates]]
    arrays = {
        "classes": classes,
        "class_labels": data.labels[[first[c] for c in classes]],
        "superclasses": superclasses,
        "shown": shown,
        "pictures": np.stack([picture(data, first[classes[row]]) for row in shown]),
        "history": np.stack(known) if known else np.zeros((0, *superclasses.shape), np.int16),
        "is_given": np.array(loss.is_given[1:]),
        "counts": np.bincount(labels),
        "sample_classes": sample_classes,
        **packed([encoded(data.picture(int(i))) for i in train[rows]]),
    }
    write_arrays(folder / TREE_FILE, arrays)


def read_test(path: Path, class_names: Sequence[Sequence[str]]) -> dict[str, np.ndarray]:
    """The embeddings, labels and indices of the test images of a run.

    Arguments:
        path: of the file.
        class_names: for each level of the data set.

    Raises:
        DamagedFileError: if they do not fit one another or the data set.
        OSError: if there is no such file.
    """
    kinds = {"test_labels": ("iu", 2), "test_indices": ("iu", 1)}
    found = read_arrays(path, {"test_embeddings": ("f", 2), **kinds})
    embeddings, labels = found["test_embeddings"], found["test_labels"]
    if not len(embeddings) == len(labels) == len(found["test_indices"]):
        raise DamagedFileError(path, "its arrays do not fit one another")
    if not np.isfinite(embeddings).all():
        raise DamagedFileError(path, "its embeddings are not finite")
    _check_labels(path, labels, class_names)
    return found


def read_retrievals(path: Path, class_names: Sequence[Sequence[str]]) -> dict[str, np.ndarray]:
    """What :func:`keep_retrievals` wrote; arguments and errors as in :func:`read_test`."""
    kinds = {"query_labels": ("iu", 2), "neighbour_labels": ("iu", 3), "pictures": ("u", 5)}
    found = read_arrays(path, {"neighbours": ("iu", 2), **kinds})
    queries, count = found["neighbours"].shape
    levels = found["query_labels"].shape[-1]
    if (
        found["query_labels"].shape != (queries, levels)
        or found["neighbour_labels"].shape != (queries, count, levels)
        or found["pictures"].shape[:2] != (queries, count + 1)
        or not queries * count * found["pictures"].size
    ):
        raise DamagedFileError(path, "its arrays do not fit one another")
    _check_pictures(path, found["pictures"])
    _check_labels(path, found["query_labels"], class_names)
    return found


def read_tree(path: Path, class_names: Sequence[Sequence[str]]) -> dict[str, np.ndarray]:
    """What :func:`keep_tree` wrote; arguments and errors as in :func:`read_test`."""
    kinds = {"superclasses": ("iu", 2), "shown": ("iu", 1), "pictures": ("u", 4)}
    found = read_arrays(path, {"class_labels": ("iu", 2), **kinds})
    labels, superclasses, shown = found["class_labels"], found["superclasses"], found["shown"]
    if (
        superclasses.shape[1] != len(labels)
        or len(found["pictures"]) != len(shown)
        or not superclasses.size * shown.size
        or shown.min() < 0
        or shown.max() >= len(labels)
    ):
        raise DamagedFileError(path, "its arrays do not fit one another")
    _check_pictures(path, found["pictures"])
    _check_labels(path, labels, class_names)
    return found


def _check_labels(path: Path, labels: np.ndarray, class_names: Sequence[Sequence[str]]) -> None:
    sizes = [len(names) for names in class_names]
    if labels.shape[1] != len(sizes) or (labels < 0).any() or (labels >= sizes).any():
        raise DamagedFileError(path, "its labels are not classes of the data set")


def _check_pictures(path: Path, pictures: np.ndarray) -> None:
    if pictures.dtype != np.uint8 or pictures.shape[-1] != 3:
        raise DamagedFileError(path, "its pictures are not in RGB")


def picture(data: RetrievalData, index: int) -> np.ndarray:
    """A small picture of an image on white: ``uint8`` of shape ``(64, 64, 3)``."""
    image = data.picture(int(index)).convert("RGB")
    image.thumbnail((PICTURE_SIZE, PICTURE_SIZE))
    square = Image.new("RGB", (PICTURE_SIZE, PICTURE_SIZE), "white")
    square.paste(image, ((PICTURE_SIZE - image.width) // 2, (PICTURE_SIZE - image.height) // 2))
    return np.asarray(square)
