"""The labels of queries and references, coded per level so that comparing them is cheap."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor


class LabelCodes:
    """Labels of queries and references, each level numbered ``0..C-1`` over both.

    Any integers may be labels: codes are found by sorting, never by a cast to floating point.

    Arguments:
        query_labels: ``int64`` of shape ``(num_queries, num_levels)``, column 0 the finest level.
        reference_labels: ``int64`` of shape ``(num_references, num_levels)``.
        ref_includes_query: whether query ``i`` is reference ``i``, and thus no partner of itself.
        device: where the codes are kept.

    Attributes:
        classes: for every level its labels, ascending; ``classes[level][code]`` is the label.
        queries: codes, ``int32`` of shape ``(num_levels, num_queries)``.
        references: codes, ``int32`` of shape ``(num_levels, num_references)``.
    """

    def __init__(
        self,
        query_labels: np.ndarray,
        reference_labels: np.ndarray,
        ref_includes_query: bool,
        device: torch.device,
    ) -> None:
        self.num_levels = query_labels.shape[1]
        self.classes: list[np.ndarray] = []
        queries, references, partners = [], [], []
        for level in range(self.num_levels):
            columns = (query_labels[:, level], reference_labels[:, level])
            classes, codes = np.unique(np.concatenate(columns), return_inverse=True)
            codes = codes.reshape(-1).astype(np.int32)
            query, reference = codes[: len(query_labels)], codes[len(query_labels) :]
            counts = np.bincount(reference, minlength=len(classes)) - int(ref_includes_query)
            self.classes.append(classes)
            queries.append(query)
            references.append(reference)
            partners.append(counts[query])
        self.queries = torch.from_numpy(np.stack(queries)).to(device)
        self.references = torch.from_numpy(np.stack(references)).to(device)
        self._partners = torch.from_numpy(np.stack(partners, axis=1)).to(device)

    def num_partners(self, start: int = 0, stop: int | None = None) -> Tensor:
        """How many references share the class of a query: ``int64``, ``(queries, num_levels)``."""
        return self._partners[start:stop]

    def max_partners(self, level: int) -> int:
        """The largest number of partners that a query has at a level: PML's largest bin."""
        return int(self._partners[:, level].max())

    def first_conflict(self) -> str | None:
        """What keeps the levels from being nested, in words; ``None`` if they are."""
        codes = torch.cat([self.queries, self.references], dim=1).cpu().numpy().astype(np.int64)
        for level in range(self.num_levels - 1):
            size = len(self.classes[level + 1])
            fine, coarse = np.divmod(np.unique(codes[level] * size + codes[level + 1]), size)
            repeated = np.flatnonzero(fine[1:] == fine[:-1])
            if len(repeated):
                child = self.classes[level][fine[repeated[0]]]
                parents = self.classes[level + 1][coarse[repeated[0] : repeated[0] + 2]]
                return (
                    f"class {child} of level {level} lies in two classes of level {level + 1}: "
                    f"{parents[0]} and {parents[1]}"
                )
        return None


def as_label_array(labels: Any, name: str) -> np.ndarray:
    """Integer labels as ``int64``, 1-D or 2-D as given.

    Raises:
        TypeError: if the labels are not integers.
        ValueError: if they are neither 1-D nor 2-D, or have no column.
    """
    array = labels.detach().cpu().numpy() if isinstance(labels, Tensor) else np.asarray(labels)
    if array.ndim not in (1, 2) or (array.ndim == 2 and array.shape[1] == 0):
        raise ValueError(
            f"{name} must have shape (num_samples,) or (num_samples, num_levels), got {array.shape}"
        )
    if array.dtype == np.uint64 and array.size and array.max() > np.iinfo(np.int64).max:
        raise ValueError(f"{name} holds {array.max()}, which does not fit int64")
    if np.issubdtype(array.dtype, np.floating) and (array == np.trunc(array)).all():
        if array.size and np.abs(array).max() >= 2 ** (np.finfo(array.dtype).nmant + 1):
            raise TypeError(
                f"{name} are {array.dtype} and so large that neighbouring ids are the same "
                "number: keep labels as integers"
            )
        return array.astype(np.int64)
    if not np.issubdtype(array.dtype, np.integer):
        raise TypeError(f"{name} must be integers, got dtype {array.dtype}")
    return array.astype(np.int64)
