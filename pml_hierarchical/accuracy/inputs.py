"""What an evaluation is given, checked."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from ..hierarchy import Hierarchy
from .distances import Embeddings
from .labels import LabelCodes, as_label_array


@dataclass(frozen=True)
class EvaluationData:
    """Embeddings and labels that fit each other.

    Attributes:
        queries, references: the embeddings.
        query_labels, reference_labels: ``int64``, ``(num_samples, num_levels)``.
        ref_includes_query: whether query ``i`` is reference ``i``.
        has_levels: whether results carry the level behind their names.
    """

    queries: Embeddings
    references: Embeddings
    query_labels: np.ndarray
    reference_labels: np.ndarray
    ref_includes_query: bool
    has_levels: bool

    @property
    def num_levels(self) -> int:
        """How many levels the labels have."""
        return int(self.query_labels.shape[1])

    @property
    def num_neighbours(self) -> int:
        """How many references there are for a query, apart from itself."""
        return len(self.references) - int(self.ref_includes_query)

    def key(self, name: str, level: int) -> str:
        """The name of a metric in the result, as PML's testers record it."""
        return f"{name}_level{level}" if self.has_levels else name

    def codes(self, columns: Sequence[int]) -> LabelCodes:
        """The labels of some levels, coded."""
        chosen = list(columns)
        return LabelCodes(
            self.query_labels[:, chosen],
            self.reference_labels[:, chosen],
            self.ref_includes_query,
            self.queries.device,
        )

    def checked_levels(self, levels: Sequence[int] | None) -> list[int]:
        """The levels to evaluate; all of them by default."""
        if levels is None:
            return list(range(self.num_levels))
        wrong = [level for level in levels if not 0 <= level < self.num_levels]
        if wrong or len(levels) == 0:
            raise ValueError(
                f"levels must be some of 0..{self.num_levels - 1} (0 is the finest), "
                f"got {list(levels)}"
            )
        return list(dict.fromkeys(levels))


def prepare(
    query: Any,
    query_labels: Any,
    reference: Any,
    reference_labels: Any,
    ref_includes_query: bool,
    hierarchy: Hierarchy | None,
    device: torch.device,
) -> EvaluationData:
    """Check the arguments of ``get_accuracy``, which says what is raised."""
    if (reference is None) != (reference_labels is None):
        raise ValueError("give reference and reference_labels together, or neither")
    if reference is None:
        reference, reference_labels, ref_includes_query = query, query_labels, True
    same = reference is query
    queries = Embeddings(query, "query", device)
    references = queries if same else Embeddings(reference, "reference", device)
    if len(queries) == 0:
        raise ValueError("query is empty: there is nothing to evaluate")
    if len(references) == 0:
        raise ValueError("reference is empty: there is nothing to search")
    if queries.size != references.size:
        raise ValueError(
            f"query and reference need the same embedding size, got {queries.size} "
            f"and {references.size}"
        )
    labels, has_levels = _labels(query_labels, "query_labels", len(queries), hierarchy)
    others, _ = _labels(reference_labels, "reference_labels", len(references), hierarchy)
    if labels.shape[1] != others.shape[1]:
        raise ValueError(
            f"query_labels have {labels.shape[1]} levels and reference_labels {others.shape[1]}"
        )
    if ref_includes_query and not same:
        _check_included(queries, references, labels, others)
    return EvaluationData(queries, references, labels, others, ref_includes_query, has_levels)


def _labels(
    labels: Any, name: str, length: int, hierarchy: Hierarchy | None
) -> tuple[np.ndarray, bool]:
    """Labels of shape ``(length, num_levels)``, and whether they have levels."""
    array = as_label_array(labels, name)
    if len(array) != length:
        raise ValueError(
            f"embeddings and labels must have the same length, got {length} embeddings and "
            f"{len(array)} {name}"
        )
    if hierarchy is None:
        return array.reshape(length, -1), array.ndim == 2
    fine = array.reshape(length, -1)
    if fine.shape[1] != 1:
        raise ValueError(
            f"{name} have {fine.shape[1]} levels of their own, but the calculator was given a "
            "hierarchy: give it the fine labels alone, or no hierarchy"
        )
    levels = [hierarchy.ancestors(fine[:, 0], level) for level in range(hierarchy.num_levels)]
    return np.stack(levels, axis=1), True


def _check_included(
    queries: Embeddings, references: Embeddings, labels: np.ndarray, others: np.ndarray
) -> None:
    """The first references must be the queries, or leaving them out would drop other items."""
    fits = len(queries) <= len(references) and np.array_equal(labels, others[: len(queries)])
    if fits and queries.values is not references.values:
        fits = all(
            torch.allclose(
                queries.rows(start, stop).double(), references.rows(start, stop).double()
            )
            for start, stop in queries.slices()
        )
    if not fits:
        raise ValueError(
            "with ref_includes_query, the first references must be the queries, in order, and the "
            "first reference_labels theirs"
        )
