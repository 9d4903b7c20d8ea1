"""Which settings a class of PML has, although most hide behind ``**kwargs``."""

from __future__ import annotations

import inspect
from typing import Any

# What a run decides (the sizes, the seed, the tree) and what PML's classes say to each other.
_NOT_SETTINGS = {
    "base_loss",
    "collect_stats",  # has no effect on the loss
    "descriptors_dim",
    "embedding_size",
    "hierarchy",
    "mat_based_loss",
    "num_classes",
}


def constructor_parameters(made: type) -> dict[str, Any]:
    """The keyword arguments of a constructor, including its parents', with their defaults.

    Follows the method resolution order as long as the constructors pass ``**kwargs`` on. An
    argument that must be given has ``inspect.Parameter.empty``.
    """
    found: dict[str, Any] = {}
    for parent in made.__mro__:
        if "__init__" not in vars(parent):
            continue
        parameters = list(inspect.signature(vars(parent)["__init__"]).parameters.values())[1:]
        for parameter in parameters:
            if parameter.kind in (parameter.POSITIONAL_OR_KEYWORD, parameter.KEYWORD_ONLY):
                found.setdefault(parameter.name, parameter.default)
        if not any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters):
            break
    return found


def setting_names(made: type) -> list[str]:
    """The arguments of a constructor that can be chosen freely, sorted."""
    return sorted(set(constructor_parameters(made)) - _NOT_SETTINGS)
