"""The base losses that can be divided, and their settings as numbers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ..fast.options import Options
from ..fast_path import is_plain, numbers_of

_UNSUPPORTED = {"coarse_proxies": "fixed", "fast_path": True}


def setting_of(
    level_losses: Sequence[Any], sizes: Sequence[int], save_memory: bool, block_size: int
) -> Options:
    """The settings of one loss of PML for each level; the weights are still to be set.

    Raises:
        TypeError: for a loss that cannot be divided.
        ValueError: for a distance, reducer or regularizer other than the loss's own.
    """
    found = [numbers_of(loss) for loss in level_losses]
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
        margins,
        scales,
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
