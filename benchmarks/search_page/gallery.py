"""Galleries that are searched: one, or two over the same pictures to be compared."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Any

import numpy as np

from .classes import ClassNames, names_of
from .files import PictureFiles

if TYPE_CHECKING:
    from PIL import Image

    from pml_hierarchical.search import Index, RetrievalModel

UNKNOWN = -1

# torch and faiss each start as many threads as there are cores: one search at a time.
_one_at_a_time = Lock()


@dataclass
class Gallery:
    """An index, and the model that made it if pictures are to be uploaded.

    Attributes:
        title: what the page calls it, e.g. the loss.
        rows: for each row of the index its row in the gallery that is shown, ``int64``.
    """

    index: Index
    model: RetrievalModel | None
    title: str
    rows: np.ndarray

    def like_picture(self, picture: Image.Image, k: int) -> tuple[np.ndarray, np.ndarray]:
        """The ``k`` nearest: similarities, ``float32 (k,)``, and rows, ``int64 (k,)``."""
        assert self.model is not None
        with _one_at_a_time:
            return self._search(self.model.embed([picture]), k)

    def like_row(self, row: int, k: int) -> tuple[np.ndarray, np.ndarray]:
        """The ``k`` nearest other pictures of a picture of the gallery that is shown."""
        with _one_at_a_time:
            own = int(np.flatnonzero(self.rows == row)[0])
            similarities, rows = self._search(self.index.embeddings([own]), k + 1)
        others = rows != row
        return similarities[others][:k], rows[others][:k]

    def _search(self, queries: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
        similarities, rows = self.index.search(queries, k)
        return similarities[0], self.rows[rows[0]]


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
        return all(gallery.model is not None for gallery in self.galleries)


def classes_of(index: Index) -> ClassNames:
    """The tree of a gallery's classes; one class without a name if it has none."""
    if index.hierarchy is None or index.classes is None:
        return ClassNames(np.zeros((1, 1), np.int64), [[""]], np.full(len(index), UNKNOWN))
    labels = np.asarray(index.hierarchy.class_labels)
    return ClassNames(labels, names_of(index.hierarchy), index.classes)


def same_pictures(shown: Index, other: Index, folder: Path) -> np.ndarray:
    """For each row of ``other`` the row of ``shown`` that holds the same picture, ``int64``.

    Raises:
        ValueError: if one of them has a picture that the other lacks; names the folder.
    """
    row_of = {path: row for row, path in enumerate(shown.paths)}
    rows = np.array([row_of.get(path, -1) for path in other.paths], dtype=np.int64)
    only_other, only_shown = int((rows < 0).sum()), len(set(shown.paths) - set(other.paths))
    if only_other or only_shown:
        example = other.paths[int(np.argmin(rows))] if only_other else None
        raise ValueError(
            f"the gallery to compare with, {folder}, must hold the same pictures: {only_shown} of "
            f"the first gallery are not in it and {only_other} are only in it"
            + (f", e.g. {example!r}" if example else "")
            + ". Embed the same folder with both models"
        )
    return rows
