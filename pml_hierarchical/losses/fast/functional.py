"""The functions to call: one per loss of PML, over one level or many."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch

from .autograd import all_levels
from .checks import check_shapes, per_level
from .options import Options

Proxies = torch.Tensor | Sequence[torch.Tensor]
PerLevel = float | Sequence[float]
Losses = tuple[torch.Tensor, torch.Tensor]

_28_6_DEGREES = math.radians(28.6)


def proxy_anchor(
    embeddings: torch.Tensor,
    proxies: Proxies,
    labels: torch.Tensor,
    *,
    sizes: Sequence[int] | None = None,
    weights: PerLevel = 1.0,
    margin: PerLevel = 0.1,
    alpha: PerLevel = 32.0,
    block_size: int | None = None,
) -> Losses:
    r"""Proxy-Anchor, as PML's ``ProxyAnchorLoss`` with its default distance and reducer.

    .. math:: L = \sum_l w_l L_l

    Arguments:
        embeddings: ``(batch_size, embedding_size)``.
        proxies: ``(classes, embedding_size)``, or several such tensors; together their rows are the
            proxies of all levels, finest level first, and no level is divided between two tensors.
            Any strides will do: PML's ``W`` is passed as ``W.t()``, of which no copy is made, and
            gets its gradient in its own layout. ``float32`` or ``float64``.
        labels: integers of shape ``(levels, batch_size)``, or ``(batch_size,)`` for one level.
        sizes: the number of classes of each level; by default every tensor is a level.
        weights: :math:`w_l`; a single number holds for all levels, here and below.
        margin: :math:`\delta`.
        alpha: :math:`\alpha`.
        block_size: how many classes to work on at once; by default what suits the device.

    Returns:
        The total, which can be differentiated once, and the unweighted losses of the levels,
        ``(levels,)``, which cannot.

    Raises:
        ValueError: for shapes that do not fit.
        TypeError: for proxies of another number type.

    Example:
        >>> fine, coarse = torch.randn(100, 8, requires_grad=True), torch.randn(10, 8)
        >>> labels = torch.randint(100, (16,))
        >>> total, losses = proxy_anchor(
        ...     torch.randn(16, 8), (fine, coarse), torch.stack([labels, labels // 10]),
        ...     weights=(1.0, 0.3),
        ... )
        >>> total.backward()
        >>> losses.shape
        torch.Size([2])
    """
    return _all_levels(
        "proxy_anchor", embeddings, proxies, labels, sizes, weights, margin, alpha,
        block_size=block_size,
    )  # fmt: skip


def proxy_nca(
    embeddings: torch.Tensor,
    proxies: Proxies,
    labels: torch.Tensor,
    *,
    sizes: Sequence[int] | None = None,
    weights: PerLevel = 1.0,
    softmax_scale: PerLevel = 1.0,
    block_size: int | None = None,
    save_memory: bool = False,
) -> Losses:
    r"""Proxy-NCA, as PML's ``ProxyNCALoss``; arguments as in :func:`proxy_anchor`.

    The squared distance of unit vectors is :math:`2 - 2 \cos`, and the softmax does not see a
    constant: it is Normalized Softmax of scale :math:`2 s`. As in PML, the mean of a level is over
    the samples whose probability is not rounded to 0, that is, whose loss is below 104 in
    ``float32`` or 745 in ``float64``. If there is none, the level is 0 (PML: NaN). A proxy that is
    exactly zero is not the unit vector that this takes it for; PML puts it at distance 1.

    Arguments:
        softmax_scale: :math:`s`.
        save_memory: compute the exponentials a second time for the gradient instead of keeping
            ``batch_size * classes`` of them.
    """
    scale = [2.0 * one for one in per_level(softmax_scale, _levels(labels), "softmax_scale")]
    return _all_levels(
        "proxy_nca", embeddings, proxies, labels, sizes, weights, 0.0, scale,
        block_size=block_size, save_memory=save_memory,
    )  # fmt: skip


def normalized_softmax(
    embeddings: torch.Tensor,
    proxies: Proxies,
    labels: torch.Tensor,
    *,
    sizes: Sequence[int] | None = None,
    weights: PerLevel = 1.0,
    temperature: PerLevel = 0.05,
    normalize_embeddings: bool = True,
    block_size: int | None = None,
    save_memory: bool = False,
) -> Losses:
    """Normalized Softmax, as PML's ``NormalizedSoftmaxLoss``; arguments as in :func:`proxy_nca`.

    Arguments:
        temperature: what the cosines are divided by.
        normalize_embeddings: as in the loss's distance. The proxies are normalised in any case.
    """
    levels = _levels(labels)
    scale = [1.0 / one for one in per_level(temperature, levels, "temperature")]
    return _all_levels(
        "normalized_softmax", embeddings, proxies, labels, sizes, weights, 0.0, scale,
        normalize=normalize_embeddings, block_size=block_size, save_memory=save_memory,
    )  # fmt: skip


def cosface(
    embeddings: torch.Tensor,
    proxies: Proxies,
    labels: torch.Tensor,
    *,
    sizes: Sequence[int] | None = None,
    weights: PerLevel = 1.0,
    margin: PerLevel = 0.35,
    scale: PerLevel = 64.0,
    block_size: int | None = None,
    save_memory: bool = False,
) -> Losses:
    """CosFace, as PML's ``CosFaceLoss``; arguments as in :func:`proxy_nca`.

    Arguments:
        margin: taken from the cosine of the target.
        scale: what the cosines are multiplied with.
    """
    return _all_levels(
        "cosface", embeddings, proxies, labels, sizes, weights, margin, scale,
        block_size=block_size, save_memory=save_memory,
    )  # fmt: skip


def arcface(
    embeddings: torch.Tensor,
    proxies: Proxies,
    labels: torch.Tensor,
    *,
    sizes: Sequence[int] | None = None,
    weights: PerLevel = 1.0,
    margin: PerLevel = _28_6_DEGREES,
    scale: PerLevel = 64.0,
    block_size: int | None = None,
    save_memory: bool = False,
) -> Losses:
    """ArcFace, as PML's ``ArcFaceLoss``; arguments as in :func:`proxy_nca`.

    The gradient is finite where an embedding points exactly to its proxy, too, and the derivative
    of the arc cosine is not.

    Arguments:
        margin: in radians, as PML's loss holds it in ``loss.margin`` (its constructor takes
            degrees); the default is 28.6 degrees.
        scale: what the cosines are multiplied with.
    """
    return _all_levels(
        "arcface", embeddings, proxies, labels, sizes, weights, margin, scale,
        block_size=block_size, save_memory=save_memory,
    )  # fmt: skip


def _all_levels(
    kind: str,
    embeddings: torch.Tensor,
    proxies: Proxies,
    labels: torch.Tensor,
    sizes: Sequence[int] | None,
    weights: PerLevel,
    margins: PerLevel,
    scales: PerLevel,
    normalize: bool = True,
    block_size: int | None = None,
    save_memory: bool = False,
) -> Losses:
    parts = (proxies,) if isinstance(proxies, torch.Tensor) else tuple(proxies)
    if labels.ndim == 1:
        labels = labels.unsqueeze(0)
    levels = tuple(int(size) for size in sizes) if sizes else tuple(len(part) for part in parts)
    check_shapes(embeddings, parts, labels, levels)
    options = Options(
        kind,
        levels,
        per_level(weights, len(levels), "weights"),
        per_level(margins, len(levels), "margin"),
        per_level(scales, len(levels), "scale"),
        normalize,
        block_size or 0,
        save_memory,
    )
    return all_levels(embeddings.to(parts[0].dtype), parts, labels.long(), options)


def _levels(labels: torch.Tensor) -> int:
    return 1 if labels.ndim == 1 else len(labels)
