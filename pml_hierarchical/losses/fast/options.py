"""Which loss is computed, in numbers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple


class Options(NamedTuple):
    """Everything that is not a tensor; the tuples have one entry for each level."""

    kind: str
    sizes: tuple[int, ...]
    weights: tuple[float, ...]
    margins: tuple[float, ...]
    scales: tuple[float, ...]
    normalize: bool
    block_size: int
    save_memory: bool

    def of_first(self, num_levels: int, weights: Sequence[float]) -> Options:
        """Of the finest levels alone, with other weights."""
        return self._replace(
            sizes=self.sizes[:num_levels],
            weights=tuple(weights[:num_levels]),
            margins=self.margins[:num_levels],
            scales=self.scales[:num_levels],
        )
