"""Hooks for PML's trainers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from pytorch_metric_learning.utils import common_functions as c_f

from .losses import HierarchicalProxyLoss


class ReclusterHook:
    """Update the hierarchy every T iterations, from a trainer's ``end_of_iteration_hook``.

    It updates every ``HierarchicalProxyLoss`` that it finds in ``trainer.loss_funcs`` (also inside
    wrappers such as ``DistributedLossWrapper`` and ``MultipleLosses``) as soon as its warm-up is
    over and then every ``every`` iterations. The iterations are counted by the loss and saved with
    it, so a resumed run updates where an uninterrupted one would.

    Arguments:
        every: the interval T, in iterations.
        next_hook: another ``end_of_iteration_hook`` to call afterwards, such as the
            one of PML's ``HookContainer``; it then records what the update changed.

    Raises:
        ValueError: if ``every`` is not positive; at the first iteration, if the trainer has no
            ``HierarchicalProxyLoss``, or one that updates itself (``recluster_every``).

    Example::

        loss_func = losses.HierarchicalProxyLoss(100, 64, recluster_every=None)
        hooks = logging_presets.get_hook_container(record_keeper)
        trainers.MetricLossOnly(
            ..., end_of_iteration_hook=ReclusterHook(100, hooks.end_of_iteration_hook)
        )
    """

    def __init__(self, every: int, next_hook: Callable[[Any], Any] | None = None) -> None:
        if every < 1:
            raise ValueError(f"every must be at least 1 iteration, got {every}")
        self.every = every
        self.next_hook = c_f.return_input if next_hook is None else next_hook

    def __call__(self, trainer: Any) -> None:
        """Update the losses of ``trainer`` that are due, then call the next hook."""
        for loss_func in self._find_losses(trainer):
            if loss_func.schedule.is_due(self.every):
                loss_func.recluster()
        self.next_hook(trainer)

    def _find_losses(self, trainer: Any) -> list[HierarchicalProxyLoss]:
        found = [
            module
            for loss_func in trainer.loss_funcs.values()
            if isinstance(loss_func, torch.nn.Module)
            for module in loss_func.modules()
            if isinstance(module, HierarchicalProxyLoss)
        ]
        if not found:
            names = [type(loss).__name__ for loss in trainer.loss_funcs.values()]
            raise ValueError(
                f"ReclusterHook found no HierarchicalProxyLoss in trainer.loss_funcs: {names}"
            )
        for loss_func in found:
            if loss_func.schedule.every is not None:
                raise ValueError(
                    "this HierarchicalProxyLoss updates itself every "
                    f"{loss_func.schedule.every} steps; construct it with recluster_every=None "
                    "to leave that to ReclusterHook"
                )
        return found
