"""The weight of each level: fixed, or a function of the training step."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

import numpy as np

Weights: TypeAlias = float | Sequence[float]


class LevelWeights:
    """Gives one weight per level, finest first.

    Arguments:
        weights: a number, which is the weight of every coarse level beside a fine level of weight
            1; one number per level; or a function of the training step (0 is the first) that
            returns either. It is looked at once, for step 0, before anything is trained.
        num_levels: how many weights there have to be.

    Raises:
        TypeError: if the weights are not numbers.
        ValueError: if they do not fit the levels, are negative or not finite, or are all 0.

    Example:
        >>> LevelWeights(lambda step: min(1.0, step / 100), num_levels=2).at(50)
        (1.0, 0.5)
    """

    def __init__(self, weights: Weights | Callable[[int], Weights], num_levels: int) -> None:
        self.num_levels = num_levels
        self.schedule = weights if callable(weights) else None
        self.fixed = self._checked(weights(0) if callable(weights) else weights, "")

    def at(self, step: int) -> tuple[float, ...]:
        """The weights of a training step."""
        if self.schedule is None:
            return self.fixed
        return self._checked(self.schedule(step), f" at step {step}")

    def _checked(self, weights: Any, when: str) -> tuple[float, ...]:
        if _is_number(weights):
            values = (1.0, *[float(weights)] * (self.num_levels - 1))
        elif isinstance(weights, str) or not all(map(_is_number, _as_list(weights))):
            raise TypeError(
                f"level_weights must be a number, one number per level, or a function of the step "
                f"that returns either; got {weights!r}{when}"
            )
        else:
            values = tuple(float(weight) for weight in weights)
        if len(values) != self.num_levels:
            raise ValueError(
                f"level_weights must hold one weight for each of the {self.num_levels} levels "
                f"(finest first), got {len(values)}: {values}{when}"
            )
        if any(weight < 0 or not math.isfinite(weight) for weight in values) or not any(values):
            raise ValueError(
                f"level_weights must be finite, not negative and not all 0, got {values}{when}"
            )
        return values

    def __repr__(self) -> str:
        return str(self.fixed) if self.schedule is None else "a function of the step"


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float, np.number)) and not isinstance(value, bool)


def _as_list(weights: Any) -> list[Any]:
    try:
        return list(weights)
    except TypeError:
        return [weights]
