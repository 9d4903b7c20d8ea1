"""Settings that must be numbers; most classes of PML fail with another value only when they run."""

from __future__ import annotations

import math
from collections.abc import Mapping
from numbers import Real
from typing import Any

# With 0 or less a loss learns nothing, or the opposite of what it should.
SCALES = ("alpha", "beta", "gamma", "la", "scale", "softmax_scale", "temperature")
RATES = ("proxy_learning_rate", "coarse_rate")


def check_numbers(
    loss: str, settings: Mapping[str, Any], usual: Mapping[str, Any], prefix: str = ""
) -> None:
    """Refuse what is not a number where a setting is one, and a scale of 0 or less.

    Arguments:
        loss: its name.
        settings: values by name; several numbers may stand for one, as one for each class.
        usual: the values without them, which say what is a number.
        prefix: stands before the names where the settings are given.

    Raises:
        ValueError: with the setting.
    """
    for name, value in settings.items():
        if _is_number(usual.get(name)) and not (_is_number(value) or isinstance(value, tuple)):
            raise ValueError(
                f"the setting {prefix}{name} of {loss!r} must be a number, got {value!r}"
            )
        if name in SCALES and _is_number(value) and value <= 0:
            raise ValueError(
                f"the setting {prefix}{name} of {loss!r} must be above 0, got {value!r}"
            )


def check_rates(loss: str, settings: Mapping[str, Any]) -> None:
    """Refuse a learning rate, or a multiple of one, that no optimizer can use.

    Arguments:
        loss: its name.
        settings: values by name; those that are not such rates are ignored.

    Raises:
        ValueError: with the setting.
    """
    for name in RATES:
        value = settings.get(name, 0)
        if not _is_number(value) or not 0 <= value < math.inf:
            raise ValueError(
                f"the setting {name} of {loss!r} must be a finite number of at least 0, "
                f"got {value!r}"
            )


def _is_number(value: Any) -> bool:
    return isinstance(value, Real) and not isinstance(value, bool)
