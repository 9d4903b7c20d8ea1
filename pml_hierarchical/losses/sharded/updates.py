"""An update of the hierarchy of a loss whose fine proxies are nowhere together."""

from __future__ import annotations

import time
from typing import Any

import torch
import torch.distributed as dist

from ...clustering import discover
from ...hierarchy import Hierarchy
from .collectives import max_over_processes, sum_over_processes


@torch.no_grad()
def update(loss_func: Any) -> Hierarchy:
    """Discover the levels that are not given and compute the coarse proxies, in all processes.

    Only a discovery needs all class vectors in one place: those are gathered in the first process,
    which clusters them and tells the others what it found.

    Arguments:
        loss_func: a ``ShardedHierarchicalProxyLoss``.

    Returns:
        The hierarchy after the update, the same in all processes.

    Raises:
        ValueError: if the proxies of any process hold NaN or infinite values.
        RuntimeError: if the clustering failed; in the first process, its own error.
    """
    start = time.perf_counter()
    before = loss_func.hierarchy
    vectors = torch.nn.functional.normalize(loss_func.local_proxies.detach())
    _check_finite(vectors, loss_func.group)
    if not all(loss_func.is_given):
        loss_func.class_labels = _discovered(loss_func, vectors, before)
    for level in range(1, len(loss_func.sizes)):
        loss_func.set_coarse_proxies(level, _means(loss_func, vectors, level))
    loss_func.schedule.count_update()
    after = Hierarchy(loss_func.class_labels, loss_func._names)
    if len(loss_func.sizes) > 1:
        loss_func._records.update(loss_func, before, after, time.perf_counter() - start)
    return after


def _check_finite(vectors: torch.Tensor, group: dist.ProcessGroup) -> None:
    bad = (~vectors.isfinite().all(dim=1)).sum()
    counts = torch.zeros(group.size(), dtype=torch.int64, device=vectors.device)
    counts[group.rank()] = bad
    found = sum_over_processes(counts, group).tolist()
    if any(found):
        where = ", ".join(f"{count} on rank {r}" for r, count in enumerate(found) if count)
        raise ValueError(
            f"proxies hold NaN or infinite values ({where}), so they cannot be clustered or "
            "averaged. Look for a learning rate that is too high."
        )


def _means(loss_func: Any, vectors: torch.Tensor, level: int) -> torch.Tensor:
    """The mean class vector of each superclass, by sums over the classes of each process."""
    first, stop = loss_func.share
    labels, size = loss_func.class_labels[:, level], loss_func.sizes[level]
    sums = vectors.new_zeros(size, vectors.shape[1]).index_add_(0, labels[first:stop], vectors)
    counts = torch.bincount(labels, minlength=size).to(sums.dtype).unsqueeze(1)
    return sum_over_processes(sums, loss_func.group).div_(counts)


def _discovered(loss_func: Any, vectors: torch.Tensor, before: Hierarchy | None) -> torch.Tensor:
    """The table of class labels that the first process found: ``(num_classes, levels)``."""
    group = loss_func.group
    gathered = gathered_at_first(vectors, loss_func.num_classes, group)
    table, error = torch.empty_like(loss_func.class_labels), None
    if gathered is not None:
        try:
            table.copy_(torch.tensor(_clustered(loss_func, gathered, before).class_labels))
        except Exception as caught:
            error = caught
    failed = torch.tensor(error is not None, dtype=torch.int64, device=vectors.device)
    if max_over_processes(failed, group).item():
        raise error or RuntimeError(
            "the clustering failed in the first process; the reason is in the error raised there"
        )
    dist.broadcast(table, src=dist.get_global_rank(group, 0), group=group)
    return table


def _clustered(loss_func: Any, vectors: torch.Tensor, before: Hierarchy | None) -> Hierarchy:
    given = [level for level, is_given in enumerate(loss_func.is_given) if is_given]
    sizes = zip(loss_func.sizes, loss_func.is_given, strict=True)
    coarse = [loss_func.coarse_proxies(level) for level in range(1, len(loss_func.sizes))]
    return discover(
        vectors,
        [size for size, is_given in sizes if not is_given],
        spherical=True,
        previous=before,
        seed=loss_func.seed,
        given=Hierarchy(loss_func.class_labels[:, given]),
        centroids=coarse if loss_func.is_active else None,
        clusterer=loss_func.clusterer,
    )


def gathered_at_first(
    vectors: torch.Tensor, num_classes: int, group: dist.ProcessGroup
) -> torch.Tensor | None:
    """The rows of all shares, in the first process; ``None`` in the others."""
    most = -(-num_classes // group.size())
    padded = vectors.new_zeros(most, vectors.shape[1])
    padded[: len(vectors)] = vectors
    found = None
    if group.rank() == 0:
        found = vectors.new_empty(group.size(), most, vectors.shape[1])
    shares = None if found is None else list(found.unbind())
    dist.gather(padded, shares, dst=dist.get_global_rank(group, 0), group=group)
    return None if found is None else found.flatten(0, 1)[:num_classes]
