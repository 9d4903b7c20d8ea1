"""The base losses that can be divided, and their settings as numbers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pytorch_metric_learning import losses as pml_losses

from ..fast.options import Options
from ..fast_path import is_plain

_UNSUPPORTED = {"coarse_proxies": "fixed", "fast_path": True}


def _numbers(loss: Any) -> tuple[str, float, float] | None:
    """The name of a loss of PML in :mod:`..fast`, its margin, and the factor of the cosines."""
    kind = type(loss)  # a subclass may compute something else
    if kind is pml_losses.ProxyAnchorLoss:
        return "proxy_anchor", loss.margin, loss.alpha
    if kind is pml_losses.ProxyNCALoss:  # the squared distance of unit vectors is 2 - 2 cos
        return "proxy_nca", 0.0, 2.0 * loss.softmax_scale
    if kind is pml_losses.NormalizedSoftmaxLoss:
        return "normalized_softmax", 0.0, 1.0 / loss.temperature
    if kind is pml_losses.CosFaceLoss:
        return "cosface", loss.margin, loss.scale
    if kind is pml_losses.ArcFaceLoss:
        return "arcface", loss.margin, loss.scale
    return None


def setting_of(
    level_losses: Sequence[Any], sizes: Sequence[int], save_memory: bool, block_size: int
) -> Options:
    """The settings of one loss of PML for each level; the weights are still to be set.

    Raises:
        TypeError: for a loss that cannot be divided.
        ValueError: for a distance, reducer or regularizer other than the loss's own.
    """
    found = [_numbers(loss) for loss in level_losses]
    known = [numbers for numbers in found if numbers is not None]
    if len(known) < len(found):
        raise TypeError(
            f"base_loss makes a {type(level_losses[0]).__name__}, whose classes cannot be divided "
            "among processes. Those of PML's ProxyAnchorLoss, ProxyNCALoss, NormalizedSoftmaxLoss, "
            "CosFaceLoss and ArcFaceLoss can (not of their subclasses); for any other, use "
            "HierarchicalProxyLoss with DistributedLossWrapper."
        )
    for level, loss in enumerate(level_losses):
        if not is_plain(loss):
            raise ValueError(
                f"the {type(loss).__name__} of level {level} has a distance, reducer, regularizer "
                "or collect_stats other than its default, which cannot be divided among "
                "processes: leave it out, or use HierarchicalProxyLoss with DistributedLossWrapper"
            )
    normalize = {bool(loss.distance.normalize_embeddings) for loss in level_losses}
    if len(normalize) > 1:
        raise ValueError("all levels must normalise embeddings, or none: their distances differ")
    kinds, margins, scales = zip(*known, strict=True)
    return Options(
        kinds[0],
        tuple(sizes),
        (1.0,) * len(sizes),
        tuple(map(float, margins)),
        tuple(map(float, scales)),
        normalize.pop(),
        block_size,
        save_memory,
    )


def refuse_unsupported(kwargs: dict[str, Any]) -> None:
    """Take the options of ``HierarchicalProxyLoss`` that have one value here out of ``kwargs``.

    Raises:
        ValueError: for another value.
    """
    for name, only in _UNSUPPORTED.items():
        if name in kwargs and (value := kwargs.pop(name)) != only:
            raise ValueError(
                f"{name} can only be {only!r} in ShardedHierarchicalProxyLoss, got {value!r}; "
                "HierarchicalProxyLoss has the other choices"
            )
