"""When the fused functions of :mod:`.fast` compute the same as the losses of PML, and the call."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from pytorch_metric_learning import distances, reducers
from pytorch_metric_learning import losses as pml_losses

from .fast.autograd import all_levels
from .fast.options import Options
from .proxy_access import ProxyLayout


def numbers_of(loss: Any) -> tuple[str, float, float] | None:
    """The name of a loss of PML in :mod:`.fast`, its margin, and the factor of the cosines."""
    kind = type(loss)  # a subclass may compute something else
    if kind is pml_losses.ProxyAnchorLoss:
        return "proxy_anchor", float(loss.margin), float(loss.alpha)
    if kind is pml_losses.ProxyNCALoss:  # the squared distance of unit vectors is 2 - 2 cos
        return "proxy_nca", 0.0, 2.0 * loss.softmax_scale
    if kind is pml_losses.NormalizedSoftmaxLoss:
        return "normalized_softmax", 0.0, 1.0 / loss.temperature
    if kind is pml_losses.CosFaceLoss:
        return "cosface", float(loss.margin), float(loss.scale)
    if kind is pml_losses.ArcFaceLoss:
        return "arcface", float(loss.margin), float(loss.scale)
    return None


def fast_losses(
    level_losses: Sequence[Any],
    layout: ProxyLayout,
    embeddings: torch.Tensor,
    labels: torch.Tensor,
    weights: Sequence[float],
    live: Mapping[int, torch.Tensor],
    classes: torch.Tensor | None = None,
    save_memory: bool = False,
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
        save_memory: compute exponentials again for the gradient instead of keeping them.

    Returns:
        ``None`` if a level has anything but PML's own class, default distance, reducer and no
        regularizer, or if numbers are not plain ``float32`` or ``float64``: then the losses of PML
        must be called.
    """
    found = [numbers_of(loss) for loss in level_losses]
    numbers = [one for one in found if one is not None]
    if len(numbers) < len(found) or not all(map(is_plain, level_losses)):
        return None
    kinds, margins, scales = zip(*numbers, strict=True)
    normalizes = [loss.distance.normalize_embeddings for loss in level_losses]
    if len(set(kinds)) > 1 or len(set(normalizes)) > 1:
        return None
    proxies = [
        live.get(level, getattr(loss, layout.attribute)) for level, loss in enumerate(level_losses)
    ]
    if classes is not None:
        proxies[0] = proxies[0].index_select(layout.class_dim, classes)
    dtype = proxies[0].dtype
    if (
        dtype not in (torch.float32, torch.float64)
        or embeddings.dtype != dtype
        or embeddings.device != proxies[0].device
        or torch.is_autocast_enabled(embeddings.device.type)
    ):
        return None
    sizes = tuple([one.shape[layout.class_dim] for one in proxies])
    options = Options(
        kinds[0], sizes, tuple(weights), margins, scales, normalizes[0], 0, save_memory
    )
    return all_levels(embeddings, proxies, labels, options, layout.class_dim)


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
