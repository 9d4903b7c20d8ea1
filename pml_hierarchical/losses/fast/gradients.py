"""The two products of the gradient, gathered block by block."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from .columns import Columns
from .directions import project_, projection
from .plan import Block


class Gradients:
    """With respect to unit embeddings, and to the proxies (through their normalisation).

    Arguments:
        columns: the proxies.
        unit: embeddings as the product saw them: ``(batch_size, embedding_size)``.
        needs: whether the gradient is needed of the embeddings, and of each tensor of proxies.
    """

    def __init__(self, columns: Columns, unit: torch.Tensor, needs: Sequence[bool]) -> None:
        self._columns, self._unit = columns, unit
        # empty_like keeps the strides: a transposed view gets a gradient in its own layout
        self.of_proxies = [
            torch.empty_like(part) if needed else None
            for part, needed in zip(columns.parts, needs[1:], strict=True)
        ]
        self.of_embeddings = torch.zeros_like(unit) if needs[0] else None
        self._projection = projection(columns.norms) if any(needs[1:]) else columns.norms

    def add(self, block: Block, matrix: torch.Tensor) -> None:
        r"""Take a block of :math:`\partial L / \partial\cos_{ij} / |p_j|`: one product each."""
        columns = self._columns
        pieces = matrix.split(block.part_widths, 1)
        for entries, (part, first, last) in zip(pieces, block.parts, strict=True):
            proxies = columns.parts[part][first:last]
            if self.of_embeddings is not None:
                self.of_embeddings.addmm_(entries, proxies)
            whole = self.of_proxies[part]
            if whole is not None:
                gradient = whole[first:last]
                torch.mm(entries.t(), self._unit, out=gradient)
                start = columns.part_bounds[part]
                project_(gradient, proxies, self._projection[start + first : start + last])
