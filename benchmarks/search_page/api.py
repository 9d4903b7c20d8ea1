"""What the page asks for: the pictures of the gallery, and the neighbours of one, as JSON."""

from __future__ import annotations

from typing import Any

import numpy as np
from PIL import Image

from ..names import printable
from .classes import UNKNOWN
from .gallery import Gallery, SearchedPictures
from .reading import FORMATS_IN_WORDS, LARGEST_UPLOAD


def information(pictures: SearchedPictures) -> dict[str, Any]:
    """What does not change while the page is served."""
    return {
        "galleries": [
            {"title": gallery.title, "kind": gallery.index.kind} for gallery in pictures.galleries
        ],
        "pictures": len(pictures),
        "levels": pictures.classes.num_levels,
        "has_classes": pictures.classes.has_names,
        "takes_uploads": pictures.takes_uploads,
        "why_no_uploads": pictures.why_no_uploads,
        "largest_upload": LARGEST_UPLOAD,
        "formats": FORMATS_IN_WORDS,
    }


def listing(pictures: SearchedPictures, name: str, start: int, count: int) -> dict[str, Any]:
    """A page of the pictures whose class or superclass contains a name."""
    rows = pictures.classes.rows(name)
    return {
        "total": len(rows),
        "start": start,
        "pictures": [describe(pictures, int(row)) for row in rows[start : start + count]],
    }


def describe(pictures: SearchedPictures, row: int) -> dict[str, Any]:
    """A picture of the gallery and what it shows."""
    name, *superclasses = pictures.classes.shown(int(pictures.classes.classes[row]))
    return {
        "row": row,
        "path": printable(pictures.files.paths[row]),
        "class": name,
        "superclasses": superclasses,
        "known": bool(pictures.classes.known[row]),
    }


def neighbours_of_row(pictures: SearchedPictures, row: int, k: int) -> dict[str, Any]:
    """The nearest other pictures of a picture of the gallery, from every gallery."""
    class_ = pictures.classes.true_class(row)
    k = min(k, len(pictures) - 1)
    found = [gallery.like_rows(np.array([row]), k) for gallery in pictures.galleries]
    return {"query": describe(pictures, row), **_answers(pictures, found, class_)}


def neighbours_of_picture(
    pictures: SearchedPictures, picture: Image.Image, k: int, class_name: str
) -> dict[str, Any]:
    """The nearest pictures of an uploaded one, from every gallery.

    Arguments:
        pictures: to search.
        picture: in RGB.
        k: how many.
        class_name: what the picture shows, so that answers can be called right or wrong; empty
            if it is not known.

    Raises:
        ValueError: if no class has this name.
    """
    class_ = pictures.classes.find(class_name) if class_name else UNKNOWN
    found = [gallery.like_picture(picture, k) for gallery in pictures.galleries]
    name, *superclasses = pictures.classes.shown(class_)
    query = {
        "row": None,
        "path": None,
        "class": name,
        "superclasses": superclasses,
        "known": class_ != UNKNOWN,
    }
    return {"query": query, **_answers(pictures, found, class_)}


def _answers(
    pictures: SearchedPictures, found: list[tuple[np.ndarray, np.ndarray]], class_: int
) -> dict[str, Any]:
    pairs = zip(pictures.galleries, found, strict=True)
    return {"galleries": [_answers_of(pictures, gallery, own, class_) for gallery, own in pairs]}


def _answers_of(
    pictures: SearchedPictures,
    gallery: Gallery,
    found: tuple[np.ndarray, np.ndarray],
    class_: int,
) -> dict[str, Any]:
    classes = pictures.classes
    answers = []
    similarities, rows = (own[0].tolist() for own in found)
    for row, similarity in zip(rows, similarities, strict=True):
        level = classes.shared_level(class_, classes.true_class(row))
        answer = {"similarity": round(similarity, 4), "shared_level": level}
        answers.append(describe(pictures, row) | answer)
    shared = [own["shared_level"] for own in answers if own["shared_level"] is not None]
    correct = [sum(own <= level for own in shared) for level in range(classes.num_levels)]
    return {
        "title": gallery.title,
        "answers": answers,
        "correct": None if class_ == UNKNOWN else correct,
    }
