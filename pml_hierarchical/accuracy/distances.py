"""Distances from a block of queries to all references, whatever the references lie in."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from pytorch_metric_learning.distances import (
    BaseDistance,
    CosineSimilarity,
    DotProductSimilarity,
    LpDistance,
)
from torch import Tensor

_CHUNK_BYTES = 2**25  # of references read at a time where they have to be converted


class Embeddings:
    """Rows of a tensor, an array or a memory map, converted a slice at a time.

    Arguments:
        values: floating point of shape ``(num_samples, embedding_size)``; a tensor or whatever
            numpy makes an array of. A memory map stays on disk.
        name: what errors call it.
        device: where slices go.

    Raises:
        TypeError: if the values are not real numbers.
        ValueError: for another shape, no column, or a value that is NaN or infinite.
    """

    def __init__(self, values: Any, name: str, device: torch.device) -> None:
        if not isinstance(values, Tensor):
            values = np.asanyarray(values)
            if values.dtype.kind not in "fiu":
                raise TypeError(f"{name} must be real numbers, got dtype {values.dtype}")
            if values.flags.writeable and values.flags.c_contiguous and values.dtype.isnative:
                values = torch.from_numpy(values)
        else:
            values = values.detach()
        if values.ndim != 2 or values.shape[1] == 0:
            raise ValueError(
                f"{name} must have shape (num_samples, embedding_size), got {tuple(values.shape)}"
            )
        if isinstance(values, Tensor) and values.is_complex():
            raise TypeError(f"{name} must be real numbers, got dtype {values.dtype}")
        self.values, self.name, self.device = values, name, device
        is_double = values.dtype in (torch.float64, np.dtype(np.float64))
        self.dtype = torch.float64 if is_double else torch.float32
        self.check_finite()

    def __len__(self) -> int:
        return len(self.values)

    @property
    def size(self) -> int:
        """The embedding size."""
        return int(self.values.shape[1])

    def rows(self, start: int, stop: int, dtype: torch.dtype | None = None) -> Tensor:
        """Rows ``start..stop-1`` on the device; a view where nothing has to be converted."""
        values = self.values[start:stop]
        if not isinstance(values, Tensor):
            values = torch.from_numpy(np.array(values, dtype=_numpy_dtype(self.dtype)))
        return values.to(self.device, dtype or self.dtype)

    def slices(self, size: int | None = None) -> list[tuple[int, int]]:
        """Bounds of slices that cover all rows, of a fixed number of bytes unless told."""
        size = size or max(1, _CHUNK_BYTES // (8 * self.size))
        return [(start, min(start + size, len(self))) for start in range(0, len(self), size)]

    def check_finite(self) -> None:
        """Raise ``ValueError`` naming the first row that holds NaN or infinity."""
        for start, stop in self.slices():
            finite = torch.isfinite(self.rows(start, stop)).all(dim=1)
            if not finite.all():
                row = start + int((~finite).int().argmax())
                raise ValueError(f"{self.name} must be finite, but row {row} holds NaN or infinity")


class ReferenceDistances:
    """How far every reference is from a block of queries; smaller is nearer.

    Euclidean distances and dot products are matrix products; any other of PML's distances is
    called on slices of the references.

    Arguments:
        references: what is searched.
        distance: one of ``pytorch_metric_learning.distances``, or ``None`` for the Euclidean
            distance between the embeddings as they are, which is PML's default index.
        dtype: ``torch.float32`` or ``torch.float64``.
    """

    def __init__(
        self, references: Embeddings, distance: BaseDistance | None, dtype: torch.dtype
    ) -> None:
        self.references, self.dtype = references, dtype
        self.distance = LpDistance(normalize_embeddings=False) if distance is None else distance
        kind = type(self.distance)
        self._is_euclidean = kind is LpDistance and self.distance.p == 2 and self.distance.power > 0
        is_dot = kind in (DotProductSimilarity, CosineSimilarity) and self.distance.power == 1
        self._is_product = self._is_euclidean or is_dot
        self._norms = self._squared_norms() if self._is_euclidean else None
        self._buffer: Tensor | None = None

    def __call__(self, queries: Tensor) -> Tensor:
        """Distances of shape ``(len(queries), len(references))``, valid until the next call."""
        if self._buffer is None or len(self._buffer) < len(queries):
            shape = (len(queries), len(self.references))
            self._buffer = queries.new_empty(shape, dtype=self.dtype)
        result = self._buffer[: len(queries)]
        queries = queries.to(self.dtype)
        with torch.no_grad():
            if self._is_product:
                queries = self.distance.maybe_normalize(queries)
            for start, stop in self.references.slices(self._slice_size(len(queries))):
                rows = self.references.rows(start, stop, self.dtype)
                self._fill(result[:, start:stop], queries, rows, start, stop)
        return result

    def _fill(self, out: Tensor, queries: Tensor, rows: Tensor, start: int, stop: int) -> None:
        if not self._is_product:
            matrix = self.distance(queries, rows)
            out.copy_(-matrix if self.distance.is_inverted else matrix)
            return
        rows = self.distance.maybe_normalize(rows)
        if self._norms is None:
            torch.mm(queries, rows.T, out=out).neg_()
            return
        # the order of faiss: |x|^2 + |y|^2 first, so that roundings are the same
        torch.add(queries.square().sum(dim=1)[:, None], self._norms[start:stop], out=out)
        torch.addmm(out, queries, rows.T, alpha=-2, out=out).clamp_(min=0)

    def _slice_size(self, num_queries: int) -> int | None:
        if not self._is_product:  # some of PML's distances hold queries x references x dimensions
            per_row = 8 * max(1, num_queries) * self.references.size
            return max(1, _CHUNK_BYTES // per_row)
        values = self.references.values
        is_as_needed = isinstance(values, Tensor) and values.dtype == self.dtype
        if is_as_needed and values.device == self.references.device:
            return None if self.distance.normalize_embeddings else len(self.references)
        return None

    def _squared_norms(self) -> Tensor:
        parts = []
        for start, stop in self.references.slices():
            rows = self.references.rows(start, stop, self.dtype)
            parts.append(self.distance.maybe_normalize(rows).square().sum(dim=1))
        norms = torch.cat(parts)
        if not torch.isfinite(norms).all():
            row = int((~torch.isfinite(norms)).int().argmax())
            raise ValueError(
                f"row {row} of {self.references.name} is too long for {self.dtype} distances: "
                "normalise the embeddings or scale them down"
            )
        return norms


def _numpy_dtype(dtype: torch.dtype) -> type:
    return np.float64 if dtype == torch.float64 else np.float32
