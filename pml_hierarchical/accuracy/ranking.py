"""Exact ranks of the related references, a block of queries at a time.

No metric needs the whole ranking: what is not related to a query only pushes back what is. So a
block keeps, per query, the ranks and the levels of its related references and nothing else.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import torch
from pytorch_metric_learning.distances import BaseDistance
from torch import Tensor

from .distances import Embeddings, ReferenceDistances
from .labels import LabelCodes
from .sorting import rank_by_distance, rank_by_order

KnnFunction = Callable[..., tuple[Tensor, Tensor]]


@dataclass(frozen=True)
class RankedBlock:
    """What the metrics need to know about a block of queries.

    Attributes:
        start, stop: which queries these are.
        ranks: ``int32`` of shape ``(queries, width)``: the ranks, from 1 and ascending, of the
            references that share at least one level with the query. Padded with ``depth + 1``.
        levels: ``int8`` of the same shape: how many levels they share. Padded with 0.
        num_partners: ``int64`` of shape ``(queries, num_levels)``: how many references share the
            class of a query at each level, ranked or not.
        depth: how many references were ranked.
        indices: ``int64`` of shape ``(queries, depth)``, the ranked references; only where asked.
    """

    start: int
    stop: int
    ranks: Tensor
    levels: Tensor
    num_partners: Tensor
    depth: int
    indices: Tensor | None = None

    @property
    def num_levels(self) -> int:
        """``L``, the number of levels."""
        return self.num_partners.shape[1]

    def relevance(self, level: int) -> Tensor:
        """``bool`` of the shape of ``ranks``: does the reference share the class at a level?"""
        return self.levels >= self.num_levels - level

    @property
    def level_counts(self) -> Tensor:
        """``int64`` of shape ``(queries, num_levels)``: references sharing exactly 1, ..., L."""
        coarse_first = self.num_partners.flip(1)
        return coarse_first - torch.nn.functional.pad(coarse_first[:, 1:], (0, 1))

    def first(self, depth: int) -> RankedBlock:
        """What a metric needs that looks at ``depth`` neighbours only."""
        # ranks ascend from 1, so that rank k is never further right than column k
        return replace(self, ranks=self.ranks[:, :depth], levels=self.levels[:, :depth])

    def split(self, size: int) -> Iterator[RankedBlock]:
        """Blocks of fewer queries with at most ``size`` related references, or one query."""
        step = max(1, size // max(1, self.ranks.shape[1]))
        for first in range(0, self.stop - self.start, step):
            rows = slice(first, first + step)
            yield replace(
                self,
                start=self.start + first,
                stop=min(self.start + first + step, self.stop),
                ranks=self.ranks[rows],
                levels=self.levels[rows],
                num_partners=self.num_partners[rows],
                indices=None if self.indices is None else self.indices[rows],
            )


@dataclass(frozen=True)
class Neighbours:
    """Where ranked blocks come from: iterate over :meth:`blocks`.

    Arguments:
        queries, references: what is compared.
        codes: their labels.
        depth: how many references to rank for every query, without the query itself.
        ref_includes_query: whether query ``i`` is reference ``i``.
        distance: as in :class:`ReferenceDistances`.
        knn_func: a function of PML's interface that is asked for the neighbours instead.
        block_size: how many queries at a time; by default what fits the memory that is free.
        with_indices: whether blocks hold all the ranked references.
    """

    queries: Embeddings
    references: Embeddings
    codes: LabelCodes
    depth: int
    ref_includes_query: bool
    distance: BaseDistance | None = None
    knn_func: KnnFunction | None = None
    block_size: int | None = None
    with_indices: bool = False

    def blocks(self) -> Iterator[RankedBlock]:
        """All the queries, in order; nothing where there is nothing to rank."""
        if self.depth == 0:
            return
        dtype = torch.promote_types(self.queries.dtype, self.references.dtype)
        measure: Any = None
        if self.knn_func is None:
            measure = ReferenceDistances(self.references, self.distance, dtype)
        references = self._all_references() if self.knn_func is not None else None
        for start, stop in self.queries.slices(self.block_size or self._fitting_block_size()):
            rows = self.queries.rows(start, stop)
            partners = self.codes.num_partners(start, stop)
            width = min(self.depth, int(partners.max()))
            codes = self.codes.queries[:, start:stop]
            if self.knn_func is None:
                own = torch.arange(start, stop, device=rows.device)
                ranks, levels, indices = rank_by_distance(
                    measure(rows),
                    codes,
                    self.codes.references,
                    own if self.ref_includes_query else None,
                    self.depth,
                    width,
                    self.with_indices,
                )
            else:
                indices = self._ask(rows, start, references)
                ranks, levels = rank_by_order(indices, codes, self.codes.references, width)
            yield RankedBlock(start, stop, ranks, levels, partners, self.depth, indices)

    def _all_references(self) -> Tensor:
        return self.references.rows(0, len(self.references))

    def _ask(self, rows: Tensor, start: int, references: Any) -> Tensor:
        """Neighbours by the user's function, the query itself taken out by its index.

        PML's functions take it out themselves only if the queries are the first references, which
        is true of the first block alone.
        """
        assert self.knn_func is not None
        wanted = self.depth + int(self.ref_includes_query)
        _, indices = self.knn_func(rows, wanted, references, False)
        indices = indices.to(rows.device)
        if not self.ref_includes_query:
            return indices
        own = torch.arange(start, start + len(rows), device=rows.device)
        is_own = indices == own[:, None]
        is_own[~is_own.any(dim=1), -1] = True  # not found: the farthest goes instead
        return indices[~is_own].view(len(rows), self.depth)

    def _fitting_block_size(self) -> int:
        """As many queries as fit a quarter of the free memory, and no more than are of use."""
        on_cpu = self.references.device.type == "cpu"
        width = min(self.depth, max(map(self.codes.max_partners, range(self.codes.num_levels))))
        per_reference = 4 if on_cpu else 40  # torch sorts whole blocks of 64-bit keys
        if self.knn_func is not None or self.queries.dtype == torch.float64:
            per_reference = 40
        per_query = per_reference * len(self.references) + 16 * width
        budget = free_memory(self.references.device) // 4
        if on_cpu:
            budget = min(budget, 2**27)
        return int(max(1, min(budget // per_query, 4096)))


def free_memory(device: torch.device) -> int:
    """Bytes that are free on a device; 1 GiB where the system does not say."""
    if device.type == "cuda":
        return int(torch.cuda.mem_get_info(device)[0])
    try:
        return os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, ValueError, OSError):  # not Linux
        return 2**30
