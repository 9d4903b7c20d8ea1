"""The trials of a search before Optuna's sampler has anything to go by."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from scipy.stats import qmc

from .space import PROXIES, TRAINING, TRUNK, Choice, Range, Space

COUNT = 6  # one with the settings that need no search, and five that try the loss's own settings

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
    return [
        dict(defaults),
        *(
            {
                **defaults,
                **{
                    parameter.name: _value(parameter, float(share))
                    for parameter, share in zip(own, point, strict=True)
                },
            }
            for point in points
        ),
    ]


def _value(parameter: Range | Choice, share: float) -> Any:
    """The value below which this share (from 0 to below 1) of the possible values lies."""
    if isinstance(parameter, Choice):
        return parameter.values[int(share * len(parameter.values))]
    low, high = float(parameter.low), float(parameter.high)  # type: ignore[arg-type]
    if parameter.log:
        value = float(np.exp(np.interp(share, [0, 1], np.log([low, high]))))
    else:
        value = float(np.interp(share, [0, 1], [low, high]))
    return round(value) if parameter.integer else min(max(value, low), high)
