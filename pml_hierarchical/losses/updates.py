"""An update of the hierarchy: new tables, new coarse proxies, the same in every process."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

import torch

from ..clustering import discover
from ..hierarchy import Hierarchy
from .coarse_means import means_of_members
from .distributed import check_processes_agree, num_processes, take_from_first_process
from .proxy_access import class_vectors, direction_only, num_centers, stored_form


@torch.no_grad()
def update(loss_func: Any, before: Hierarchy | None, num_kept: Sequence[int]) -> Hierarchy:
    """Discover the levels that are not given and compute the coarse proxies.

    Arguments:
        loss_func: a ``HierarchicalProxyLoss``.
        before: its hierarchy, where superclasses are to keep their numbers.
        num_kept: how many classes of each level keep the proxies they have.

    Returns:
        The hierarchy after the update.
    """
    start = time.perf_counter()
    vectors = class_vectors(loss_func.level_loss(0), loss_func.layout)
    if num_processes() > 1:
        check_processes_agree(vectors)
    if not all(loss_func.is_given):
        _discover(loss_func, vectors, before)
    for level in range(1, len(loss_func.sizes)):
        _set_coarse_proxies(loss_func, level, vectors, num_kept[level])
    loss_func.schedule.count_update()
    after = Hierarchy(loss_func.class_labels, loss_func._names)
    if len(loss_func.sizes) > 1:
        loss_func._records.update(loss_func, before, after, time.perf_counter() - start)
    return after


def _set_coarse_proxies(loss_func: Any, level: int, vectors: torch.Tensor, num_kept: int) -> None:
    loss, layout = loss_func.level_loss(level), loss_func.layout
    size, labels = loss_func.sizes[level], loss_func.class_labels[:, level]
    if num_kept == size:
        return  # not even a copy in place, which a backward pass still to come would not forgive
    proxies = getattr(loss, layout.attribute)
    means = stored_form(means_of_members(vectors, labels, size), loss, layout).to(proxies.dtype)
    kept = num_kept * num_centers(loss, layout)
    old, new = (x.narrow(layout.class_dim, 0, kept) for x in (proxies, means))
    new.copy_(old)
    if num_processes() > 1:
        take_from_first_process(means)
    if isinstance(proxies, torch.nn.Parameter):
        proxies.copy_(means)
    else:  # a new tensor: the old one may be needed by a backward pass that is still to come
        setattr(loss, layout.attribute, means)


def _discover(loss_func: Any, vectors: torch.Tensor, before: Hierarchy | None) -> None:
    given = [level for level, is_given in enumerate(loss_func.is_given) if is_given]
    coarse = range(1, len(loss_func.sizes))
    tree = discover(
        vectors,
        [
            size
            for size, is_given in zip(loss_func.sizes, loss_func.is_given, strict=True)
            if not is_given
        ],
        spherical=direction_only(loss_func.level_loss(0), loss_func.layout),
        previous=before,
        seed=loss_func.seed,
        given=Hierarchy(loss_func.class_labels[:, given]),
        # live proxies are nowhere: the clustering takes the means itself
        centroids=[class_vectors(loss_func.level_loss(level), loss_func.layout) for level in coarse]
        if loss_func.is_active and loss_func.coarse_proxies != "live"
        else None,
        clusterer=loss_func.clusterer,
    )
    table = torch.tensor(tree.class_labels, device=loss_func.class_labels.device)
    if num_processes() > 1:
        take_from_first_process(table)
    loss_func.class_labels = table
