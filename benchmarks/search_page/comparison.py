"""Two galleries compared over many queries, since a single query shows little."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from .api import describe
from .gallery import SearchedPictures

QUERIES = 1000
ANSWERS = 12
BLOCK = 100  # queries between which other requests are answered
EXAMPLES = 12


@dataclass(frozen=True)
class Comparison:
    """Answers to the same queries from every gallery.

    Attributes:
        rows: the queries, ``int64 (n,)``, ascending.
        correct: ``bool (galleries, n, k, levels)``: whether an answer is of the query's class at
            a level.
    """

    rows: np.ndarray
    correct: np.ndarray

    def means(self, k: int) -> np.ndarray:
        """The share of correct answers among the first ``k``, ``(galleries, levels)``."""
        return self.correct[:, :, :k].mean(axis=(1, 2))

    def differing(self, better: int) -> list[int]:
        """Places in ``rows`` where gallery ``better`` (0 or 1) leads by most, greatest lead first.

        The lead is the number of correct answers, summed over the levels.
        """
        counts = self.correct.sum(axis=(2, 3))
        lead = counts[better] - counts[1 - better]
        order = np.argsort(-lead, kind="stable")[:EXAMPLES]
        return order[lead[order] > 0].tolist()


def compare(pictures: SearchedPictures) -> Comparison:
    """Search with pictures drawn at random (always the same) among those whose class is known."""
    known = np.flatnonzero(pictures.classes.known)
    drawn = np.random.default_rng(0).permutation(known)[:QUERIES]
    rows = np.sort(drawn)
    blocks = [rows[start : start + BLOCK] for start in range(0, len(rows), BLOCK)]
    k = min(ANSWERS, len(pictures) - 1)
    nothing = np.full_like(pictures.classes.labels[:1], -1)  # the last row: classes not known
    labels = np.append(pictures.classes.labels, nothing, axis=0)
    classes = np.where(pictures.classes.known, pictures.classes.classes, -1)
    correct = []
    for gallery in pictures.galleries:
        found = [gallery.like_rows(block, k)[1] for block in blocks]
        answers = labels[classes[np.concatenate(found)]]
        own = labels[classes[rows]]
        correct.append(answers == own[:, None, :])
    return Comparison(rows, np.stack(correct))


def as_json(pictures: SearchedPictures, comparison: Comparison) -> dict[str, Any]:
    """Shares per gallery and level, and the queries whose answers differ most.

    ``known`` counts the pictures among which the queries were drawn.
    """
    k = comparison.correct.shape[2]
    first, all_ = comparison.means(1), comparison.means(k)
    return {
        "queries": len(comparison.rows),
        "known": int(pictures.classes.known.sum()),
        "k": k,
        "galleries": [
            {"title": gallery.title, "nearest": first[i].tolist(), "first_k": all_[i].tolist()}
            for i, gallery in enumerate(pictures.galleries)
        ],
        "differing": [
            [_example(pictures, comparison, place) for place in comparison.differing(better)]
            for better in (0, 1)
        ],
    }


def _example(pictures: SearchedPictures, comparison: Comparison, place: int) -> dict[str, Any]:
    counts = comparison.correct[:, place].sum(axis=1)
    return describe(pictures, int(comparison.rows[place])) | {"correct": counts.tolist()}
