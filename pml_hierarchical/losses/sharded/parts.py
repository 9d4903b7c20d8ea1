"""The classes of one level that a process works on, as columns: a block of them at a time."""

from __future__ import annotations

from typing import NamedTuple

import torch

from ..fast.columns import default_width
from ..fast.directions import inverse, project_, projection, row_norms


class Block(NamedTuple):
    """Columns ``start`` to ``stop`` of a part, and the positives among them."""

    start: int
    stop: int
    rows: torch.Tensor  # of the samples whose class is in the block
    columns: torch.Tensor  # their class, counted from ``start``


class Part:
    """Some classes of a level, and the samples of the batch that belong to them (maybe none).

    Arguments:
        proxies: ``(classes, embedding_size)``; there may be none.
        first: the number of the first of these classes within the level.
        labels: ``int64`` of shape ``(batch_size,)``: the class of each sample at this level.
        block_size: how many classes to work on at once; 0 for what suits the device.
    """

    def __init__(
        self, proxies: torch.Tensor, first: int, labels: torch.Tensor, block_size: int = 0
    ) -> None:
        self.proxies = proxies
        self.batch_size = len(labels)
        self.norms = row_norms(proxies)
        self.inverse_norms = inverse(self.norms)
        is_here = (labels >= first) & (labels < first + len(proxies))
        rows = is_here.nonzero().squeeze(1)
        self.columns, order = (labels[rows] - first).sort()
        self.rows = rows[order]
        self.blocks = self._cut(block_size or default_width(proxies, self.batch_size))

    def _cut(self, width: int) -> list[Block]:
        edges = [*range(0, len(self.proxies), width), len(self.proxies)]
        cuts = torch.searchsorted(self.columns, self.columns.new_tensor(edges)).tolist()
        return [
            Block(start, stop, self.rows[low:high], self.columns[low:high] - start)
            for start, stop, low, high in zip(edges, edges[1:], cuts, cuts[1:], strict=False)
        ]

    def cosines(self, unit: torch.Tensor, block: Block) -> torch.Tensor:
        """Of all samples and the classes of a block: ``(batch_size, stop - start)``."""
        # this way around, the product takes two thirds of the time
        matrix = (self.proxies[block.start : block.stop] @ unit.t()).t()
        return matrix.mul_(self.inverse_norms[block.start : block.stop])

    def positive_cosines(self, unit: torch.Tensor) -> torch.Tensor:
        """Of the samples ``rows`` and their classes ``columns``: ``(positives,)``."""
        products = (unit[self.rows] * self.proxies[self.columns]).sum(1)
        return products.mul_(self.inverse_norms[self.columns])


class Gradients:
    """With respect to the unit embeddings, and to the proxies of the finest level.

    Arguments:
        unit: ``(batch_size, embedding_size)``.
        fine: the proxies of the finest level that this process holds.
        needs: whether the gradient is needed of the embeddings, and of those proxies.
    """

    def __init__(self, unit: torch.Tensor, fine: torch.Tensor, needs: tuple[bool, bool]) -> None:
        self._unit = unit
        self._fine = fine
        self.of_unit = torch.zeros_like(unit) if needs[0] else None
        self.of_fine = torch.empty_like(fine) if needs[1] else None

    def add(self, part: Part, block: Block, matrix: torch.Tensor) -> None:
        r"""Take a block of :math:`\partial L / \partial\cos_{ij}`, in place."""
        here = slice(block.start, block.stop)
        matrix.mul_(part.inverse_norms[here])
        if self.of_unit is not None:
            self.of_unit.addmm_(matrix, part.proxies[here])
        if self.of_fine is not None and part.proxies is self._fine:
            gradient = torch.mm(matrix.t(), self._unit, out=self.of_fine[here])
            project_(gradient, part.proxies[here], projection(part.norms[here]))
