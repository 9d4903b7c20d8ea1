"""The inputs of an evaluation, checked: labels of any integer type, and embeddings of any kind."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..hierarchy import Hierarchy

CHUNK_BYTES = 2**25  # of embeddings read at a time where they have to be converted


class Embeddings:
    """Rows of a tensor, an array or a memory map, converted a slice at a time.

    ``values`` are floating point of shape ``(num_samples, embedding_size)``: a tensor or whatever
    numpy makes an array of; a memory map stays on disk. ``name`` is what errors call them, and
    ``device`` is where slices go. ``dtype`` is ``torch.float64`` if the values are, else
    ``torch.float32``; ``largest`` is the largest absolute value, and ``smallest`` the smallest of
    the rows' largest absolute values, zero rows left out. A ``TypeError`` for values that are not
    real numbers, and a ``ValueError`` for another shape, no column, or values that are not finite.
    """

    def __init__(self, values: Any, name: str, device: torch.device) -> None:
        if isinstance(values, Tensor):
            values, is_real = values.detach(), not values.is_complex()
        else:
            values = np.asanyarray(values)
            is_real = values.dtype.kind in "fiu"
        if not is_real:
            raise TypeError(f"{name} must be real numbers, got dtype {values.dtype}")
        if values.ndim != 2 or values.shape[1] == 0:
            rule = "shape (num_samples, embedding_size)"
            raise ValueError(f"{name} must have {rule}, got {tuple(values.shape)}")
        if isinstance(values, np.ndarray) and values.flags.carray and values.dtype.isnative:
            values = torch.from_numpy(values)
        self.values, self.name, self.device = values, name, device
        self.size = int(values.shape[1])
        is_double = values.dtype in (torch.float64, np.dtype(np.float64))
        self.dtype = torch.float64 if is_double else torch.float32
        self.largest, self.smallest = 0.0, float("inf")
        for start, stop in self.slices():
            of_row = self.rows(start, stop).abs().amax(dim=1)
            if not torch.isfinite(of_row).all():
                row = start + int((~torch.isfinite(of_row)).int().argmax())
                raise ValueError(f"{name} must be finite, but row {row} holds NaN or infinity")
            self.largest = max(self.largest, float(of_row.max()))
            if (of_row > 0).any():
                self.smallest = min(self.smallest, float(of_row[of_row > 0].min()))

    def __len__(self) -> int:
        return len(self.values)

    def rows(self, start: int, stop: int, dtype: torch.dtype | None = None) -> Tensor:
        """Rows ``start..stop-1`` on the device; a view where nothing has to be converted."""
        values = self.values[start:stop]
        if not isinstance(values, Tensor):
            is_double = self.dtype == torch.float64
            values = torch.from_numpy(np.array(values, np.float64 if is_double else np.float32))
        return values.to(self.device, dtype or self.dtype)

    def slices(self, size: int | None = None) -> list[tuple[int, int]]:
        """Bounds of slices that cover all rows, of a fixed number of bytes if no size is given."""
        size = size or max(1, CHUNK_BYTES // (8 * self.size))
        return [(start, min(start + size, len(self))) for start in range(0, len(self), size)]


def check_embeddings(
    queries: Embeddings, references: Embeddings, labels: Tensor, others: Tensor, includes: bool
) -> None:
    """Raise ``ValueError`` unless embeddings and labels fit each other."""
    for embeddings, of_them in ((queries, labels), (references, others)):
        if len(embeddings) == 0:
            raise ValueError(f"{embeddings.name} is empty: there is nothing to evaluate or search")
        if len(embeddings) != len(of_them):
            got = f"{len(embeddings)} embeddings and {len(of_them)} {embeddings.name}_labels"
            raise ValueError(f"embeddings and labels must have the same length, got {got}")
    sizes = f"{queries.size} and {references.size}"
    if queries.size != references.size:
        raise ValueError(f"query and reference need the same embedding size, got {sizes}")
    pairs = ((queries.rows(*at).double(), references.rows(*at).double()) for at in queries.slices())
    if includes and not (
        torch.equal(labels, others[: len(labels)])
        and (queries is references or all(torch.allclose(mine, same) for mine, same in pairs))
    ):
        raise ValueError(
            "with ref_includes_query, the first references must be the queries, in order, and the "
            "first reference_labels must be theirs"
        )


def with_ancestors(labels: Any, name: str, hierarchy: Hierarchy | None) -> np.ndarray:
    """Labels as ``int64``, 1-D or 2-D as given, or with the levels of a hierarchy above them.

    ``TypeError`` if they are not whole numbers; ``ValueError`` for another shape, integers beyond
    ``int64``, and labels that have levels of their own besides the hierarchy."""
    array = labels.detach().cpu().numpy() if isinstance(labels, Tensor) else np.asarray(labels)
    if array.ndim not in (1, 2) or (array.ndim == 2 and array.shape[1] == 0):
        rule = "shape (num_samples,) or (num_samples, num_levels)"
        raise ValueError(f"{name} must have {rule}, got {array.shape}")
    if array.dtype == np.uint64 and array.size and int(array.max()) > np.iinfo(np.int64).max:
        raise ValueError(f"{name} holds {array.max()}, which does not fit int64")
    if np.issubdtype(array.dtype, np.floating) and (array == np.trunc(array)).all():
        if array.size and np.abs(array).max() >= 2 ** (np.finfo(array.dtype).nmant + 1):
            raise TypeError(
                f"{name} are {array.dtype} and so large that neighbouring ids are the same "
                "number: keep labels as integers"
            )
    elif not np.issubdtype(array.dtype, np.integer):
        raise TypeError(f"{name} must be integers, got dtype {array.dtype}")
    array = array.astype(np.int64)
    if hierarchy is None:
        return array
    fine = np.c_[array]
    if fine.shape[1] != 1:
        wrong = f"{name} have {fine.shape[1]} levels of their own, and there is a hierarchy"
        raise ValueError(f"{wrong}: give it the fine labels alone, or no hierarchy")
    return np.asarray(hierarchy.class_labels[hierarchy.ancestors(fine[:, 0], 0)])


def first_conflict(labels: np.ndarray, levels: Sequence[int]) -> str | None:
    """A class that lies in two classes of the next of ``levels``, in words; ``None`` if none does.
    ``labels`` has a column for every level."""
    for level, above in pairwise(levels):
        pairs = labels[:, [level, above]]
        fine, coarse = pairs[np.lexsort(pairs.T[::-1])].T
        for row in np.flatnonzero((fine[1:] == fine[:-1]) & (coarse[1:] != coarse[:-1]))[:1]:
            wrong = f"class {fine[row]} of level {level} lies in two classes of level {above}"
            return f"{wrong}: {coarse[row]} and {coarse[row + 1]}"
    return None
