"""Which rows of which tensors, and which levels, a block of columns consists of."""

from __future__ import annotations

import bisect
from functools import lru_cache
from typing import NamedTuple


class Block(NamedTuple):
    """Columns ``start`` to ``stop`` of the whole, and what they consist of."""

    start: int
    stop: int
    parts: list[tuple[int, int, int]]  # tensor of proxies, its first and last row
    part_widths: list[int]
    levels: list[int]
    level_widths: list[int]


@lru_cache(maxsize=64)  # the same at every step; for small losses, as dear as the arithmetic
def plan(
    part_bounds: tuple[int, ...], level_bounds: tuple[int, ...], width: int
) -> tuple[Block, ...]:
    """Cut the columns into blocks of a width (the last one may be narrower)."""
    total = level_bounds[-1]
    blocks = []
    for start in range(0, total, width):
        stop = min(start + width, total)
        parts = [
            (part, first - part_bounds[part], last - part_bounds[part])
            for part, first, last in _overlaps(part_bounds, start, stop)
        ]
        levels = _overlaps(level_bounds, start, stop)
        blocks.append(
            Block(
                start,
                stop,
                parts,
                [last - first for _, first, last in parts],
                [level for level, _, _ in levels],
                [last - first for _, first, last in levels],
            )
        )
    return tuple(blocks)


def bounds(sizes: tuple[int, ...]) -> tuple[int, ...]:
    """Where each part begins, and the end: ``(0, s0, s0 + s1, ...)``."""
    found = [0]
    for size in sizes:
        found.append(found[-1] + size)
    return tuple(found)


def _overlaps(edges: tuple[int, ...], start: int, stop: int) -> list[tuple[int, int, int]]:
    """The parts that ``start:stop`` meets: number, first and last."""
    found = []
    for part in range(bisect.bisect_right(edges, start) - 1, len(edges) - 1):
        first, last = max(edges[part], start), min(edges[part + 1], stop)
        if first >= last:
            break
        found.append((part, first, last))
    return found
