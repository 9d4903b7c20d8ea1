"""Galleries that are searched: one, or two over the same pictures, to compare."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING

import numpy as np

from pml_hierarchical import Hierarchy

from ..names import names_of
from .classes import UNKNOWN, ClassNames
from .files import PictureFiles

if TYPE_CHECKING:
    from PIL import Image

    from pml_hierarchical.search import Index, RetrievalModel

# torch and faiss each start as many threads as there are cores: one search at a time.
_one_at_a_time = Lock()


@dataclass
class Gallery:
    """An index, and the model that made it if pictures are to be uploaded.

    Attributes:
        title: what the page calls it, e.g. the loss.
        rows: for each row of the index its row in the gallery that is shown, ``int64``.
        model_folder: where the model is, if that is not where the pictures were embedded.
    """

    index: Index
    model: RetrievalModel | None
    title: str
    rows: np.ndarray
    model_folder: Path | None = None

    def __post_init__(self) -> None:
        self._own_row = np.argsort(self.rows)  # for each row that is shown that of the index

    def like_picture(self, picture: Image.Image, k: int) -> tuple[np.ndarray, np.ndarray]:
        """The ``k`` nearest: similarities, ``float32 (1, k)``, and rows, ``int64 (1, k)``."""
        assert self.model is not None
        with _one_at_a_time:
            similarities, own_rows = self.index.search(self.model.embed([picture]), k)
        return similarities, self.rows[own_rows]

    def like_rows(self, rows: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
        """The ``k`` nearest other pictures of some of the pictures that are shown.

        Arguments:
            rows: ``int64 (n,)``.
            k: how many, fewer than there are pictures.

        Returns:
            similarities, ``float32 (n, k)``, and rows, ``int64 (n, k)``.
        """
        with _one_at_a_time:
            queries = self.index.embeddings(self._own_row[rows])
            similarities, own_rows = self.index.search(queries, k + 1)
        found = self.rows[own_rows]
        kept = found != rows[:, None]
        kept[kept.all(axis=1), -1] = False  # the query is not among them: leave out the last
        shape = len(rows), k
        return similarities[kept].reshape(shape), found[kept].reshape(shape)


@dataclass
class SearchedPictures:
    """The pictures that are shown and the galleries that are searched.

    Attributes:
        galleries: the first is the one whose pictures and tree are shown.
    """

    galleries: list[Gallery]
    files: PictureFiles
    classes: ClassNames

    def __len__(self) -> int:
        return len(self.files.paths)

    @property
    def takes_uploads(self) -> bool:
        """Whether every gallery has its model."""
        return not self.why_no_uploads

    @property
    def why_no_uploads(self) -> str:
        """What to do before pictures can be uploaded; empty if they can be."""
        options = zip(("--model", "--compare-model"), self.galleries, strict=False)
        missing = [option for option, gallery in options if gallery.model is None]
        if not missing:
            return ""
        return f"To search for your own pictures, start the page with {' and '.join(missing)}."


def classes_of(index: Index, model: RetrievalModel | None = None) -> ClassNames:
    """The tree of a gallery's classes; they are flat if it has none.

    Arguments:
        index: the gallery. If it does not say which classes are known, all are but those that the
            model seems to have guessed.
        model: that made it, if there is one.

    Raises:
        ValueError: if it says so for another number of pictures.
    """
    noted = index.about.get("known")  # an index built in Python may have none
    if noted is not None and not (isinstance(noted, list) and len(noted) == len(index)):
        raise ValueError(
            f"known must be a list of {len(index):,} booleans, one per picture of the gallery: "
            "build it again with such a list, or without known"
        )
    known = ~_guessed(index, model) if noted is None else np.array(noted, dtype=bool)
    if index.classes is None:
        nothing = np.full(len(index), UNKNOWN)
        return ClassNames(np.zeros((1, 1), np.int64), [[""]], nothing, known)
    tree = index.hierarchy or Hierarchy.flat(int(index.classes.max()) + 1)
    return ClassNames(
        np.asarray(tree.class_labels), list(map(list, names_of(tree))), index.classes, known
    )


def _guessed(index: Index, model: RetrievalModel | None) -> np.ndarray:
    """For which pictures the class is that of the nearest proxy and not their folder's name."""
    from ..search.embed_folder import BLOCK
    from ..search.embed_folder import classes_of as found_in

    guessed = np.zeros(len(index), dtype=bool)
    if model is None or index.classes is None or index.classes.max() >= len(model.class_names):
        return guessed
    root = Path(index.about.get("root", "."))
    for start in range(0, len(index), BLOCK):
        rows = np.arange(start, min(start + BLOCK, len(index)))
        paths = index.paths[start : start + BLOCK]
        found, is_told = found_in(model, paths, root, index.embeddings(rows))
        guessed[rows] = ~is_told & (found == index.classes[rows])
    return guessed


def same_pictures(shown: Index, other: Index, folder: Path) -> np.ndarray:
    """For each row of ``other`` the row of ``shown`` that holds the same picture, ``int64``.

    Raises:
        ValueError: if one of them has a picture that the other lacks, or one twice.
    """
    row_of = {path: row for row, path in enumerate(shown.paths)}
    rows = np.array([row_of.get(path, -1) for path in other.paths], dtype=np.int64)
    only_other, only_shown = int((rows < 0).sum()), len(set(shown.paths) - set(other.paths))
    if only_other or only_shown or not len(row_of) == len(shown) == len(other):
        example = other.paths[int(np.argmin(rows))] if only_other else None
        raise ValueError(
            f"the gallery to compare with, {folder}, must hold the same pictures: {only_shown} of "
            f"the first gallery are not in it and {only_other} are only in it"
            + (f", e.g. {example!r}" if example else "")
            + ". Embed the same folder with both models"
        )
    return rows
