"""Ranks of related references by a radix sort, which numba compiles when it is first called."""

from typing import Any

import numba
import numpy as np

_DIGIT, _COUNTERS = 12, 2**12  # bits that a pass sorts by; this many counters stay in a fast cache


def _compiled(function: Any) -> Any:
    try:
        return numba.njit(nogil=True, cache=True)(function)
    except RuntimeError:  # neither the package's folder nor the user's cache can be written
        return numba.njit(nogil=True)(function)


@_compiled
def rank_rows(bits, smallest, key_bits, own, mine, theirs, depth, ranks, levels, indices):  # type: ignore[no-untyped-def]
    """Rank the references of some queries, smallest first, ties by index.

    ``bits``, ``int32`` of shape ``(queries, references)``, lie within ``key_bits`` bits above
    ``smallest``. ``own`` has each query's reference to leave out; their number for none. ``mine``,
    ``(queries, num_levels)``, and ``theirs``, ``(num_levels, references)``, are codes of classes.
    ``ranks`` and ``levels``, as in ``RankedBlock`` with one more column, are filled from the left;
    so are ``indices``, ``(queries, depth)``, with all that is ranked, unless they have no rows.
    Returns the largest number of related references that a query has.
    """
    num_references, widest = bits.shape[1], 0
    pair = np.empty((2, num_references), np.uint64)
    shared, counts = np.empty(num_references, np.int8), np.empty(_COUNTERS, np.int64)
    for row in range(len(bits)):
        values, spare, keys, left_out = pair[0], pair[1], bits[row], own[row]
        shared[:] = 0
        for level in range(len(theirs)):
            shared += theirs[level] == mine[row, level]
        _fill(values[:left_out], keys[:left_out], smallest, 0)
        _fill(values[left_out:], keys[left_out + 1 :], smallest, left_out + 1)
        size = num_references - int(left_out < num_references)
        if 2 * depth < size:
            size = _smallest(values, size, np.uint64(32 + max(0, key_bits - _DIGIT)), depth, counts)
        for shift in range(32, 32 + key_bits, _DIGIT):
            _sort_by_digit(values, spare, size, np.uint64(shift), counts)
            values, spare = spare, values
        if len(indices):
            indices[row] = values[:depth].astype(np.uint32)
        column, own_ranks, own_levels = 0, ranks[row], levels[row]
        for rank in range(depth):  # without a branch, which processors would mispredict
            common = shared[np.uint32(values[rank])]
            own_ranks[column], own_levels[column] = rank + 1, common
            column += common > 0
        own_ranks[column], own_levels[column] = depth + 1, 0
        widest = max(widest, column)
    return widest


@_compiled
def _fill(values, keys, smallest, start):  # type: ignore[no-untyped-def]
    """What is sorted: the bits of a distance, and below them 32 bits of the index."""
    for i in range(len(keys)):
        key = np.uint64(np.uint32(keys[i] - smallest))
        values[i] = key << np.uint64(32) | np.uint64(start + i)


@_compiled
def _smallest(values, size, shift, depth, counts):  # type: ignore[no-untyped-def]
    """Move the ``depth`` smallest values, and a few more, to the front; return how many."""
    counts[:] = 0
    for i in range(size):
        counts[values[i] >> shift] += 1
    end, seen, kept = 0, 0, 0
    while seen < depth:
        seen += counts[end]
        end += 1
    for i in range(size):
        values[kept] = values[i]
        kept += (values[i] >> shift) < np.uint64(end)
    return kept


@_compiled
def _sort_by_digit(values, spare, size, shift, counts):  # type: ignore[no-untyped-def]
    """Copy the first ``size`` values to ``spare``, in the order of a digit; stable."""
    counts[:] = 0
    for i in range(size):
        counts[values[i] >> shift & np.uint64(_COUNTERS - 1)] += 1
    start = 0
    for digit in range(_COUNTERS):
        start, counts[digit] = start + counts[digit], start
    for i in range(size):
        digit = values[i] >> shift & np.uint64(_COUNTERS - 1)
        spare[counts[digit]] = values[i]
        counts[digit] += 1
