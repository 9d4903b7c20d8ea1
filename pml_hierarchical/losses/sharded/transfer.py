"""Between a loss in one process and one whose classes are divided."""

from __future__ import annotations

from typing import Any

import torch

from ...hierarchy import Hierarchy
from ..proxy_access import get_proxies, stored_form


def arguments_of(loss_func: Any) -> dict[str, Any]:
    """What either of the two losses was constructed with, for a new one of the other kind."""
    given = [level for level, is_given in enumerate(loss_func.is_given) if is_given]
    table = loss_func.class_labels[:, given].cpu()
    sizes = zip(loss_func.sizes, loss_func.is_given, strict=True)
    factory, weights = loss_func._factory, loss_func.weights
    return {
        **factory.kwargs,
        "num_classes": loss_func.num_classes,
        "embedding_size": loss_func.embedding_size,
        "base_loss": factory.base_loss,
        "hierarchy": Hierarchy(table, loss_func._names),
        "num_superclasses": tuple(size for size, is_given in sizes if not is_given),
        "level_weights": weights.fixed if weights.schedule is None else weights.schedule,
        "warmup": loss_func.schedule.warmup,
        "recluster_every": loss_func.schedule.every,
        "seed": loss_func.seed,
        "clusterer": loss_func.clusterer,
        "level_kwargs": factory.level_kwargs,
        "taxonomy": loss_func._records.taxonomy,
    }


def check_same(sharded: Any, whole: Any) -> None:
    """Raise unless a ``HierarchicalProxyLoss`` has the levels and the base loss of a divided one.

    Raises:
        TypeError: for another base loss.
        ValueError: for other sizes, or coarse proxies that are not fixed.
    """
    if whole.sizes != sharded.sizes or whole.embedding_size != sharded.embedding_size:
        raise ValueError(
            f"the unsharded loss has the sizes {whole.sizes} and embedding_size="
            f"{whole.embedding_size}, and this one {sharded.sizes} and "
            f"{sharded.embedding_size}: construct this one with from_unsharded(loss)"
        )
    found, own = type(whole.level_loss(0)), sharded.base_class
    if found is not own:
        raise TypeError(
            f"the unsharded loss is on {found.__name__}, and this one on {own.__name__}"
        )
    if whole.coarse_proxies != "fixed":
        raise ValueError(
            f"the unsharded loss has coarse_proxies={whole.coarse_proxies!r}, but only 'fixed' "
            "ones can be divided among processes"
        )


@torch.no_grad()
def copy_from_whole(sharded: Any, whole: Any) -> None:
    """Take this process's proxies, the hierarchy and the counters of an undivided loss."""
    check_same(sharded, whole)
    fine = get_proxies(whole.level_loss(0), whole.layout)
    sharded.local_proxies.copy_(fine[slice(*sharded.share)])
    sharded.class_labels = whole.class_labels.to(sharded.class_labels.device, copy=True)
    for level in range(1, len(sharded.sizes)):
        coarse = get_proxies(whole.level_loss(level), whole.layout)
        sharded.set_coarse_proxies(level, coarse.to(sharded.coarse_proxies(level), copy=True))
    sharded.schedule.load_state(whole.schedule.state())


@torch.no_grad()
def copy_to_whole(sharded: Any, whole: Any) -> None:
    """The inverse of :func:`copy_from_whole`; all processes have to call it."""
    check_same(sharded, whole)
    layout = whole.layout
    levels = [sharded.full_proxies()]
    levels += [sharded.coarse_proxies(level) for level in range(1, len(sharded.sizes))]
    for level, vectors in enumerate(levels):
        loss = whole.level_loss(level)
        getattr(loss, layout.attribute).copy_(stored_form(vectors, loss, layout))
    whole.class_labels = sharded.class_labels.to(whole.class_labels.device, copy=True)
    whole.schedule.load_state(sharded.schedule.state())
