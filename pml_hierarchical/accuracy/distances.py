"""Distances from a block of queries to all references, wherever the references are stored."""

from __future__ import annotations

import torch
from pytorch_metric_learning import distances as pml
from torch import Tensor

from .inputs import CHUNK_BYTES, Embeddings

_NUM_PROBES = 64  # queries whose nearest reference is found in float64 before all others are
_CACHED = 2**19  # distances that fit the second-level cache
_SAFE = 2.0**60  # values between this and its inverse have squares in float32
# Distances and products in float32 are off by a rounding of the squared norms. Where the nearest
# reference is closer than this share of them, fewer than 10 bits of its distance are left.
_SAFE_SHARE = 2**10 * torch.finfo(torch.float32).eps


class ReferenceDistances:
    """How far every reference is from a block of queries; smaller is nearer.

    Euclidean distances and dot products are matrix products; any other of PML's distances is
    called on slices of the references. ``float32`` embeddings are compared in ``float64`` if
    ``float32`` would lose the neighbours: values far above or below 1, or differences that are
    tiny compared with the values, as with an offset that all embeddings share.

    ``queries`` are all that will be asked for. ``distance`` is one of PML's, or ``None`` for the
    Euclidean distance between the embeddings as they are, which is PML's default index. ``dtype``
    is that of the distances. ``ValueError`` for values whose distances are beyond ``float64``.
    """

    def __init__(
        self, queries: Embeddings, references: Embeddings, distance: pml.BaseDistance | None
    ) -> None:
        self.references = references
        distance = pml.LpDistance(normalize_embeddings=False) if distance is None else distance
        self.distance, kind = distance, type(distance)
        self._is_euclidean = kind is pml.LpDistance and distance.p == 2 and distance.power > 0
        is_dot = kind in (pml.DotProductSimilarity, pml.CosineSimilarity) and distance.power == 1
        self._is_product = self._is_euclidean or is_dot
        for x in (queries, references):
            if x.largest > 2.0**500 and not distance.normalize_embeddings:
                wrong = f"{x.name} holds values up to {x.largest:.3g}, whose distances are beyond"
                raise ValueError(f"{wrong} float64: scale the embeddings down")
        self.dtype = torch.float64 if self._needs_double(queries) else torch.float32
        self._norms, self._centre = None, None
        if self._is_euclidean:
            if self.dtype == torch.float64:  # a shared offset costs digits; use the median
                self._centre = self._normalised(references.rows(0, 1024, self.dtype)).median(0)[0]
            parts = (references.rows(*bounds, self.dtype) for bounds in references.slices())
            self._norms = torch.cat([self._normalised(x).square().sum(dim=1) for x in parts])
        self._buffer: Tensor | None = None

    def __call__(self, queries: Tensor) -> Tensor:
        """Distances of shape ``(len(queries), len(references))``, valid until the next call."""
        if self._buffer is None or len(self._buffer) < len(queries):
            shape = (len(queries), len(self.references))
            self._buffer = queries.new_empty(shape, dtype=self.dtype)
        result = self._buffer[: len(queries)]
        queries = queries.to(self.dtype)
        with torch.no_grad():
            queries = self._normalised(queries)
            norms = queries.square().sum(dim=1)[:, None]
            for start, stop in self.references.slices(self._slice_size(len(queries))):
                rows = self.references.rows(start, stop, self.dtype)
                out = result[:, start:stop]
                self._fill(out, queries, norms, self._normalised(rows), start, stop)
        return result

    def _normalised(self, rows: Tensor) -> Tensor:
        """As the distance normalises, but any length (PML divides by 1e-12 or more); centred."""
        if self.distance.normalize_embeddings and self.dtype == torch.float64:
            largest = rows.abs().amax(dim=1, keepdim=True)
            rows = rows / torch.where(largest > 0, largest, 1.0)
        rows = self.distance.maybe_normalize(rows)
        return rows if self._centre is None else rows - self._centre

    def _needs_double(self, queries: Embeddings) -> bool:
        if torch.float64 in (queries.dtype, self.references.dtype):
            return True
        for some in (queries, self.references):
            # normalised row by row, however short a row is
            small = some.smallest if self.distance.normalize_embeddings else some.largest
            if some.largest > _SAFE or 0 < small < 1 / _SAFE:
                return True
        return self._is_product and self._nearest_share(queries) < _SAFE_SHARE

    def _nearest_share(self, queries: Embeddings) -> float:
        """The squared distance of the nearest reference that is not equal to the query, as a share
        of their squared norms: a value that one in twenty of some queries is below."""
        step = max(1, len(queries) // _NUM_PROBES)
        picked = range(0, len(queries), step)[:_NUM_PROBES]
        probes = torch.cat([queries.rows(i, i + 1, torch.float64) for i in picked])
        probes = self.distance.maybe_normalize(probes)
        nearest = torch.full_like(probes[:, 0], torch.inf)
        for start, stop in self.references.slices():
            rows = self.references.rows(start, stop, torch.float64)
            rows = self.distance.maybe_normalize(rows)
            norms = probes.square().sum(dim=1)[:, None] + rows.square().sum(dim=1)
            share = 1 - 2 * (probes @ rows.T) / norms
            share[~(share > 1e-14)] = torch.inf  # equal to the query, or both are zero
            nearest = nearest.minimum(share.amin(dim=1))
        return float(nearest.kthvalue(1 + len(nearest) // 20).values)

    def _fill(
        self, out: Tensor, queries: Tensor, norms: Tensor, rows: Tensor, start: int, stop: int
    ) -> None:
        if not self._is_product:
            matrix = self.distance(queries, rows)
            if not torch.isfinite(matrix).all():
                raise ValueError(f"{type(self.distance).__name__} gives NaN or infinite distances")
            out.copy_(-matrix if self.distance.is_inverted else matrix)
            return
        if self._norms is None:
            torch.mm(queries, rows.T, out=out).neg_()
            return
        # the order of faiss: |x|^2 + |y|^2 first, so that roundings are the same
        tile = norms + self._norms[start:stop]
        torch.addmm(tile, queries, rows.T, alpha=-2, out=tile)
        torch.clamp(tile, min=0, out=out)  # its rows are far apart, which slows a product down

    def _slice_size(self, num_queries: int) -> int | None:
        if not self._is_product:  # some of PML's distances hold queries x references x dimensions
            per_row = 8 * max(1, num_queries) * self.references.size
            return max(1, CHUNK_BYTES // per_row)
        if self.references.device.type == "cpu":  # what is computed in three passes stays cached
            return max(256, _CACHED // max(1, num_queries))
        values, kind = self.references.values, (self.dtype, self.references.device)
        is_ready = isinstance(values, Tensor) and (values.dtype, values.device) == kind
        is_copied = self.distance.normalize_embeddings or self._centre is not None
        return len(self.references) if is_ready and not is_copied else None
