"""The arguments of a loss's constructor, checked before anything is built."""

from __future__ import annotations

import difflib
import inspect
import math
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from numbers import Real
from typing import Any

import torch

from ..clustering import get_clusterer
from ..core import hierarchical_proxy_loss as core
from ..core.level_losses import layout_of
from ..hierarchy import Hierarchy
from .checks import check_integer
from .fast_path import get_engine

SIGNATURE = inspect.signature(core.HierarchicalProxyLoss)


def checked_arguments(*args: Any, **kwargs: Any) -> dict[str, Any]:
    """The arguments of the core's constructor by name, checked, and resolved where they can be."""
    base_loss = kwargs.get("base_loss", args[2] if len(args) > 2 else core.ProxyAnchorLoss)
    size_name = embedding_size_name(base_loss)
    if size_name in kwargs and "embedding_size" not in kwargs:
        kwargs["embedding_size"] = kwargs.pop(size_name)
    bound = SIGNATURE.bind(*args, **kwargs)
    is_scaled = "coarse_scale" in bound.arguments
    bound.apply_defaults()
    given = bound.arguments
    extra = given.pop("base_loss_kwargs")
    check_keywords(base_loss, extra, given)
    for name, least in (("num_classes", 1), ("embedding_size", 1), ("warmup", 0)):
        given[name] = check_integer(name, given[name], least)
    if given["recluster_every"] is not None:
        check_integer("recluster_every", given["recluster_every"], 1)
    clusterer = "kmeans" if given["clusterer"] is None else given["clusterer"]
    given["clusterer"], given["engine"] = get_clusterer(clusterer), get_engine(given["engine"])
    check_coarse_scale(base_loss, given["coarse_scale"], is_scaled)
    if given["hierarchy"] is not None:
        given["hierarchy"] = Hierarchy.of(given["hierarchy"])
    wanted = given["num_superclasses"]
    if wanted is None and given["hierarchy"] is None:
        wanted = "auto"
    if isinstance(wanted, str) and wanted == "auto" and given["num_classes"] < 3:
        wrong = f"num_classes={given['num_classes']} is too few to discover superclasses"
        hint = "give a hierarchy, or num_superclasses=() for the base loss itself"
        raise ValueError(f"{wrong}: {hint}")
    check_level_kwargs(base_loss, given["level_kwargs"] or {})
    schedule = given["level_weights"] if callable(given["level_weights"]) else None
    if schedule is not None:
        given["level_weights"] = schedule(0)
    return {**given, **extra, "weight_schedule": schedule}


def embedding_size_name(base_loss: Any) -> str:
    """What the constructor of a base loss calls the embedding size; a ``TypeError`` for a loss that
    is constructed already, or a class without proxies.
    """
    if isinstance(base_loss, torch.nn.Module) or not callable(base_loss):
        raise TypeError(
            "base_loss must be a class of proxy losses, or a callable that makes one for "
            f"num_classes and embedding_size, got {type(base_loss).__name__} (an object). Pass "
            "the class, and its settings as keyword arguments of HierarchicalProxyLoss."
        )
    made_by = _unwrapped(base_loss)
    return layout_of(made_by).size_argument if isinstance(made_by, type) else "embedding_size"


def check_keywords(
    base_loss: Callable[..., Any], keywords: Iterable[str], own_names: Iterable[str]
) -> None:
    """Raise ``TypeError``, with the nearest name, for a keyword that the base loss does not have.

    A function that takes any keyword is not checked.
    """
    made_by, known = _unwrapped(base_loss), set[str]()
    is_class = isinstance(made_by, type)
    for constructor in [c.__init__ for c in made_by.__mro__] if is_class else [made_by]:
        parameters = inspect.signature(constructor).parameters.values()
        known |= {p.name for p in parameters if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)}
        passes_on = any(p.kind is p.VAR_KEYWORD for p in parameters)
        if not is_class and passes_on:
            return
        if not passes_on:
            break
    names = sorted((known | set(own_names)) - {"self"})
    label = getattr(made_by, "__name__", repr(made_by))
    for keyword in keywords:
        if keyword not in known:
            near = difflib.get_close_matches(keyword, names, n=1)
            hint = f"did you mean {near[0]!r}?" if near else f"choose from {', '.join(names)}"
            who = f"neither HierarchicalProxyLoss nor {label}" if own_names else f"no {label}"
            raise TypeError(f"{who} has an argument {keyword!r}: {hint}")


def _unwrapped(base_loss: Any) -> Any:
    return base_loss.func if isinstance(base_loss, partial) else base_loss


def check_coarse_scale(base_loss: Callable[..., Any], scale: Any, is_chosen: bool) -> None:
    """Raise unless this is a positive number, and chosen only for a loss that has a scale."""
    if isinstance(scale, bool) or not isinstance(scale, Real) or not 0 < float(scale) < math.inf:
        raise ValueError(f"coarse_scale must be a positive, finite number, got {scale!r}")
    made_by = _unwrapped(base_loss)
    if is_chosen and scale != 1 and isinstance(made_by, type) and not layout_of(made_by).scale:
        raise ValueError(
            f"coarse_scale={scale} has no effect: {made_by.__name__} is not known to have a scale; "
            "leave it out, or name its attribute with register_proxy_loss(..., scale=...)"
        )


def check_level_kwargs(base_loss: Callable[..., Any], level_kwargs: Any) -> None:
    """Raise unless these are settings of a base loss by level."""
    centers = layout_of(base).centers if isinstance(base := _unwrapped(base_loss), type) else None
    if not isinstance(level_kwargs, Mapping):
        raise TypeError(f"level_kwargs must be a mapping {{level: settings}}, got {level_kwargs!r}")
    for level, settings in level_kwargs.items():
        if not isinstance(settings, Mapping):
            got = f"{settings!r} for level {level}"
            raise TypeError(f"level_kwargs must hold mappings of keyword arguments, got {got}")
        check_keywords(base_loss, settings, ())
        if common := {"num_classes", embedding_size_name(base_loss), centers} & {*settings}:
            wrong = f"level_kwargs sets {common.pop()!r} for level {level}"
            raise ValueError(f"{wrong}, which is for all levels: give it to the constructor")
