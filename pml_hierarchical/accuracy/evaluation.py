"""One pass over ranked blocks that fills every mean."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from dataclasses import dataclass

import torch
from torch import Tensor
from tqdm import tqdm

from .averaging import StreamingMean
from .catalogue import Metric
from .labels import LabelCodes
from .ranking import Neighbours, RankedBlock

_QUICK = 5  # seconds that an evaluation may take without a progress bar
# Related references of a piece of a block. torch computes so few in the calling thread: threads of
# pieces are then faster than threads inside of every operation, by far so on a busy machine.
_PIECE = 2**15 - 1
_PIECE_ON_GPU = 2**24


@dataclass(frozen=True)
class Task:
    """A metric to compute at a level.

    Attributes:
        key: its name in the result.
        metric: what to compute.
        level: the column of the codes that the metric is computed at.
    """

    key: str
    metric: Metric
    level: int

    def values(self, block: RankedBlock) -> Tensor:
        """One value per query of the block, NaN for those without a partner."""
        partners = block.num_partners[:, self._level_of_partners]
        values = self.metric.compute(block, self.level)
        return torch.where(partners > 0, values, torch.nan)

    def depth(self, codes: LabelCodes) -> int:
        """How many neighbours of a query it looks at."""
        level = self.level if self.metric.per_level else codes.num_levels - 1
        return self.metric.depth(codes.max_partners(level))

    @property
    def _level_of_partners(self) -> int:
        if self.metric.per_level:
            return self.level
        return 0 if self.metric.needs_fine_partner else -1


def average_over_queries(
    tasks: Sequence[Task], neighbours: Neighbours, by_class: bool, progress_bar: bool
) -> list[StreamingMean]:
    """The mean of every task, over the queries or class by class.

    The classes of a metric over the hierarchy are those of the finest level.
    """
    codes = neighbours.codes
    means = [
        StreamingMean(len(codes.classes[task.level]) if by_class else None, codes.queries.device)
        for task in tasks
    ]
    bar = tqdm(
        total=len(neighbours.queries),
        desc="evaluating",
        unit=" queries",
        delay=_QUICK,
        mininterval=1.0,  # seconds: in a log file every update is a line
        disable=not progress_bar,
    )
    depths = [task.depth(codes) for task in tasks]
    # a user's own metric, the only one that sees indices, need not bear threads
    threads = 1 if neighbours.with_indices else torch.get_num_threads()
    with bar, ThreadPoolExecutor(threads) as pool:
        for block in neighbours.blocks():
            queries = slice(block.start, block.stop)
            for task, mean, values in zip(
                tasks, means, _values(tasks, depths, block, pool), strict=True
            ):
                mean.update(values, codes.queries[task.level, queries])
            bar.update(block.stop - block.start)
    return means


def _values(
    tasks: Sequence[Task], depths: Sequence[int], block: RankedBlock, pool: Executor
) -> Iterator[Tensor]:
    """The values of every task for all the queries of a block."""
    size = _PIECE if block.ranks.device.type == "cpu" else _PIECE_ON_GPU
    jobs = [
        [pool.submit(task.values, piece) for piece in block.first(depth).split(size)]
        for task, depth in zip(tasks, depths, strict=True)
    ]
    for pieces in jobs:
        yield torch.cat([piece.result() for piece in pieces])
