"""What each trial of a search tries: the defaults, then the loss's own settings, then what is near
the best.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from scipy.stats import qmc

from .space import PROXIES, TRAINING, TRUNK, Choice, Range, Space

COUNT = 6  # first trials: one with the defaults, and five that try the loss's own settings
STEP = 0.1  # standard deviation of a later trial's change, as a share of the range
CHANGED = 0.5  # how likely a later trial changes a setting

_OF_TRAINING = {parameter.name for parameter in TRAINING + TRUNK + PROXIES}


def first_trials(space: Space, defaults: Mapping[str, Any], seed: int) -> list[dict[str, Any]]:
    """The values of the first ``COUNT`` trials.

    The first has the defaults. The others change the settings of the loss itself (its margins,
    scales and superclasses) and keep the learning rates and the weight decay: a loss with the wrong
    scale loses more than one with a rate that is not quite right, and the default rates suit the
    network. The values form a Latin hypercube: each setting has one value in each fifth of its
    range. A loss without settings of its own has its rates and its weight decay changed instead.

    Arguments:
        space: with plain numbers.
        defaults: what the settings are without a search.
        seed: of the search.
    """
    own = [parameter for parameter in space if parameter.name not in _OF_TRAINING] or list(space)
    points = qmc.LatinHypercube(len(own), rng=np.random.default_rng(seed)).random(COUNT - 1)
    drawn = [
        {one.name: _at(one, float(place)) for one, place in zip(own, point, strict=True)}
        for point in points
    ]
    return [dict(defaults), *({**defaults, **values} for values in drawn)]


def near(space: Space, best: Mapping[str, Any], random: np.random.Generator) -> dict[str, Any]:
    """The values of a later trial: those of the best so far, about half of them changed a little.

    A step of an evolution strategy. With a dozen trials in five or ten dimensions, samplers that
    model the whole space, as TPE does, spend nearly all of them where training fails.

    Arguments:
        space: with plain numbers.
        best: a value for each setting of the space that means something with the others.
        random: where the changes come from.
    """
    is_changed = random.random(len(space)) < CHANGED
    is_changed[random.integers(len(space))] = True
    values = dict(best)
    for parameter, changed in zip(space, is_changed, strict=True):
        if parameter.name not in best:  # it may mean something with a value that has changed
            values[parameter.name] = _at(parameter, random.random())
        elif not changed:
            continue
        elif isinstance(parameter, Choice):
            values[parameter.name] = str(random.choice(parameter.values))
        else:
            place = _place(parameter, best[parameter.name]) + random.normal(0, STEP)
            place = 1 - abs(1 - abs(place))  # reflected at both ends of the range
            values[parameter.name] = _at(parameter, place)
    return values


def _at(parameter: Range | Choice, place: float) -> Any:
    """The value at a place in the range, 0 for the lowest and below 1."""
    if isinstance(parameter, Choice):
        return parameter.values[int(place * len(parameter.values))]
    low, high = _ends(parameter)
    value = float(np.interp(place, [0, 1], [low, high]))
    value = float(np.exp(value)) if parameter.log else value
    if parameter.integer:
        return round(value)
    return min(max(value, float(parameter.low)), float(parameter.high))  # type: ignore[arg-type]


def _place(parameter: Range, value: float) -> float:
    return float(np.interp(np.log(value) if parameter.log else value, _ends(parameter), [0, 1]))


def _ends(parameter: Range) -> tuple[float, float]:
    low, high = float(parameter.low), float(parameter.high)  # type: ignore[arg-type]
    return (float(np.log(low)), float(np.log(high))) if parameter.log else (low, high)
