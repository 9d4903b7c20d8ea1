"""The blocks of a network that it can be cut in front of."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from torch import nn

from .cut import split_at

_CONTAINERS = (nn.Sequential, nn.ModuleList)  # exactly these: subclasses are layers


def blocks_of(network: nn.Module) -> list[str]:
    """The names of the modules that a network can be cut in front of, in their order.

    They are its layers, stages and blocks with parameters, not the layers inside a block. The
    first one is left out, since nothing would be below the cut.
    """
    first = next((name for name, _ in network.named_parameters() if "." in name), "")
    return [name for name in _blocks(network, "") if not first.startswith(f"{name}.")]


def possible_blocks(network: nn.Module) -> list[str]:
    """Those of :func:`blocks_of` where :func:`split_at` succeeds."""
    found = []
    for name in blocks_of(network):
        try:
            split_at(network, name)
        except ValueError:
            continue
        found.append(name)
    return found


def listed(blocks: Iterable[str]) -> str:
    """Names for people, with ranges: ``"layer3, layer3.0 to layer3.5, layer4"``."""
    groups: list[list[str]] = []
    for name in blocks:
        if groups and _next_to(groups[-1][-1]) == name:
            groups[-1].append(name)
        else:
            groups.append([name])
    ranges = (group[:1] if len(group) == 1 else (group[0], group[-1]) for group in groups)
    return ", ".join(" to ".join(ends) for ends in ranges)


def _blocks(module: nn.Module, prefix: str) -> Iterator[str]:
    for name, child in module.named_children():
        if not any(True for _ in child.parameters()):
            continue
        if not isinstance(child, nn.ModuleList):  # a ModuleList is never called
            yield prefix + name
        if type(child) in _CONTAINERS:
            yield from _blocks(child, f"{prefix}{name}.")
        else:  # the stages of ConvNeXt, the encoder of a vision transformer
            for inner, container in child.named_children():
                kinds = [type(element) for element in container.children()]
                if type(container) in _CONTAINERS and len(kinds) > 1 and len(set(kinds)) == 1:
                    yield from _blocks(container, f"{prefix}{name}.{inner}.")


def _next_to(name: str) -> str | None:
    stem, number = re.fullmatch(r"(.*?)(\d*)", name, re.DOTALL).groups()  # type: ignore[union-attr]
    return f"{stem}{int(number) + 1}" if number else None
