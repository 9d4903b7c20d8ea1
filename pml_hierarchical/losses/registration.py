"""Proxy losses of your own as bases of ``HierarchicalProxyLoss``."""

from __future__ import annotations

from pytorch_metric_learning.losses import BaseMetricLossFunction

from ..core.level_losses import LAYOUTS, ProxyLayout


def register_proxy_loss(
    loss_class: type,
    attribute: str,
    class_dim: int = 0,
    centers: str | int = 1,
    direction_only: bool | None = None,
    size_argument: str = "embedding_size",
    scale: str = "",
) -> None:
    """Make a proxy loss of your own, and its subclasses, a base for ``HierarchicalProxyLoss``.

    A subclass of one of PML's proxy losses needs no registration.

    Arguments:
        loss_class: a subclass of PML's ``BaseMetricLossFunction`` whose constructor takes
            ``num_classes`` and ``embedding_size``; a ``TypeError`` for anything else.
        attribute: the name of the ``torch.nn.Parameter`` that holds the proxies.
        class_dim: 0 if its shape is ``(num_classes, embedding_size)``, 1 if it is
            ``(embedding_size, num_classes)``; a ``ValueError`` for another number.
        centers: proxies per class, or the name of the attribute that says how many; the centres of
            a class are neighbours in ``class_dim``.
        direction_only: whether the loss ignores the length of a proxy. By default whether its
            ``distance`` normalises.
        size_argument: the constructor's name for ``embedding_size``.
        scale: the attribute that similarities are multiplied by, or after ``"1/"`` the one that
            they are divided by, such as ``"1/temperature"``; ``coarse_scale`` changes it.

    Example:
        >>> import torch
        >>> from pml_hierarchical import losses
        >>> class MyLoss(losses.BaseMetricLossFunction):
        ...     def __init__(self, num_classes, embedding_size, **kwargs):
        ...         super().__init__(**kwargs)
        ...         self.centres = torch.nn.Parameter(torch.randn(num_classes, embedding_size))
        >>> register_proxy_loss(MyLoss, "centres")
        >>> losses.HierarchicalProxyLoss(20, 8, base_loss=MyLoss).centres.shape
        torch.Size([20, 8])
    """
    if not (isinstance(loss_class, type) and issubclass(loss_class, BaseMetricLossFunction)):
        rule = "loss_class must be a subclass of PML's BaseMetricLossFunction"
        raise TypeError(f"{rule}, got {loss_class!r}")
    if class_dim not in (0, 1):
        raise ValueError(f"class_dim must be 0 or 1, got {class_dim!r}")
    known = (attribute, class_dim, centers, direction_only, size_argument)
    LAYOUTS[loss_class] = ProxyLayout(*known, scale=scale)
