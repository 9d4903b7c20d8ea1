"""The proxies of all levels as the columns of one matrix, a block of them at a time."""

from __future__ import annotations

import bisect
from collections.abc import Sequence

import torch

from .directions import inverse, row_norms
from .plan import Block, bounds, plan

_CPU_BLOCK_BYTES = 2**20  # measured: flat from a quarter of this, a core's L2 cache, to twice it
_CUDA_BLOCK_BYTES = 2**28  # there is no such cache to fit: few launches, yet bounded memory


class Columns:
    """The proxies of all levels, appended to one another without being copied.

    A block of the matrix is ``(batch_size, width)`` and lies column by column in the memory: the
    product with the embeddings takes two thirds of the time then, and a part of the columns is
    one piece. The entries (sample, its class) of the matrix are called positives. Tensors of them
    are ``(levels, batch_size)``, in the order of the samples or, if sorted, of the classes.

    Arguments:
        parts: tensors of shape ``(classes, embedding_size)``, of any strides; together their rows
            are the proxies of all levels, finest level first. No level is divided between two.
        sizes: the number of classes of each level.
        labels: ``int64`` of shape ``(levels, batch_size)``: the class of each sample at each level.
        block_size: how many columns to work on at once; 0 for what suits the device.
        sort: whether to sort the positives even if all columns fit one block.
    """

    def __init__(
        self,
        parts: Sequence[torch.Tensor],
        sizes: tuple[int, ...],
        labels: torch.Tensor,
        block_size: int = 0,
        sort: bool = False,
    ) -> None:
        self.parts, self.sizes = parts, sizes
        self.batch_size = labels.shape[1]
        self.level_bounds = bounds(sizes)
        self.part_bounds = bounds(tuple([len(part) for part in parts]))
        self.num_columns = self.level_bounds[-1]
        norms = [row_norms(part) for part in parts]
        self.norms = norms[0] if len(norms) == 1 else torch.cat(norms)
        self.inverse_norms = inverse(self.norms)
        widest = block_size or default_width(parts[0], self.batch_size)
        count = -(-self.num_columns // widest)
        self.width = -(-self.num_columns // count)  # blocks of equal width: no narrow last one
        self.blocks = plan(self.part_bounds, self.level_bounds, self.width)
        self._list_positives(labels, sort or len(self.blocks) > 1)

    def _list_positives(self, labels: torch.Tensor, sort: bool) -> None:
        """Find the column of each positive, and its index in the memory of its block."""
        first = labels.new_tensor(self.level_bounds[:-1]).unsqueeze(1)
        rows = torch.arange(self.batch_size, device=labels.device)
        self._order: torch.Tensor | None = None
        labels = labels.contiguous()
        if sort:
            labels, self._order = labels.sort(1)
            rows = self._order
        self.positive_columns = columns = labels + first
        cuts = [0, columns.numel()]
        if len(self.blocks) > 1:
            edges = columns.new_tensor([block.start for block in self.blocks[1:]])
            # on CUDA, the only time that the CPU waits for the GPU
            cuts[1:1] = torch.searchsorted(columns.view(-1), edges).tolist()
        flat = (columns % self.width).mul_(self.batch_size).add_(rows)
        self._cuts, self._flat = cuts, flat.view(-1)

    @property
    def positive_rows(self) -> torch.Tensor:
        """The sample of each positive."""
        if self._order is not None:
            return self._order
        rows = torch.arange(self.batch_size, device=self._flat.device)
        return rows.expand(len(self.sizes), -1)

    def by_sample(self, positives: torch.Tensor) -> torch.Tensor:
        """From the order of the positives to that of the samples."""
        if self._order is None:
            return positives
        return torch.empty_like(positives).scatter_(1, self._order, positives)

    def by_positive(self, samples: torch.Tensor) -> torch.Tensor:
        """From the order of the samples to that of the positives."""
        return samples if self._order is None else samples.gather(1, self._order)

    def per_column(self, values: Sequence[float]) -> torch.Tensor:
        """One number per level, repeated for each class of it: ``(columns,)``."""
        out = torch.full_like(self.norms, values[0])
        for level, value in enumerate(values):
            if value != values[0]:
                out[self.level_bounds[level] : self.level_bounds[level + 1]] = value
        return out

    def product(self, embeddings: torch.Tensor, block: Block, buffer: torch.Tensor) -> torch.Tensor:
        """``embeddings @ proxies.T`` for the columns of a block, written to a flat buffer."""
        width = block.stop - block.start
        matrix = buffer[: self.batch_size * width].view(width, self.batch_size)
        outs = matrix.split(block.part_widths)
        for out, (part, first, last) in zip(outs, block.parts, strict=True):
            torch.mm(self.parts[part][first:last], embeddings.t(), out=out)
        return matrix.t()

    def positive_cosines(self, unit: torch.Tensor) -> torch.Tensor:
        """Of each embedding, given as unit vector, and the proxy of its class, at each level."""
        cosines = []
        for rows, columns, start in zip(
            self.positive_rows, self.positive_columns, self.level_bounds[:-1], strict=True
        ):
            part = bisect.bisect_right(self.part_bounds, start) - 1
            proxies = self.parts[part].index_select(0, columns - self.part_bounds[part])
            cosines.append(proxies.mul_(unit.index_select(0, rows)).sum(1))
        return torch.stack(cosines).mul_(self.inverse_norms[self.positive_columns])

    def replace_positives(self, matrix: torch.Tensor, number: int, value: float) -> torch.Tensor:
        """Set the positives in a block to one value and return what they were, one-dimensional."""
        index, flat = self._flat[self._slice(number)], matrix.t().view(-1)
        before = flat.index_select(0, index)
        flat.index_fill_(0, index, value)
        return before

    def set_positives(self, matrix: torch.Tensor, number: int, values: torch.Tensor) -> None:
        """Overwrite the positives in a block; ``values`` are those of all blocks."""
        found = self._slice(number)
        if found.start < found.stop:
            matrix.t().view(-1).index_copy_(0, self._flat[found], values.view(-1)[found])

    def _slice(self, number: int) -> slice:
        return slice(self._cuts[number], self._cuts[number + 1])


def default_width(proxies: torch.Tensor, batch_size: int) -> int:
    """How many classes a block has, so that its cosines fit the cache."""
    budget = _CUDA_BLOCK_BYTES if proxies.is_cuda else _CPU_BLOCK_BYTES
    return max(256, budget // (batch_size * proxies.element_size()))
