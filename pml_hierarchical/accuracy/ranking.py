"""Exact ranks of the related references, a block of queries at a time.

No metric needs the whole ranking, so a block keeps, per query, the ranks and the levels of its
related references and nothing else. On a CPU, ``float32`` distances are ranked by a radix sort of
their bits, all else by a stable argsort. Both are exact, with ties in the order of the indices.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from pytorch_metric_learning.distances import BaseDistance
from pytorch_metric_learning.utils.inference import return_results
from torch import Tensor

from ..core.hierarchical_accuracy_calculator import count_same
from .distances import ReferenceDistances
from .inputs import Embeddings

KnnFunction = Callable[..., tuple[Any, Any]]
#: labels of queries and references, ``int32`` of shape ``(num_levels, num_samples)``
Codes = tuple[Tensor, Tensor]
_AT_A_TIME = 16  # queries that a thread ranks at a time
_MAGNITUDE = np.iinfo(np.int32).max  # the bits of a float without its sign


class LabelCodes:
    """The labels of queries and references, ``int64`` of shape ``(num_samples, num_levels)``, coded
    so that comparing them is cheap: ``queries`` and ``references`` are ``int32`` of shape
    ``(num_levels, num_samples)``. ``num_partners``, ``(num_queries, num_levels)``, says how many
    references share the class of a query, apart from itself.
    """

    def __init__(
        self, query_labels: Tensor, reference_labels: Tensor, ref_includes_query: bool
    ) -> None:
        self.query_labels, self.reference_labels = query_labels, reference_labels
        both = torch.cat([query_labels, reference_labels])
        codes = torch.stack([column.unique(return_inverse=True)[1] for column in both.T]).int()
        self.queries = codes[:, : len(query_labels)].contiguous()
        self.references = codes[:, len(query_labels) :].contiguous()
        self.num_partners = count_same(query_labels, reference_labels) - int(ref_includes_query)


@dataclass(frozen=True)
class RankedBlock:
    """What the metrics need to know about a block of queries, ``start`` to ``stop - 1``.

    Attributes:
        ranks: ``int32`` of shape ``(queries, width)``: the ranks, from 1 and ascending, of the
            references that share at least one level with the query. Padded with ``depth + 1``.
        levels: ``int8`` of the same shape: how many levels they share. Padded with 0.
        num_partners: ``int64`` of shape ``(queries, num_levels)``: how many references share the
            class of a query at each level, ranked or not.
        depth: how many references were ranked.
        indices: ``int64`` of shape ``(queries, depth)``, the ranked references; only if asked for.
    """

    codes: LabelCodes
    start: int
    stop: int
    ranks: Tensor
    levels: Tensor
    num_partners: Tensor
    depth: int
    indices: Tensor | None = None

    def arguments(self, level: int) -> dict[str, Any]:
        """What a metric is called with: for a column of the labels, or -1 for the hierarchy."""
        given: dict[str, Any] = {"levels": self.levels, "ranks": self.ranks, "depth": self.depth}
        given["num_relevant"] = self.num_partners[:, level]
        if level < 0:
            coarse_first = self.num_partners.flip(1)
            following = torch.nn.functional.pad(coarse_first[:, 1:], (0, 1))
            given["level_counts"] = coarse_first - following
        else:
            given["relevance"] = self.levels >= self.num_partners.shape[1] - level
        if self.indices is not None:
            at = slice(None) if level < 0 else level
            labels = self.codes.reference_labels
            labels = torch.cat([labels, labels.amin(dim=0, keepdim=True) - 1])  # of index -1
            given["query_labels"] = self.codes.query_labels[self.start : self.stop, at]
            given["knn_labels"] = labels[:, at][self.indices]
            given["num_partners"] = self.num_partners[:, at]
        return given

    def first(self, depth: int) -> RankedBlock:
        """What a metric needs if it looks at only ``depth`` neighbours."""
        # ranks ascend from 1, so that rank k is never further right than column k
        return replace(self, ranks=self.ranks[:, :depth], levels=self.levels[:, :depth])

    def split(self, size: int) -> Iterator[RankedBlock]:
        """Blocks of fewer queries with at most ``size`` related references, or one query."""
        step = max(1, size // max(1, self.ranks.shape[1]))
        for first in range(0, self.stop - self.start, step):
            rows = slice(first, first + step)
            start, stop = self.start + first, min(self.start + first + step, self.stop)
            parts = (self.ranks[rows], self.levels[rows], self.num_partners[rows])
            indices = None if self.indices is None else self.indices[rows]
            yield RankedBlock(self.codes, start, stop, *parts, self.depth, indices)


def ranked_blocks(
    queries: Embeddings,
    references: Embeddings,
    codes: LabelCodes,
    depth: int,
    ref_includes_query: bool,
    distance: BaseDistance | None = None,
    knn_func: KnnFunction | None = None,
    block_size: int | None = None,
    with_indices: bool = False,
) -> Iterator[RankedBlock]:
    """Rank the ``depth`` nearest references of all queries, in order, without the query itself.

    ``distance`` is as in :class:`ReferenceDistances`; a ``knn_func`` of PML's interface finds the
    neighbours instead. By default, ``block_size`` is what fits the free memory.
    ``with_indices`` says whether blocks hold all the ranked references.
    """
    if knn_func is None:
        measure = ReferenceDistances(queries, references, distance)
        dtype = measure.dtype
    else:
        dtype = torch.promote_types(queries.dtype, references.dtype)
        searched = references.rows(0, len(references), dtype)
    widest = min(depth, int(codes.num_partners.max()))
    is_sorted_as_a_whole = knn_func is not None or dtype == torch.float64
    block_size = block_size or fitting_block_size(references, widest, is_sorted_as_a_whole)
    for start, stop in queries.slices(block_size):
        rows = queries.rows(start, stop, dtype)
        partners = codes.num_partners[start:stop]
        pair = (codes.queries[:, start:stop], codes.references)
        width = min(depth, int(partners.max()))
        own = torch.arange(start, stop, device=rows.device) if ref_includes_query else None
        indices: Tensor | None
        if knn_func is None:
            ranks, levels, indices = rank_by_distance(
                measure(rows), pair, own, depth, width, with_indices
            )
        else:
            found = knn_func(rows, depth + int(ref_includes_query), searched, False)[1]
            indices = torch.as_tensor(found).to(rows.device, torch.int64)
            if ref_includes_query:  # PML's function leaves out index i of row i
                indices = return_results(indices, indices - start, True)[1] + start
            ranks, levels = rank_by_order(indices, pair, width)
        yield RankedBlock(codes, start, stop, ranks, levels, partners, depth, indices)


def fitting_block_size(references: Embeddings, width: int, sorted_as_a_whole: bool) -> int:
    """As many queries as fit a quarter of the free memory, but no more than are useful."""
    on_cpu = references.device.type == "cpu"
    # torch sorts whole blocks of 64-bit keys, the radix sort a row for each thread
    per_reference = 4 if on_cpu and not sorted_as_a_whole else 40
    per_query = per_reference * len(references) + 16 * width
    budget = free_memory(references.device) // 4
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


def rank_by_distance(
    distances: Tensor,
    codes: Codes,
    own: Tensor | None,
    depth: int,
    width: int,
    with_indices: bool = False,
) -> tuple[Tensor, Tensor, Tensor | None]:
    """Rank the nearest references of every query and keep those that share a level with it.

    ``distances``, ``(queries, references)``, are overwritten. ``own`` has, for every query, its own
    index among the references, which is not ranked. ``depth`` references are ranked, at most
    ``width`` of which are related to a query. Returns ``ranks``, ``levels`` and, if asked for,
    ``indices``, as in ``RankedBlock``.
    """
    if distances.dtype == torch.float32 and distances.device.type == "cpu":
        return _rank_in_threads(distances, codes, own, depth, width, with_indices)
    if own is not None:  # rank it behind all others
        distances.scatter_(1, own[:, None], torch.inf)
    order = distances.argsort(dim=1, stable=True)[:, :depth]
    ranks, levels = rank_by_order(order, codes, width)
    return ranks, levels, order if with_indices else None


def rank_by_order(order: Tensor, codes: Codes, width: int) -> tuple[Tensor, Tensor]:
    """As :func:`rank_by_distance`, from the indices of the references, nearest first.

    A negative index, which is how faiss says that it found no more, is related to nothing.
    """
    levels = torch.zeros(order.shape, dtype=torch.int8, device=order.device)
    for query, reference in zip(*codes, strict=True):
        levels += reference[order] == query[:, None]
    levels.masked_fill_(order < 0, 0)
    num_rows, depth = levels.shape
    ranks = torch.full((num_rows, width), depth + 1, dtype=torch.int32, device=levels.device)
    compact = torch.zeros((num_rows, width), dtype=torch.int8, device=levels.device)
    row, column = levels.nonzero(as_tuple=True)
    counts = row.bincount(minlength=num_rows)
    target = torch.arange(len(row), device=levels.device) - (counts.cumsum(0) - counts)[row]
    ranks[row, target] = column.int() + 1
    compact[row, target] = levels[row, column]
    return ranks, compact


def _rank_in_threads(
    distances: Tensor, codes: Codes, own: Tensor | None, depth: int, width: int, with_indices: bool
) -> tuple[Tensor, Tensor, Tensor | None]:
    """:func:`rank_by_distance` for ``float32`` on a CPU, some queries in each thread at a time."""
    from .radix import rank_rows

    num_queries, num_references = distances.shape
    if own is not None:  # its distance of 0 would widen the range of what is sorted
        distances.scatter_(1, own[:, None], distances.amax(dim=1, keepdim=True))
    kept = (distances.view(torch.int32), codes[0].T, codes[1])
    bits, mine, theirs = (x.contiguous().numpy() for x in kept)
    left_out = np.full(num_queries, num_references) if own is None else own.numpy()
    ranks = np.full((num_queries, width + 1), depth + 1, dtype=np.int32)
    levels = np.zeros((num_queries, width + 1), dtype=np.int8)
    indices = np.empty((num_queries if with_indices else 0, depth), dtype=np.int64)

    def rank_some(start: int) -> int:
        some = slice(start, start + _AT_A_TIME)
        keys = bits[some]
        if keys.min() < 0:  # floats are sign and magnitude: make integers in the same order
            keys = np.where(keys < 0, -(keys & _MAGNITUDE), keys)
        low, high = int(keys.min()), int(keys.max())
        args = keys, low, (high - low).bit_length(), left_out[some], mine[some], theirs, depth
        return int(rank_rows(*args, ranks[some], levels[some], indices[some]))

    with ThreadPoolExecutor(torch.get_num_threads()) as threads:
        widest = max(threads.map(rank_some, range(0, num_queries, _AT_A_TIME)))
    found = torch.from_numpy(indices) if with_indices else None
    return torch.from_numpy(ranks[:, :widest]), torch.from_numpy(levels[:, :widest]), found
