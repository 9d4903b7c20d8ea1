"""PML's losses and the hierarchical one: a drop-in for ``pytorch_metric_learning.losses``."""

from typing import TYPE_CHECKING, Any

from pytorch_metric_learning import losses as _pml_losses
from pytorch_metric_learning.losses import *  # noqa: F403

from .fast_path import FastPath
from .hierarchical_proxy_loss import HierarchicalProxyLoss
from .registration import register_proxy_loss
from .sharded_hierarchical_proxy_loss import ShardedHierarchicalProxyLoss

if TYPE_CHECKING:  # PML has no types: to a type checker, its names are Any

    def __getattr__(name: str) -> Any: ...


__all__ = [
    *(name for name, value in vars(_pml_losses).items() if isinstance(value, type)),
    "FastPath",
    "HierarchicalProxyLoss",
    "ShardedHierarchicalProxyLoss",
    "register_proxy_loss",
]
