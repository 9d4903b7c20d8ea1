"""When the kernels compute the same as the losses of PML, and how they are called."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from numbers import Real
from typing import Any

import torch
from pytorch_metric_learning import distances, reducers
from pytorch_metric_learning import losses as pml_losses
from torch import Tensor

from ..kernels import AllLevels, Settings
from .checks import check_integer

#: The losses of PML that have a fast path (their subclasses may compute something else): what the
#: kernels call them, and the attributes with their margin, if they have one, and scale.
FAST_LOSSES = {
    pml_losses.ProxyAnchorLoss: ("proxy_anchor", "margin", "alpha"),
    pml_losses.ProxyNCALoss: ("proxy_nca", "", "softmax_scale"),
    pml_losses.NormalizedSoftmaxLoss: ("normalized_softmax", "", "temperature"),
    pml_losses.CosFaceLoss: ("cosface", "margin", "scale"),
    pml_losses.ArcFaceLoss: ("arcface", "margin", "scale"),
}


@dataclass(frozen=True)
class FastPath:
    """All levels in one operation, where that gives what PML's losses give, except for rounding
    (and for Proxy-NCA with proxies of length zero, where it differs).

    It is taken for Proxy-Anchor, Proxy-NCA, Normalized Softmax, CosFace and ArcFace in 32 or 64
    bits outside of autocast (there, pass ``embeddings.float()``), with two or more levels, default
    distances and reducers, and no miner or regularizer.

    Arguments:
        class_share: train each step on the classes of the batch and, up to this share of all fine
            classes, others drawn at random (Partial FC). 1 trains on all.
        save_memory: the softmax losses compute their exponentials a second time for the gradient
            instead of keeping ``batch_size * num_classes`` of them (Proxy-Anchor keeps none).
        seed: for drawing the classes.

    Raises ``TypeError`` for a share that is not a number, or a ``save_memory`` that is not a
    ``bool``, and ``ValueError`` for a share that is not above 0 and at most 1, or a negative seed.

    Example:
        >>> FastPath(class_share=0.1)
        FastPath(class_share=0.1, save_memory=False, seed=0)
    """

    class_share: float = 1.0
    save_memory: bool = False
    seed: int = 0

    def __post_init__(self) -> None:
        if isinstance(share := self.class_share, bool) or not isinstance(share, Real):
            raise TypeError(f"class_share must be a number, got {share!r}")
        if not 0 < share <= 1:
            raise ValueError(f"class_share must be above 0 and at most 1 (all), got {share}")
        if not isinstance(self.save_memory, bool):
            raise TypeError(f"save_memory must be True or False, got {self.save_memory!r}")
        check_integer("seed", self.seed, at_least=0)

    def __call__(
        self,
        losses: Sequence[Any],
        proxies: Sequence[Tensor],
        embeddings: Tensor,
        labels: Tensor,
        weights: Sequence[float],
        step: Tensor,
        plain: Callable[[Tensor, Sequence[Tensor]], Tensor] | None,
    ) -> tuple[Tensor, Tensor] | None:
        """The weighted sum over the levels, and their detached losses; ``None`` where the losses
        of PML must be called, or a ``ValueError`` if settings forbid that.

        Arguments:
            losses, proxies, weights: of the levels that take part, finest first.
            labels: ``int64`` of shape ``(levels, batch_size)``.
            step: the number of the training step.
            plain: the same sum, computed by PML's losses from embeddings and proxies: where a
                gradient is differentiated itself (``create_graph=True``), it is that of this sum.
        """
        is_training = losses[0].training and torch.is_grad_enabled()
        settings = settings_of(losses, weights, self.save_memory)
        if settings is None or not _fit(embeddings, proxies):
            if is_training and (self.class_share < 1 or self.save_memory):
                raise ValueError(
                    f"class_share={self.class_share} and save_memory={self.save_memory} need the "
                    "fast path, which this loss cannot take (half precision and autocast rule it "
                    "out, too): see FastPath, or set class_share=1 and save_memory=False"
                )
            return None
        dim = settings.class_dim
        sizes = tuple([one.shape[dim] for one in proxies])
        if self.class_share < 1 and is_training:
            drawn = self.class_share, self.seed + step
            classes, fine = sample_classes(labels[0].contiguous(), sizes[0], *drawn)
            proxies = [proxies[0].index_select(dim, classes), *proxies[1:]]
            labels = torch.cat([fine.unsqueeze(0), labels[1:]])
            sizes, plain = (len(classes), *sizes[1:]), None
        is_on = torch.is_grad_enabled()
        needs = tuple([is_on and one.requires_grad for one in (embeddings, *proxies)])
        plain = None if torch.compiler.is_compiling() else plain  # compiled: no second derivative
        settings = settings._replace(sizes=sizes)
        return AllLevels.apply(settings, needs, plain, None, embeddings, labels, *proxies)


def sample_classes(
    labels: Tensor, num_classes: int, share: float, seed: int | Tensor
) -> tuple[Tensor, Tensor]:
    """All classes of a batch, and others drawn at random up to a share of all classes.

    Source: An et al., "Partial FC: Training 10 Million Identities on a Single Machine", ICCVW 2021.

    Arguments:
        labels: ``int64`` of shape ``(batch_size,)``.
        share: of all classes; at least ``batch_size`` are taken, if there are that many, so that
            their number does not depend on the labels (reading it would wait for a GPU).
        seed: an integer, or a tensor that holds one, which is not read either.

    Returns:
        The classes, ascending, and the labels as positions among them.
    """
    # SplitMix64 (Steele et al., 2014) instead of a generator, which takes no seed from a tensor
    order = torch.arange(num_classes, device=labels.device) + seed * num_classes
    order *= -0x61C8864680B583EB
    for shift, factor in ((30, -0x40A7B892E31B1A47), (27, -0x6B2FB644ECCEEE15), (31, 1)):
        order.bitwise_xor_(order >> shift).mul_(factor)
    order = order.float().index_fill_(0, labels, torch.inf)  # before all others
    size = max(math.ceil(share * num_classes), min(len(labels), num_classes))
    classes = order.topk(size, sorted=False).indices.sort().values
    return classes, torch.searchsorted(classes, labels)


def get_engine(spec: Any) -> FastPath | None:
    """What the loss calls: the fast path by default, or ``None`` for ``"pml"``, PML's losses."""
    if spec is None or isinstance(spec, FastPath):
        return spec or FastPath()
    if isinstance(spec, str) and spec == "pml":
        return None
    known = "a FastPath, 'pml' (PML's loss per level) or None"
    raise ValueError(f"engine must be {known}, got {spec!r}")


def settings_of(
    losses: Sequence[Any], weights: Sequence[float], save_memory: bool = False
) -> Settings | None:
    """The losses of PML as numbers, without the sizes; ``None`` if the fast path cannot be taken
    for one of them (see :class:`FastPath`), or if the levels are of different kinds.
    """
    found = [one for one in map(_numbers_of, losses) if one is not None]
    if len(found) < len(losses):
        return None
    kinds, margins, scales = zip(*found, strict=True)
    normalizes = [loss.distance.normalize_embeddings for loss in losses]
    if len(set(kinds)) > 1 or len(set(normalizes)) > 1:
        return None
    class_dim = 0 if kinds[0] in ("proxy_anchor", "proxy_nca") else 1
    others = margins, scales, normalizes[0], save_memory, class_dim
    return Settings(kinds[0], (), tuple(weights), *others)


def _numbers_of(loss: Any) -> tuple[str, float, float] | None:
    """Which loss it is, its margin, and the factor that multiplies the cosines."""
    if type(loss) not in FAST_LOSSES or not _is_plain(loss):
        return None
    name, margin_name, scale_name = FAST_LOSSES[type(loss)]
    margin, scale = getattr(loss, margin_name, 0.0), getattr(loss, scale_name)
    if isinstance(margin, Tensor) or isinstance(scale, Tensor) or scale <= 0:
        return None  # a tensor may be learned, or differ between classes
    # the squared distance of unit vectors is 2 - 2 cos
    scale = {"proxy_nca": 2.0 * scale, "normalized_softmax": 1.0 / scale}.get(name, scale)
    return name, float(margin), float(scale)


def _fit(embeddings: Tensor, proxies: Sequence[Tensor]) -> bool:
    """Whether all numbers are ``float32``, or all ``float64``, and on one device."""
    dtype, device = embeddings.dtype, embeddings.device
    if not all(one.dtype == dtype and one.device == device for one in proxies):
        return False
    return dtype in (torch.float32, torch.float64) and not torch.is_autocast_enabled(device.type)


def _is_plain(loss: Any) -> bool:
    """Whether a loss has exactly its default distance and reducer, no regularizer or statistics."""
    distance, reducer, kind = loss.distance, loss.reducer, type(loss)
    power, known = 1, [distances.CosineSimilarity]
    if kind is pml_losses.ProxyNCALoss:
        power, known = 2, [distances.LpDistance]
    elif kind is pml_losses.NormalizedSoftmaxLoss:
        known = [distances.DotProductSimilarity, distances.CosineSimilarity]
    usual, parts = reducers.MeanReducer, [reducer]
    if kind is pml_losses.ProxyAnchorLoss:
        is_both = {*getattr(reducer, "reducers", ())} == {"pos_loss", "neg_loss"}
        is_both &= type(reducer) is reducers.MultipleReducers
        usual, parts = reducers.DivisorReducer, [*reducer.reducers.values()] if is_both else parts
    return (
        loss.weight_regularizer is None
        and loss.embedding_regularizer is None
        and type(distance) in known
        and (distance.p, distance.power) == (2, power)
        and (distance.normalize_embeddings or kind is pml_losses.NormalizedSoftmaxLoss)
        and all(type(part) is usual for part in parts)
        and not any(one.collect_stats for one in (loss, distance, reducer, *parts))
    )
