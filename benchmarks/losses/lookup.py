"""From the name of a loss to its spec."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from ..wording import did_you_mean
from .baselines import BASELINES
from .others import OTHER_LOSSES
from .spec import LossSpec

ALL_LOSSES: dict[str, LossSpec] = BASELINES | OTHER_LOSSES
HPL_PREFIXES = {"hpl": "discovered", "hpl_given": "given"}
DEFAULT_LOSSES = (*BASELINES, "hpl:proxy_nca", "hpl:proxy_anchor")


def find_loss(name: str, overrides: Mapping[str, Mapping[str, Any]] | None = None) -> LossSpec:
    """The spec of a loss by its name: one of PML's, ``hpl:<proxy loss>`` or ``hpl_given:<...>``.

    Arguments:
        name: as in ``--losses``.
        overrides: settings of a data set, as :meth:`LossSpec.with_settings` takes them: for a
            loss its own, for a prefix ("hpl", "hpl_given") or a full name those of HPL too.

    Raises:
        ValueError: for a name that is not known (the nearest is suggested), HPL on a loss
            without proxies, or a setting that the loss does not have.
    """
    overrides = overrides or {}
    prefix, _, base_name = name.rpartition(":")
    if base_name not in ALL_LOSSES or (prefix and prefix not in HPL_PREFIXES):
        known = [*ALL_LOSSES, *(f"{p}:{b}" for p in HPL_PREFIXES for b in hierarchical_bases())]
        raise ValueError(
            f"unknown loss {name!r}{_hint(name, known)} Known losses: {', '.join(known)}"
        )
    if prefix and base_name not in hierarchical_bases():
        raise ValueError(
            f"HPL needs a proxy loss, and {base_name!r} has no proxies; choose one of "
            f"{', '.join(hierarchical_bases())}"
        )
    spec = ALL_LOSSES[base_name].with_settings(overrides.get(base_name, {}))
    if not prefix:
        return spec
    hierarchical = replace(spec, name=name, hierarchy=HPL_PREFIXES[prefix])
    chosen = {**overrides.get(prefix, {}), **overrides.get(name, {})}
    return hierarchical.with_settings(chosen)


def _hint(name: str, known: list[str]) -> str:
    """What was probably meant: a class of PML, HPL without its base, or a name with a typo."""
    if name in ("HierarchicalProxyLoss", *HPL_PREFIXES):
        prefix = name if name in HPL_PREFIXES else "hpl"
        return (
            f": HPL needs the loss that it builds on, {prefix}:LOSS, such as {prefix}:proxy_anchor."
        )
    for spec in ALL_LOSSES.values():  # the baselines come first
        if name == spec.loss_class.__name__:
            return f": the class {name} is called {spec.name!r} here."
    return did_you_mean(name.lower(), known)


def hierarchical_bases() -> list[str]:
    """The losses that HPL can be built on."""
    return [name for name, spec in ALL_LOSSES.items() if spec.has_proxies]
