"""Level weights that change over the course of training."""

from __future__ import annotations

from dataclasses import dataclass

RISING, FALLING = "rising", "falling"


@dataclass(frozen=True)
class Course:
    """The weight of the coarse levels as a function of the training step.

    Attributes:
        kind: ``"rising"`` from 0 to ``weight`` or ``"falling"`` from ``weight`` to 0, in a
            straight line.
        weight: the largest one.
        start: the step at which it begins: the end of the warm-up.
        end: the step at which it ends: the end of the training.
    """

    kind: str
    weight: float
    start: int
    end: int

    def __call__(self, step: int) -> float:
        """The weight at a step."""
        share = min(1.0, max(0.0, (step - self.start) / (self.end - self.start)))
        return self.weight * (share if self.kind == RISING else 1 - share)
