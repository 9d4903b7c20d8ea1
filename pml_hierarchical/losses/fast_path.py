"""When the fused functions of :mod:`.fast` compute the same as the losses of PML, and the call."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from pytorch_metric_learning import distances, reducers
from pytorch_metric_learning import losses as pml_losses

from . import fast
from .proxy_access import ProxyLayout, get_proxies

# For each loss: the function, and the setting of it that is an attribute of the loss.
_FAST: dict[type, tuple[Callable[..., Any], tuple[str, ...]]] = {
    pml_losses.ProxyAnchorLoss: (fast.proxy_anchor, ("margin", "alpha")),
    pml_losses.ProxyNCALoss: (fast.proxy_nca, ("softmax_scale",)),
    pml_losses.NormalizedSoftmaxLoss: (fast.normalized_softmax, ("temperature",)),
    pml_losses.CosFaceLoss: (fast.cosface, ("margin", "scale")),
    pml_losses.ArcFaceLoss: (fast.arcface, ("margin", "scale")),
}


def fast_losses(
    level_losses: Sequence[Any],
    layout: ProxyLayout,
    embeddings: torch.Tensor,
    labels: torch.Tensor,
    weights: Sequence[float],
    live: Mapping[int, torch.Tensor],
    classes: torch.Tensor | None = None,
) -> tuple[torch.Tensor, torch.Tensor] | None:
    """The weighted sum over the levels, and the detached losses of the levels, in one operation.

    Arguments:
        level_losses: the losses of PML of the levels that take part, finest first.
        layout: where their proxies are.
        embeddings: ``(batch_size, embedding_size)``.
        labels: ``int64`` of shape ``(levels, batch_size)``.
        weights: of the levels.
        live: proxies to take in the place of a level's own.
        classes: the fine classes that take part, ascending; the labels of level 0 count among
            them. By default all.

    Returns:
        ``None`` if a level has anything but PML's own class, default distance, reducer and no
        regularizer, or if numbers are not plain ``float32`` or ``float64``: then the losses of PML
        must be called.
    """
    fine = level_losses[0]
    if type(fine) not in _FAST or not all(
        type(loss) is type(fine) and is_plain(loss) for loss in level_losses
    ):
        return None
    proxies = [
        get_proxies(loss, layout) if level not in live else _rows(live[level], layout)
        for level, loss in enumerate(level_losses)
    ]
    if classes is not None:
        proxies[0] = proxies[0].index_select(0, classes)
    dtype = proxies[0].dtype
    if (
        dtype not in (torch.float32, torch.float64)
        or embeddings.dtype != dtype
        or embeddings.device != proxies[0].device
        or torch.is_autocast_enabled(embeddings.device.type)
    ):
        return None
    function, names = _FAST[type(fine)]
    settings: dict[str, Any] = {
        name: [float(getattr(loss, name)) for loss in level_losses] for name in names
    }
    if isinstance(fine, pml_losses.NormalizedSoftmaxLoss):
        normalises = [loss.distance.normalize_embeddings for loss in level_losses]
        if len(set(normalises)) > 1:
            return None
        settings["normalize_embeddings"] = normalises[0]
    found: tuple[torch.Tensor, torch.Tensor] = function(
        embeddings, proxies, labels, weights=weights, **settings
    )
    return found


def _rows(stored: torch.Tensor, layout: ProxyLayout) -> torch.Tensor:
    return stored if layout.class_dim == 0 else stored.t()


def is_plain(loss: Any) -> bool:
    """Whether a loss of PML is of the class itself, with nothing but settings of its own."""
    return (
        loss.weight_regularizer is None
        and loss.embedding_regularizer is None
        and not loss.collect_stats
        and _has_plain_distance(loss)
        and _has_plain_reducer(loss)
    )


def _has_plain_distance(loss: Any) -> bool:
    distance = loss.distance
    if distance.p != 2 or distance.collect_stats:
        return False
    if isinstance(loss, pml_losses.ProxyNCALoss):
        squared = type(distance) is distances.LpDistance and distance.power == 2
        return squared and distance.normalize_embeddings
    if isinstance(loss, pml_losses.NormalizedSoftmaxLoss):
        products = (distances.DotProductSimilarity, distances.CosineSimilarity)
        return type(distance) in products and distance.power == 1
    return type(distance) is distances.CosineSimilarity and distance.power == 1


def _has_plain_reducer(loss: Any) -> bool:
    reducer = loss.reducer
    if reducer.collect_stats:
        return False
    if not isinstance(loss, pml_losses.ProxyAnchorLoss):
        return type(reducer) is reducers.MeanReducer
    return type(reducer) is reducers.MultipleReducers and all(
        type(one) is reducers.DivisorReducer and not one.collect_stats
        for one in reducer.reducers.values()
    )
