"""A hook for PML's trainers that updates the hierarchy of their losses."""

from collections.abc import Callable
from typing import Any

import torch
from pytorch_metric_learning.utils import common_functions as c_f

from .hierarchical_proxy_loss import HierarchicalProxyLoss


class ReclusterHook:
    """An ``end_of_iteration_hook`` that updates every :class:`HierarchicalProxyLoss` of a trainer,
    when its warm-up is over and then every ``every`` steps, as counted by the loss. These losses
    need ``recluster_every=None``. ``next_hook``, such as PML's, is called afterwards."""

    def __init__(self, every: int, next_hook: Callable[[Any], Any] = c_f.return_input) -> None:
        if every < 1:
            raise ValueError(f"every must be at least 1 iteration, got {every}")
        self.every, self.next_hook = every, next_hook

    def __call__(self, trainer: Any) -> None:
        """Update the losses of ``trainer`` that are due, then call the next hook."""
        modules = [f for f in trainer.loss_funcs.values() if isinstance(f, torch.nn.Module)]
        found = [m for f in modules for m in f.modules() if isinstance(m, HierarchicalProxyLoss)]
        if not found or any(loss.recluster_every is not None for loss in found):
            raise ValueError(
                "ReclusterHook needs a HierarchicalProxyLoss with recluster_every=None; the losses "
                f"{[type(f).__name__ for f in modules]} have {[f.recluster_every for f in found]}"
            )
        for loss in (one for one in found if one.is_due(self.every)):
            loss.recluster()
        self.next_hook(trainer)
