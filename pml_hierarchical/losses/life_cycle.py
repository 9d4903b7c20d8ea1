"""The part of a loss's life that a loss in one process and a divided one have in common."""

from __future__ import annotations

from typing import Any

import torch

from ..hierarchy import Hierarchy
from .level_weights import LevelWeights
from .schedule import Schedule


class LifeCycle:
    """A mixin: steps are counted, the hierarchy falls due, and a checkpoint holds the counters."""

    sizes: tuple[int, ...]
    is_given: tuple[bool, ...]
    weights: LevelWeights
    schedule: Schedule
    class_labels: torch.Tensor
    _names: Any

    @property
    def is_active(self) -> bool:
        """Whether the coarse levels take part in the loss."""
        return self.schedule.is_built

    @property
    def num_updates(self) -> int:
        """How many times the coarse proxies were computed."""
        return self.schedule.num_updates

    @property
    def level_weights(self) -> tuple[float, ...]:
        """The weight of each level in the last training step, finest first."""
        if self.weights.schedule is None:  # nor is the counter read, in a compiled graph
            return self.weights.fixed
        return self.weights.at(max(0, self.schedule.step - 1))

    @property
    def hierarchy(self) -> Hierarchy | None:
        """The tree of the classes, or ``None`` while it is still to be discovered."""
        is_known = self.is_active or all(self.is_given)
        return Hierarchy(self.class_labels, self._names) if is_known else None

    def recluster(self) -> Hierarchy:
        """Update the hierarchy and the coarse proxies."""
        raise NotImplementedError

    def _before_training_step(self) -> None:
        if self.schedule.every is not None and self.schedule.is_due():
            self.recluster()
        if not torch.compiler.is_compiling():
            self.schedule.warn_if_late()
        self.schedule.count_step()

    def get_extra_state(self) -> dict[str, int]:
        """What a resumed run needs beside the tensors; a part of ``state_dict``."""
        return self.schedule.state()

    def set_extra_state(self, state: dict[str, int]) -> None:
        """Take back what :meth:`get_extra_state` gave; called by ``load_state_dict``."""
        self.schedule.load_state(state)
