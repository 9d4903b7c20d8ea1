"""Every proxy loss of PML, and where its proxies are, written down apart from the package."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import torch
from pytorch_metric_learning import losses as pml


@dataclass(frozen=True)
class Base:
    loss_class: type
    attribute: str
    class_dim: int
    kwargs: dict[str, Any] = field(default_factory=dict)
    centers: int = 1
    size_argument: str = "embedding_size"
    direction_only: bool = True
    quarter: dict[str, float] = field(default_factory=dict)  # a quarter of the usual scale

    def make(self, num_classes: int, embedding_size: int, **kwargs: Any) -> Any:
        """PML's own loss."""
        size = {self.size_argument: embedding_size}
        return self.loss_class(num_classes=num_classes, **size, **{**self.kwargs, **kwargs})

    def proxies(self, loss: Any) -> torch.Tensor:
        """``(num_classes, centers, embedding_size)``."""
        stored = getattr(loss, self.attribute)
        rows = stored if self.class_dim == 0 else stored.t()
        return rows.reshape(-1, self.centers, rows.shape[1])

    def write(self, loss: Any, proxies: torch.Tensor) -> None:
        """The inverse of ``proxies``; a class with one vector gets it for all its centres."""
        rows = proxies.expand(-1, self.centers, -1).reshape(-1, proxies.shape[-1])
        getattr(loss, self.attribute).data = rows if self.class_dim == 0 else rows.t().contiguous()


BASES = {
    "ProxyAnchorLoss": Base(pml.ProxyAnchorLoss, "proxies", 0, quarter={"alpha": 8}),
    "ProxyNCALoss": Base(
        pml.ProxyNCALoss, "proxies", 0, {"softmax_scale": 8}, quarter={"softmax_scale": 2}
    ),
    "NormalizedSoftmaxLoss": Base(pml.NormalizedSoftmaxLoss, "W", 1, quarter={"temperature": 0.2}),
    "ArcFaceLoss": Base(pml.ArcFaceLoss, "W", 1, quarter={"scale": 16}),
    "CosFaceLoss": Base(pml.CosFaceLoss, "W", 1, quarter={"scale": 16}),
    "SubCenterArcFaceLoss": Base(
        pml.SubCenterArcFaceLoss, "W", 1, centers=3, quarter={"scale": 16}
    ),
    "SoftTripleLoss": Base(
        pml.SoftTripleLoss, "fc", 1, {"centers_per_class": 4}, centers=4, quarter={"la": 5}
    ),
    "LargeMarginSoftmaxLoss": Base(
        pml.LargeMarginSoftmaxLoss, "W", 1, direction_only=False, quarter={"scale": 0.25}
    ),
    "SphereFaceLoss": Base(pml.SphereFaceLoss, "W", 1, quarter={"scale": 0.25}),
    "P2SGradLoss": Base(pml.P2SGradLoss, "weight", 1, size_argument="descriptors_dim"),
}
