"""Options that several commands share: dataclasses, whose fields become the command's options."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from dataclasses import MISSING, Field, fields, is_dataclass
from typing import Any, get_type_hints


def with_groups(command: Callable[..., None]) -> Callable[..., None]:
    """A function that takes the fields of its dataclass arguments as arguments of their own.

    typer makes an option of every argument of a function. This lets commands share groups of them:

    >>> from dataclasses import dataclass
    >>> @dataclass
    ... class Source:
    ...     folder: str = "."
    >>> @with_groups
    ... def show(name: str, source: Source) -> None:
    ...     print(name, source)
    >>> show(name="a", folder="b")
    a Source(folder='b')
    """
    groups: dict[str, type] = {}
    parameters: list[inspect.Parameter] = []
    hints = get_type_hints(command, include_extras=True)
    for parameter in inspect.signature(command).parameters.values():
        kind = hints[parameter.name]
        if is_dataclass(kind) and isinstance(kind, type):
            groups[parameter.name] = kind
            parameters += _fields(kind)
        else:
            parameters.append(_keyword(parameter.name, parameter.default, kind))

    @functools.wraps(command)
    def flat(**values: Any) -> None:
        for name, kind in groups.items():
            values[name] = kind(**{one.name: values.pop(one.name) for one in fields(kind)})
        command(**values)

    vars(flat)["__signature__"] = inspect.Signature(parameters)
    flat.__annotations__ = {one.name: one.annotation for one in parameters}
    del flat.__wrapped__  # the wrapped function has another signature
    return flat


def _fields(kind: type) -> list[inspect.Parameter]:
    hints = get_type_hints(kind, include_extras=True)
    return [_keyword(one.name, _default(one), hints[one.name]) for one in fields(kind)]


def _default(one: Field[Any]) -> Any:
    if one.default_factory is not MISSING:
        return one.default_factory()
    return inspect.Parameter.empty if one.default is MISSING else one.default


def _keyword(name: str, default: Any, annotation: Any) -> inspect.Parameter:
    kind = inspect.Parameter.KEYWORD_ONLY
    return inspect.Parameter(name, kind, default=default, annotation=annotation)
