"""Where the proxies are inside a proxy loss of PML, and in which layout."""

from __future__ import annotations

from typing import NamedTuple

import torch
from pytorch_metric_learning import losses as pml_losses


class ProxyLayout(NamedTuple):
    """The attribute that holds the proxies, and the dimension of it that counts the classes."""

    attribute: str
    class_dim: int


# Subclasses inherit the layout of the nearest class in their method resolution order.
_LAYOUTS: dict[type, ProxyLayout] = {
    pml_losses.ProxyAnchorLoss: ProxyLayout("proxies", 0),
    pml_losses.ProxyNCALoss: ProxyLayout("proxies", 0),
    pml_losses.NormalizedSoftmaxLoss: ProxyLayout("W", 1),
    pml_losses.LargeMarginSoftmaxLoss: ProxyLayout("W", 1),  # and ArcFace, CosFace, SphereFace
}


def register_proxy_loss(loss_class: type, attribute: str, class_dim: int = 0) -> None:
    """Make a proxy loss of your own a base for ``HierarchicalProxyLoss``, its subclasses included.

    Arguments:
        loss_class: a subclass of PML's ``BaseMetricLossFunction`` whose constructor takes
            ``num_classes`` and ``embedding_size``.
        attribute: the name of the ``torch.nn.Parameter`` that holds the proxies.
        class_dim: 0 if its shape is ``(num_classes, embedding_size)``, 1 if it is
            ``(embedding_size, num_classes)``.

    Raises:
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
    if class_dim not in (0, 1):
        raise ValueError(f"class_dim must be 0 or 1, got {class_dim!r}")
    _LAYOUTS[loss_class] = ProxyLayout(attribute, class_dim)


def layout_of(loss: torch.nn.Module, num_classes: int) -> ProxyLayout:
    """Find the layout of a loss, and check that it has one proxy for each class.

    Raises:
        TypeError: if the loss is not a proxy loss that is known here.
    """
    name = type(loss).__name__
    for parent in type(loss).__mro__:
        if parent in _LAYOUTS:
            layout = _LAYOUTS[parent]
            break
    else:
        known = ", ".join(sorted(known.__name__ for known in _LAYOUTS))
        raise TypeError(
            f"base_loss made a {name}, which is not known to have one proxy per class. A "
            "hierarchy of proxies needs proxies to build on, so pair and triplet losses cannot "
            f"be a base. Known are {known} and their subclasses; a proxy loss of your own is "
            "made known by losses.register_proxy_loss(...)."
        )
    count = getattr(loss, layout.attribute).shape[layout.class_dim]
    if count != num_classes:
        raise TypeError(
            f"base_loss made a {name} with {count} proxies for {num_classes} classes. Losses "
            "with several centres per class are not supported as a base."
        )
    return layout


def get_proxies(loss: torch.nn.Module, layout: ProxyLayout) -> torch.Tensor:
    """A view of the proxies of shape ``(num_classes, embedding_size)``."""
    stored: torch.Tensor = getattr(loss, layout.attribute)
    return stored if layout.class_dim == 0 else stored.t()


def hold_fixed(loss: torch.nn.Module, layout: ProxyLayout) -> None:
    """Turn the proxies of a loss from a parameter into a buffer, which no optimizer changes."""
    stored = getattr(loss, layout.attribute).detach()
    delattr(loss, layout.attribute)
    loss.register_buffer(layout.attribute, stored)


def normalises(loss: torch.nn.Module) -> bool:
    """Whether only the direction of a proxy matters to the loss."""
    return bool(getattr(loss.distance, "normalize_embeddings", False))
