"""Where the proxies are inside a proxy loss of PML, and in which layout."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from pytorch_metric_learning import losses as pml_losses


@dataclass(frozen=True)
class ProxyLayout:
    """How a class of losses keeps its proxies; see :func:`register_proxy_loss`."""

    attribute: str
    class_dim: int = 0
    centers: str | None = None
    direction_only: bool | None = None
    size_argument: str = "embedding_size"
    needs_norm: bool = False  # an embedding of zero length makes the loss NaN


# Subclasses inherit the layout of the nearest class in their method resolution order.
_LAYOUTS: dict[type, ProxyLayout] = {
    pml_losses.ProxyAnchorLoss: ProxyLayout("proxies"),
    pml_losses.ProxyNCALoss: ProxyLayout("proxies"),
    # these normalise W themselves, whatever their distance does
    pml_losses.NormalizedSoftmaxLoss: ProxyLayout("W", 1, direction_only=True),
    pml_losses.CosFaceLoss: ProxyLayout("W", 1, direction_only=True),
    pml_losses.ArcFaceLoss: ProxyLayout("W", 1, direction_only=True),
    pml_losses.SphereFaceLoss: ProxyLayout("W", 1, direction_only=True),
    # its logits grow with the length of a proxy
    pml_losses.LargeMarginSoftmaxLoss: ProxyLayout("W", 1, direction_only=False),
    pml_losses.SubCenterArcFaceLoss: ProxyLayout("W", 1, "sub_centers", direction_only=True),
    pml_losses.SoftTripleLoss: ProxyLayout("fc", 1, "centers_per_class"),
    pml_losses.P2SGradLoss: ProxyLayout(
        "weight", 1, direction_only=True, size_argument="descriptors_dim", needs_norm=True
    ),
}


def register_proxy_loss(
    loss_class: type,
    attribute: str,
    class_dim: int = 0,
    centers: str | None = None,
    direction_only: bool | None = None,
    size_argument: str = "embedding_size",
) -> None:
    """Make a proxy loss of your own a base for ``HierarchicalProxyLoss``, its subclasses included.

    A subclass of one of PML's proxy losses needs no registration.

    Arguments:
        loss_class: a subclass of PML's ``BaseMetricLossFunction`` whose constructor takes
            ``num_classes`` and ``embedding_size``.
        attribute: the name of the ``torch.nn.Parameter`` that holds the proxies.
        class_dim: 0 if its shape is ``(num_classes, embedding_size)``, 1 if it is
            ``(embedding_size, num_classes)``.
        centers: for a loss with several centres per class, the name of the attribute that says
            how many; the centres of a class are neighbours in ``class_dim``.
        direction_only: whether the length of a proxy is of no matter to the loss. By default
            whether its ``distance`` normalises.
        size_argument: the constructor's name for ``embedding_size``.

    Raises:
        TypeError: if ``loss_class`` is not a class of losses.
        ValueError: if ``class_dim`` is neither 0 nor 1.

    Example:
        >>> from pml_hierarchical import losses
        >>> class MyLoss(losses.BaseMetricLossFunction):
        ...     def __init__(self, num_classes, embedding_size, **kwargs):
        ...         super().__init__(**kwargs)
        ...         self.centres = torch.nn.Parameter(torch.randn(num_classes, embedding_size))
        >>> register_proxy_loss(MyLoss, "centres")
        >>> losses.HierarchicalProxyLoss(20, 8, base_loss=MyLoss).level_loss(0).centres.shape
        torch.Size([20, 8])
    """
    if not (
        isinstance(loss_class, type) and issubclass(loss_class, pml_losses.BaseMetricLossFunction)
    ):
        raise TypeError(
            f"loss_class must be a subclass of PML's BaseMetricLossFunction, got {loss_class!r}"
        )
    if class_dim not in (0, 1):
        raise ValueError(f"class_dim must be 0 or 1, got {class_dim!r}")
    _LAYOUTS[loss_class] = ProxyLayout(attribute, class_dim, centers, direction_only, size_argument)


def size_argument(base_loss: Callable[..., Any]) -> str:
    """What the constructor of a base loss calls the embedding size; checks ``base_loss`` first.

    Raises:
        TypeError: for a loss that is constructed already, or a class without proxies.
    """
    if isinstance(base_loss, torch.nn.Module) or not callable(base_loss):
        raise TypeError(
            "base_loss must be a class of proxy losses or a callable that makes one for "
            f"num_classes and embedding_size, got {type(base_loss).__name__} (an object). Pass "
            "the class, and its settings as keyword arguments of HierarchicalProxyLoss."
        )
    while isinstance(base_loss, partial):
        base_loss = base_loss.func
    return (
        _find_layout(base_loss).size_argument if isinstance(base_loss, type) else "embedding_size"
    )


def layout_of(loss: torch.nn.Module, num_classes: int) -> ProxyLayout:
    """The layout of a loss, after a check that it has the proxies of ``num_classes`` classes.

    Raises:
        TypeError: if the loss is not a proxy loss that is known here, or has other proxies.
    """
    name = type(loss).__name__
    layout = _find_layout(type(loss))
    stored = getattr(loss, layout.attribute, None)
    if not isinstance(stored, torch.Tensor) or stored.ndim != 2:
        raise TypeError(
            f"base_loss made a {name} whose {layout.attribute!r} is not a 2-D tensor of proxies: "
            f"{type(stored).__name__}"
        )
    count, expected = stored.shape[layout.class_dim], num_classes * num_centers(loss, layout)
    if count != expected:
        raise TypeError(
            f"base_loss made a {name} with {count} proxies in dimension {layout.class_dim} of "
            f"{layout.attribute!r} for {num_classes} classes; expected {expected}"
        )
    return layout


def _find_layout(loss_class: type) -> ProxyLayout:
    for parent in loss_class.__mro__:
        if parent in _LAYOUTS:
            return _LAYOUTS[parent]
    known = ", ".join(sorted(known.__name__ for known in _LAYOUTS))
    raise TypeError(
        f"base_loss is a {loss_class.__name__}, which is not known to have proxies. A hierarchy "
        "of proxies needs one or more learned vectors for each class to build on: pair and "
        "triplet losses compare embeddings with each other and have none, so they cannot be a "
        f"base. Known are {known} and their subclasses; a proxy loss of your own is made known "
        "by losses.register_proxy_loss(...)."
    )


def num_centers(loss: torch.nn.Module, layout: ProxyLayout) -> int:
    """How many proxies each class has."""
    return 1 if layout.centers is None else int(getattr(loss, layout.centers))


def direction_only(loss: torch.nn.Module, layout: ProxyLayout) -> bool:
    """Whether only the direction of a proxy matters to the loss."""
    if layout.direction_only is not None:
        return layout.direction_only
    return bool(getattr(loss.distance, "normalize_embeddings", False))


def get_proxies(loss: torch.nn.Module, layout: ProxyLayout) -> torch.Tensor:
    """A view of the proxies of shape ``(num_classes * num_centers, embedding_size)``."""
    stored: torch.Tensor = getattr(loss, layout.attribute)
    return stored if layout.class_dim == 0 else stored.t()


def class_vectors(loss: torch.nn.Module, layout: ProxyLayout) -> torch.Tensor:
    """One vector for each class, of shape ``(num_classes, embedding_size)``; differentiable.

    Its proxy, as a direction of unit length where only that matters; the mean of them where a
    class has several.
    """
    # norms and sums over a transposed view of many classes take ten times as long
    proxies = get_proxies(loss, layout).contiguous()
    if direction_only(loss, layout):
        proxies = torch.nn.functional.normalize(proxies)
    centers = num_centers(loss, layout)
    return proxies if centers == 1 else proxies.unflatten(0, (-1, centers)).mean(dim=1)


def stored_form(vectors: torch.Tensor, loss: torch.nn.Module, layout: ProxyLayout) -> torch.Tensor:
    """One vector per class as the loss keeps its proxies: repeated for every centre, transposed."""
    proxies = vectors.repeat_interleave(num_centers(loss, layout), dim=0)
    return proxies if layout.class_dim == 0 else proxies.t()


def hold_fixed(loss: torch.nn.Module, layout: ProxyLayout) -> None:
    """Turn the proxies of a loss from a parameter into a buffer, which no optimizer changes."""
    stored = getattr(loss, layout.attribute).detach()
    delattr(loss, layout.attribute)
    loss.register_buffer(layout.attribute, stored)
