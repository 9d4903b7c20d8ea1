"""Distances, reducers and regularizers as text: ``"LpDistance(power=2)"``, and back."""

from __future__ import annotations

import ast
from collections.abc import Mapping
from typing import Any

import torch
from pytorch_metric_learning import distances, reducers, regularizers

from .parameters import constructor_parameters

# The arguments that take an object, and where PML has its classes.
_PARTS = {
    "distance": distances,
    "reducer": reducers,
    "embedding_regularizer": regularizers,
    "weight_regularizer": regularizers,
}


def with_parts(arguments: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments, with a new object for each part that is described as text.

    Raises:
        ValueError: for a text that describes no part.
    """
    return {
        key: make_part(key, value) if key in _PARTS and isinstance(value, str) else value
        for key, value in arguments.items()
    }


def make_part(argument: str, text: str) -> Any:
    """The object that a text such as ``"CosineSimilarity"`` or ``"LpDistance(power=2)"`` describes.

    Raises:
        ValueError: for another class than PML has for this argument, or arguments it does not
            take.
    """
    module = _PARTS[argument]
    known = [name for name, value in vars(module).items() if isinstance(value, type)]
    name, keywords = _parsed(text)
    if name not in known:
        raise ValueError(f"{argument}={text!r}: PML has {', '.join(known)}")
    try:
        return getattr(module, name)(**keywords)
    except (TypeError, AssertionError) as error:
        raise ValueError(f"{argument}={text!r}: {error}") from error


def described(value: Any) -> Any:
    """A setting as a plain value: JSON can hold it, and equal settings give equal values.

    An object of PML has the name of its class and what differs from its defaults, anything else
    its ``repr``; a function or a class its full name.
    """
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    if isinstance(value, torch.Tensor):
        return value.tolist()
    if isinstance(value, (list, tuple)):
        return [described(element) for element in value]
    if isinstance(value, Mapping):
        return {str(key): described(element) for key, element in value.items()}
    if hasattr(value, "__qualname__"):
        return f"{value.__module__}.{value.__qualname__}"
    is_shown_by_address = type(value).__repr__ is object.__repr__ or hasattr(value, "forward")
    return _described_object(value) if is_shown_by_address else repr(value)


def _described_object(value: Any) -> str:
    made = type(value)
    defaults = constructor_parameters(made)
    defaults.pop("collect_stats", None)  # changes nothing, and PML has a global default for it
    try:
        usual = made()
        # a child may set what is an argument of its parent
        defaults = {key: getattr(usual, key, default) for key, default in defaults.items()}
    except (TypeError, AssertionError):
        pass  # it has arguments without a default
    attributes = {key: getattr(value, key, default) for key, default in defaults.items()}
    shown = [
        f"{key}={described(attribute)!r}"
        for key, attribute in attributes.items()
        if described(attribute) != described(defaults[key])
    ]
    return f"{made.__name__}({', '.join(shown)})" if shown else made.__name__


def _parsed(text: str) -> tuple[str, dict[str, Any]]:
    """``"LpDistance(power=2)"`` -> ``"LpDistance", {"power": 2}``."""
    try:
        tree = ast.parse(text.strip(), mode="eval").body
        call = tree if isinstance(tree, ast.Call) else ast.Call(tree, [], [])
        if not isinstance(call.func, ast.Name) or call.args:
            raise ValueError("not of the form Class or Class(argument=value)")
        return call.func.id, {
            str(keyword.arg): ast.literal_eval(keyword.value) for keyword in call.keywords
        }
    except (SyntaxError, ValueError) as error:
        raise ValueError(
            f"{text!r} must be a class of PML, with arguments by keyword if any, such as "
            f"'LpDistance(power=2)': {error}"
        ) from error
