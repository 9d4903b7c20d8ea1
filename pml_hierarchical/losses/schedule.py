"""When the hierarchy is built and updated: after a warm-up, then every T training steps."""

from __future__ import annotations

import warnings

import torch

from .arguments import check_integer


class Schedule:
    """Counts training steps and says when the hierarchy is due.

    Arguments:
        warmup: how many training steps come before the first hierarchy.
        every: how many training steps lie between updates; ``None`` if somebody else updates.

    Raises:
        TypeError: if a number is not an integer.
        ValueError: if ``warmup`` is negative or ``every`` is not positive.
    """

    def __init__(self, warmup: int, every: int | None) -> None:
        check_integer("warmup", warmup, at_least=0)
        if every is not None:
            check_integer("recluster_every", every, at_least=1)
        self.warmup = warmup
        self.every = every
        self.num_updates = 0
        self.is_built = False
        # A tensor, so that counting is an operation of a compiled graph; on the CPU for ever,
        # so that reading it waits for no other device.
        self._steps = torch.zeros((), dtype=torch.int64)

    @property
    def step(self) -> int:
        """How many training steps were counted."""
        return int(self._steps)

    @step.setter
    def step(self, value: int) -> None:
        self._steps.fill_(value)

    def count_step(self) -> None:
        """One more training step."""
        self._steps += 1

    def count_update(self) -> None:
        """One more update of the hierarchy."""
        self.num_updates += 1
        self.is_built = True

    def is_due(self, every: int | None = None) -> bool:
        """Whether the hierarchy is to be updated before the next step.

        It is at the end of the warm-up and after every ``every`` steps since (by default the
        interval of this schedule), and at any time after the warm-up if there is none yet.
        """
        every = self.every if every is None else every
        if every is None:
            return False
        since = self.step - self.warmup
        return since >= 0 and (not self.is_built or since % every == 0)

    def warn_if_late(self) -> None:
        """Warn, once, that the warm-up is over and nobody built the hierarchy."""
        if self.every is None and not self.is_built and self.step == self.warmup + 1:
            warnings.warn(
                f"HierarchicalProxyLoss has recluster_every=None, and after {self.step} training "
                f"steps (warmup={self.warmup}) nobody has called recluster(): it trains the fine "
                "level alone. Pass a ReclusterHook to the trainer, call recluster(), or set "
                "recluster_every.",
                stacklevel=2,
            )

    def state(self) -> dict[str, int]:
        """The counters, as plain integers."""
        return {"step": self.step, "num_updates": self.num_updates}

    def load_state(self, state: dict[str, int]) -> None:
        """Take the counters back."""
        self.step = state["step"]
        self.num_updates = state["num_updates"]
        self.is_built = self.num_updates > 0


def warn_if_never_built(schedule: Schedule) -> None:
    """Warn, at the end of a loss's life, that it was trained and never became hierarchical."""
    if 0 < schedule.step <= schedule.warmup and not schedule.is_built:
        warnings.warn(
            f"a HierarchicalProxyLoss was trained for {schedule.step} steps, which all belonged to "
            f"its warm-up of {schedule.warmup}: its coarse levels were never used. Set warmup to "
            "a part of your training steps.",
            stacklevel=2,
        )
