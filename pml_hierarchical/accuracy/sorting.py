"""From distances and label codes to the ranks and levels of the related references.

A ``float32`` distance, the index of its reference and the number of shared levels fit one 64-bit
integer, in this order: sorting those integers is exact, breaks ties by index, and the levels
arrive sorted without a gather. numpy sorts integers with vector instructions on a CPU, ten times
as fast as ``torch.sort``; elsewhere ``torch`` does it. ``float64`` distances need an argsort.
"""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import torch
from torch import Tensor

_CHUNK = 2**18  # keys of a chunk of rows: 2 MiB, which stay in the cache of a core
_LAST = np.iinfo(np.int32).max  # behind every distance, infinity included


def rank_by_distance(
    distances: Tensor,
    query_codes: Tensor,
    reference_codes: Tensor,
    own: Tensor | None,
    depth: int,
    width: int,
    with_indices: bool = False,
) -> tuple[Tensor, Tensor, Tensor | None]:
    """Rank the nearest references of every query and keep those that share a level with it.

    Arguments:
        distances: ``(queries, references)``, smaller is nearer; overwritten.
        query_codes: ``int32`` of shape ``(num_levels, queries)``.
        reference_codes: ``int32`` of shape ``(num_levels, references)``.
        own: for every query the index of the reference that it is itself, or ``None``.
        depth: how many references are ranked, without the query itself.
        width: how many related references a query has at most.
        with_indices: whether all the ranked references are returned too.

    Returns:
        ``ranks`` and ``levels`` of shape ``(queries, width)`` and ``indices`` of shape
        ``(queries, depth)`` or ``None``, as in ``RankedBlock``.
    """
    if distances.dtype == torch.float64:
        order = _argsort(distances, own)[:, :depth]
        ranks, levels = rank_by_order(order, query_codes, reference_codes, width)
        return ranks, levels, order if with_indices else None
    level_bits = len(query_codes).bit_length()
    if reference_codes.shape[1] >= 2 ** (32 - level_bits):
        raise ValueError(
            f"at most {2 ** (32 - level_bits)} references of {len(query_codes)} levels can be "
            f"ranked, got {reference_codes.shape[1]}"
        )
    if distances.device.type == "cpu":
        return _rank_in_threads(
            distances, query_codes, reference_codes, own, depth, width, with_indices
        )
    keys = _sorted_keys(distances, query_codes, reference_codes, own, depth)
    ranks, levels = _compact((keys & (2**level_bits - 1)).to(torch.int8), width)
    indices = (keys & 0xFFFFFFFF) >> level_bits if with_indices else None
    return ranks, levels, indices


def rank_by_order(
    order: Tensor, query_codes: Tensor, reference_codes: Tensor, width: int
) -> tuple[Tensor, Tensor]:
    """As :func:`rank_by_distance`, from the indices of the references, nearest first.

    A negative index, which is how faiss says that it found no more, is related to nothing.
    """
    levels = torch.zeros(order.shape, dtype=torch.int8, device=order.device)
    for query, reference in zip(query_codes, reference_codes, strict=True):
        levels += reference[order] == query[:, None]
    return _compact(levels.masked_fill_(order < 0, 0), width)


def _compact(levels: Tensor, width: int) -> tuple[Tensor, Tensor]:
    """Keep the columns above 0 of every row, as ``(ranks, levels)``."""
    num_rows, depth = levels.shape
    ranks = torch.full((num_rows, width), depth + 1, dtype=torch.int32, device=levels.device)
    compact = torch.zeros((num_rows, width), dtype=torch.int8, device=levels.device)
    row, column = levels.nonzero(as_tuple=True)
    counts = row.bincount(minlength=num_rows)
    target = torch.arange(len(row), device=levels.device) - (counts.cumsum(0) - counts)[row]
    ranks[row, target] = column.int() + 1
    compact[row, target] = levels[row, column]
    return ranks, compact


def _argsort(distances: Tensor, own: Tensor | None) -> Tensor:
    """Indices nearest first, ties by index, the query itself last."""
    if own is not None:
        distances.scatter_(1, own[:, None], torch.inf)
    if distances.device.type != "cpu":
        return distances.argsort(dim=1, stable=True)
    values = distances.numpy()
    order = values.argsort(axis=1)  # vectorised, but in any order where there are ties
    ordered = np.take_along_axis(values, order, axis=1)
    tied = (ordered[:, 1:] == ordered[:, :-1]).any(axis=1)
    order[tied] = values[tied].argsort(axis=1, kind="stable")
    return torch.from_numpy(order)


def _sorted_keys(
    distances: Tensor,
    query_codes: Tensor,
    reference_codes: Tensor,
    own: Tensor | None,
    depth: int,
) -> Tensor:
    """The ``depth`` smallest keys of every row: distance, index and level, from high to low."""
    level_bits = len(query_codes).bit_length()
    bits = distances.view(torch.int32)
    sign = bits >> 31
    # floats are sign and magnitude: as integers they order like floats, with -0 equal to 0
    bits = ((bits & _LAST) ^ sign) - sign
    low = torch.arange(bits.shape[1], device=bits.device) << level_bits
    keys = (bits.long() << 32) | low
    for query, reference in zip(query_codes, reference_codes, strict=True):
        keys += reference == query[:, None]
    if own is not None:
        keys.scatter_(1, own[:, None], ((_LAST << 32) | low)[own][:, None])
    if depth < keys.shape[1] // 2:
        return keys.topk(depth, dim=1, largest=False).values
    return keys.sort(dim=1).values[:, :depth]


def _rank_in_threads(
    distances: Tensor,
    query_codes: Tensor,
    reference_codes: Tensor,
    own: Tensor | None,
    depth: int,
    width: int,
    with_indices: bool,
) -> tuple[Tensor, Tensor, Tensor | None]:
    """:func:`_sorted_keys` and :func:`_compact` by numpy, a cache-sized chunk of rows at a time."""
    num_queries = len(distances)
    ranker = _ChunkRanker(reference_codes.numpy(), depth)
    all_distances, codes = distances.numpy(), query_codes.numpy()
    own_indices = None if own is None else own.numpy()
    ranks = np.full((num_queries, width), depth + 1, dtype=np.int32)
    levels = np.zeros((num_queries, width), dtype=np.int8)
    indices = np.empty((num_queries, depth), dtype=np.int64) if with_indices else None

    def rank(start: int) -> None:
        chunk = slice(start, start + ranker.num_rows)
        itself = None if own_indices is None else own_indices[chunk]
        keys = ranker.sorted_keys(all_distances[chunk], codes[:, chunk], itself)
        for row, row_keys in enumerate(keys, start):
            related = np.flatnonzero((row_keys & ranker.level_mask) != 0)
            ranks[row, : len(related)] = related + 1
            levels[row, : len(related)] = row_keys[related] & ranker.level_mask
        if indices is not None:
            indices[chunk] = (keys & 0xFFFFFFFF) >> ranker.level_bits

    with ThreadPoolExecutor(torch.get_num_threads()) as threads:
        list(threads.map(rank, range(0, num_queries, ranker.num_rows)))
    found = None if indices is None else torch.from_numpy(indices)
    return torch.from_numpy(ranks), torch.from_numpy(levels), found


class _ChunkRanker:
    """:func:`_sorted_keys` by numpy, for as many rows as stay in the cache of a core."""

    def __init__(self, reference_codes: np.ndarray, depth: int) -> None:
        num_levels, self.num_references = reference_codes.shape
        self.reference_codes, self.depth = reference_codes, depth
        self.level_bits = num_levels.bit_length()
        self.level_mask = 2**self.level_bits - 1
        self.num_rows = max(1, _CHUNK // self.num_references)
        self._low = np.arange(self.num_references) << self.level_bits
        self._buffers = threading.local()

    def sorted_keys(
        self, distances: np.ndarray, query_codes: np.ndarray, own: np.ndarray | None
    ) -> np.ndarray:
        """Of shape ``(rows, depth)``; valid until the next call in the same thread."""
        bits = distances.view(np.int32)
        if bits.min() < 0:
            sign = bits >> 31
            bits &= _LAST
            bits ^= sign
            bits -= sign
        keys = self._buffer()[: len(bits)]
        np.left_shift(bits, 32, out=keys, dtype=np.int64)
        keys |= self._low
        keys += self._shared_levels(query_codes)
        if own is not None:
            keys[np.arange(len(keys)), own] = (_LAST << 32) | self._low[own]
        if self.depth < self.num_references // 2:
            keys.partition(self.depth - 1, axis=1)
            keys = keys[:, : self.depth]
        keys.sort(axis=1)
        return keys[:, : self.depth]

    def _shared_levels(self, query_codes: np.ndarray) -> np.ndarray:
        shared = np.zeros((query_codes.shape[1], self.num_references), dtype=np.int8)
        for query, reference in zip(query_codes, self.reference_codes, strict=True):
            shared += (reference == query[:, None]).view(np.int8)
        return shared

    def _buffer(self) -> np.ndarray:
        if not hasattr(self._buffers, "keys"):
            self._buffers.keys = np.empty((self.num_rows, self.num_references), dtype=np.int64)
        return self._buffers.keys
