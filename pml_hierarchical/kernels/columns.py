"""The proxies of all levels as the columns of one matrix, a block of them at a time."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from itertools import pairwise
from typing import NamedTuple

import torch
import torch.distributed as dist
from torch import Tensor

from .directions import inverse, row_norms
from .settings import bounds, tensor_of

_CPU_BLOCK_BYTES = 2**20  # measured: flat from a quarter of this, a core's L2 cache, to twice it
_CUDA_BLOCK_BYTES = 2**28  # there is no such cache to fit: few launches, yet bounded memory
_PAD = 16  # spare elements before and after the cosines of a block; this many keep them aligned


class Share(NamedTuple):
    """The classes of this process, where they are divided among the processes of a group: for each
    level a run of classes, which may be empty. Every process has the whole batch.
    """

    group: dist.ProcessGroup
    firsts: tuple[int, ...]  # for each level, the class that the first proxy here belongs to


class Block(NamedTuple):
    """Columns ``start`` to ``stop``, and the levels that they belong to."""

    start: int
    stop: int
    pieces: tuple[tuple[int, int, int], ...]  # level, its first class here, and one after the last
    widths: tuple[int, ...]  # of the pieces


class Tile(NamedTuple):
    """The scaled cosines of a batch and a block of columns."""

    matrix: Tensor  # (batch_size, width)
    memory: Tensor  # the same column by column, between spare elements
    own: Tensor  # where in it the samples' own classes are; a spare element if elsewhere

    def take_own(self, value: float) -> Tensor:
        """Overwrite the entries of own classes, and return what they were, for each level and
        sample; 0 where the class is not in the block.
        """
        self.memory[_PAD - 1 :: self.matrix.numel() + 1].zero_()  # the two spare ones in use
        before = self.memory.index_select(0, self.own)
        self.memory.index_fill_(0, self.own, value)
        return before

    def put_own(self, values: Tensor) -> None:
        """Overwrite the entries of own classes; ``values`` as :meth:`take_own` returns them."""
        self.memory.index_copy_(0, self.own, values)


class Columns:
    """The proxies of all levels, appended to one another without being copied.

    A block of the matrix is stored column by column: the product then takes two thirds of the
    time. Nothing waits for a GPU: Python does not know which block a sample's class is in.

    Arguments:
        parts: for each level proxies of shape ``(classes, embedding_size)``, of any strides.
        labels: ``int64`` of shape ``(levels, batch_size)``, of any strides.
        block_size: how many columns to work on at once; 0 for what suits the device.
        share: which classes the proxies are; ``None`` for all.
    """

    def __init__(
        self,
        parts: Sequence[Tensor],
        labels: Tensor,
        block_size: int = 0,
        share: Share | None = None,
    ) -> None:
        labels = labels.contiguous()  # to be viewed as one row
        self.parts, self.labels, self.share = parts, labels, share
        num_levels, self.batch_size = labels.shape
        self.widths = tuple([part.shape[0] for part in parts])
        self.starts = bounds(self.widths)
        self.num_columns = self.starts[-1]
        # one more than there are columns: for samples whose class is in another process
        self.norms = torch.cat([*map(row_norms, parts), parts[0].new_ones(1)])
        self.inverse_norms = inverse(self.norms)
        budget = _CUDA_BLOCK_BYTES if self.norms.is_cuda else _CPU_BLOCK_BYTES
        widest = block_size or max(256, budget // (self.batch_size * self.norms.element_size()))
        count = max(1, -(-self.num_columns // widest))
        self.width = -(-self.num_columns // count)  # blocks of equal width: no narrow last one
        self.blocks = plan(self.starts, self.width)
        self.memory_size = self.batch_size * self.width + 2 * _PAD  # of a block
        values = self.starts[:-1], self.widths, share.firsts if share else [0] * num_levels
        starts, widths, first = tensor_of(values, torch.int64, labels.device).unsqueeze(2)
        self._repeats = torch.cat([widths[:-1, 0], widths[-1] + 1])
        self.own = labels + starts  # (levels, batch_size): the column of each sample's class
        if share is not None:
            is_here = (labels >= first) & (labels < first + widths)
            self.own = torch.where(is_here, self.own - first, self.num_columns)
        rows = torch.arange(_PAD, _PAD + self.batch_size, device=labels.device)
        self._places = (self.own * self.batch_size + rows).view(-1)

    def per_column(self, values: Tensor) -> Tensor:
        """Numbers of the levels, repeated for each class of the level: ``(columns + 1,)``."""
        size = self.num_columns + 1
        return torch.repeat_interleave(values, self._repeats, output_size=size)

    def cosines(self, unit: Tensor, block: Block, scales: Tensor, buffer: Tensor) -> Tile:
        """The products with the columns of a block, times ``scales``, in a flat buffer."""
        size = self.batch_size * (block.stop - block.start)
        memory = buffer[: size + 2 * _PAD]
        stored = memory[_PAD : _PAD + size].view(-1, self.batch_size)
        for out, (level, first, last) in zip(stored.split(block.widths), block.pieces, strict=True):
            torch.mm(self.parts[level][first:last], unit.t(), out=out)
        matrix = stored.t().mul_(scales[block.start : block.stop])
        own = (self._places - block.start * self.batch_size).clamp_(_PAD - 1, _PAD + size)
        return Tile(matrix, memory, own)

    def own_cosines(self, unit: Tensor) -> Tensor:
        """The cosine of each sample and its class, per level; any value if that is elsewhere."""
        cosines = []
        for part, own, start in zip(self.parts, self.own, self.starts, strict=False):
            rows = part if part.shape[0] else unit  # any rows will do, where there are none
            proxies = rows.index_select(0, (own - start).clamp_max_(rows.shape[0] - 1))
            cosines.append(proxies.mul_(unit).sum(1))
        return torch.stack(cosines).mul_(self.inverse_norms[self.own])


@lru_cache(maxsize=64)  # the same at every step
def plan(starts: tuple[int, ...], width: int) -> tuple[Block, ...]:
    """Cut the columns into blocks of the given width (the last one may be narrower)."""
    total, blocks = starts[-1], list[Block]()
    for start in range(0, total, max(width, 1)):
        stop = min(start + width, total)
        pieces = tuple(
            (level, max(first, start) - first, min(last, stop) - first)
            for level, (first, last) in enumerate(pairwise(starts))
            if max(first, start) < min(last, stop)
        )
        widths = tuple([last - first for _, first, last in pieces])
        blocks.append(Block(start, stop, pieces, widths))
    return tuple(blocks)
