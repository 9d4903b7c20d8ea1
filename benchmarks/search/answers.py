"""What a search finds: the answers to each query, grouped by a level of the tree."""

from __future__ import annotations

import difflib
import math
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from pml_hierarchical import Hierarchy
from pml_hierarchical.search import RetrievalModel

from ..names import meant_by, names_of, printable
from .embed_folder import has_classes_of
from .embed_pictures import NAMED, FoundPictures
from .gallery_index import Index

BLOCK = 1024  # queries embedded at a time


@dataclass(frozen=True)
class Answer:
    """A picture of the gallery.

    Attributes:
        rank: 1 for the most similar.
        similarity: the cosine of the two embeddings, in -1..1.
        picture: the file.
        path: of the file below the gallery's folder.
        classes: its class at every level, the finest first; empty in a gallery without a tree.
    """

    rank: int
    similarity: float
    picture: Path
    path: str
    classes: tuple[str, ...]

    @property
    def distance(self) -> float:
        """The distance between the two embeddings on the unit sphere, in 0..2."""
        return math.sqrt(max(0.0, 2 - 2 * self.similarity))


@dataclass(frozen=True)
class Query:
    """A picture that was searched for.

    Attributes:
        picture: the file.
        classes: of the nearest proxy at every level, the finest first; empty without a tree.
        answers: the most similar first.
    """

    picture: Path
    classes: tuple[str, ...]
    answers: tuple[Answer, ...]

    def groups(self, level: int | None) -> dict[str, list[Answer]]:
        """The answers by their class at a level; that of the best answer is first."""
        groups: dict[str, list[Answer]] = {}
        for answer in self.answers:
            groups.setdefault("" if level is None else answer.classes[level], []).append(answer)
        return groups


@dataclass(frozen=True)
class Answers:
    """All queries.

    Attributes:
        queries: in the order in which they were given.
        level: of the classes that group the answers, or ``None``.
        root: the folder of the gallery's pictures.
    """

    queries: tuple[Query, ...]
    level: int | None
    root: Path


def find_answers(
    index: Index,
    model: RetrievalModel,
    pictures: FoundPictures,
    k: int,
    level: int | None = None,
    only: Sequence[str] = (),
    skip_broken: bool = False,
) -> Answers:
    """Search for pictures.

    Arguments:
        index: the gallery.
        model: that made it.
        pictures: the queries.
        k: how many answers for each.
        level: of the tree, for the groups; by default the first above the classes, if there is one.
        only: names of classes of this level; all others are not searched.
        skip_broken: leave out queries that cannot be read, with a warning.

    Raises:
        ValueError: for a level or a class that the gallery's tree does not have.
        OSError: if a picture cannot be read, or with ``skip_broken`` none can.
    """
    tree = None if index.classes is None else index.hierarchy
    level = _checked_level(tree, level, bool(only))
    among = None if not only else _rows_of(index, level or 0, only)
    names = [] if tree is None else _names(tree)
    root = Path(index.about.get("root", "."))  # an index built in Python may have none
    queries: list[Query] = []

    def classes(label: Any) -> tuple[str, ...]:
        if tree is None or label is None:
            return ()
        path = tree.class_labels[int(label)].tolist()
        return tuple(own[node] for own, node in zip(names, path, strict=True))

    for start in range(0, len(pictures.paths), BLOCK):
        files = [pictures.root / path for path in pictures.paths[start : start + BLOCK]]
        files, embeddings = _embedded(model, files, skip_broken)
        if not files:
            continue
        similarities, rows = index.search(embeddings, k, among)
        guessed: Sequence[Any] = [None] * len(files)
        if tree is not None and has_classes_of(tree, model):
            guessed = model.nearest_classes(embeddings).tolist()
        for number, file in enumerate(files):
            answers = tuple(
                Answer(
                    rank,
                    float(np.clip(similarity, -1, 1)),
                    root / index.paths[row],
                    index.paths[row],
                    classes(None if index.classes is None else index.classes[row]),
                )
                for rank, (similarity, row) in enumerate(
                    zip(similarities[number], rows[number], strict=True), start=1
                )
            )
            queries.append(Query(file, classes(guessed[number]), answers))
    if not queries:
        raise OSError("no picture is left to search for: give one that can be read")
    return Answers(tuple(queries), level, root)


def _embedded(
    model: RetrievalModel, files: list[Path], skip_broken: bool
) -> tuple[list[Path], np.ndarray]:
    """The files that can be read, and their embeddings."""
    try:
        return files, model.embed(files)
    except OSError as error:
        if not skip_broken:
            raise OSError(f"{error}. Or leave such pictures out with --skip-broken") from error
    found: list[tuple[Path, np.ndarray]] = []
    for file in files:
        try:
            found.append((file, model.embed([file])))
        except OSError as error:
            warnings.warn(f"left out: {error}", stacklevel=3)
    parts = [part for _, part in found]
    return [file for file, _ in found], np.concatenate(parts) if parts else np.empty((0, 0))


def _checked_level(tree: Hierarchy | None, level: int | None, is_needed: bool) -> int | None:
    if tree is None:
        if level is not None or is_needed:
            raise ValueError(
                "--level and --only need the classes of a tree, which this gallery does not have"
            )
        return None
    if level is None:
        return min(1, tree.num_levels - 1) if tree.num_levels > 1 or is_needed else None
    if level >= tree.num_levels:
        raise ValueError(f"--level must be in 0..{tree.num_levels - 1}, got {level}")
    return level


def _names(tree: Hierarchy) -> list[list[str]]:
    return [list(map(printable, own)) for own in names_of(tree)]


def _rows_of(index: Index, level: int, only: Sequence[str]) -> np.ndarray:
    """The rows of the gallery that are of one of these classes."""
    assert index.hierarchy is not None
    every = _names(index.hierarchy)
    nodes = index.hierarchy.ancestors(index.classes, level)
    rows = np.flatnonzero(np.isin(nodes, [_named_node(name, every, level) for name in only]))
    if not len(rows):
        raise ValueError(f"the gallery has no picture of {', '.join(only)}")
    return rows


def _named_node(name: str, every: Sequence[list[str]], level: int) -> int:
    """The class of a level that is meant by a name; ``every`` has the names of all levels."""
    names = every[level]
    found = meant_by(name, names)
    if len(found) == 1:
        return found[0]
    if found:
        several = " or ".join(names[node] for node in found)
        raise ValueError(f"--only {name}: several classes of level {level} match: give {several}")
    near = difflib.get_close_matches(name, names, n=NAMED, cutoff=0.0)
    others = [one for one, known in enumerate(every) if meant_by(name, known)]
    hint = f"Level {others[0]} has one: add --level {others[0]}" if others else ""
    raise ValueError(
        f"--only {name}: no class of level {level} has this name. "
        + (hint or f"The nearest of {len(names)} are {', '.join(near)}")
    )
