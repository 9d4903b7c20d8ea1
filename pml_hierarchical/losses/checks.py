"""What is checked of the arguments of a loss before anything is built, and of its batches."""

from __future__ import annotations

import difflib
import inspect
import math
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from pytorch_metric_learning.utils import common_functions as c_f

from ..core.level_losses import layout_of

if TYPE_CHECKING:
    from .fast_path import FastPath


def check_integer(name: str, value: Any, at_least: int) -> int:
    """The value as an ``int``; an error unless it is an integer that is large enough."""
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)):
        raise TypeError(f"{name} must be an integer, got {value!r}")
    if value < at_least:
        raise ValueError(f"{name} must be at least {at_least}, got {value}")
    return int(value)


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
    made_by = _unwrapped(base_loss)
    known: set[str] = set()
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
            hint = f"did you mean {near[0]!r}?" if near else f"there are {', '.join(names)}"
            raise TypeError(
                f"neither HierarchicalProxyLoss nor {label} has an argument {keyword!r}: {hint}"
            )


def _unwrapped(base_loss: Any) -> Any:
    while isinstance(base_loss, partial):
        base_loss = base_loss.func
    return base_loss


def check_coarse_scale(base_loss: Callable[..., Any], scale: Any, is_chosen: bool) -> None:
    """Raise unless this is a positive number, and chosen only for a loss that has a scale."""
    if isinstance(scale, bool) or not isinstance(scale, (int, float)) or not 0 < scale < math.inf:
        raise ValueError(f"coarse_scale must be a positive, finite number, got {scale!r}")
    made_by = _unwrapped(base_loss)
    if is_chosen and scale != 1 and isinstance(made_by, type) and not layout_of(made_by).scale:
        raise ValueError(
            f"coarse_scale={scale} has no effect: {made_by.__name__} is not known to have a scale; "
            "leave it out, or name its attribute with register_proxy_loss(..., scale=...)"
        )


def check_level_kwargs(base_loss: Callable[..., Any], level_kwargs: Any) -> None:
    """Raise unless these are settings of a base loss by level."""
    if not isinstance(level_kwargs, Mapping):
        raise TypeError(f"level_kwargs must be a mapping {{level: settings}}, got {level_kwargs!r}")
    for level, settings in level_kwargs.items():
        if not isinstance(settings, Mapping):
            raise TypeError(
                f"level_kwargs must hold mappings of keyword arguments, got {settings!r} for "
                f"level {level}"
            )
        check_keywords(base_loss, settings, ())


def check_engine(engine: FastPath | None, when: str) -> None:
    """Raise for settings of the fast path where the losses of PML are called instead."""
    if engine is not None and (engine.class_share < 1 or engine.save_memory):
        raise ValueError(f"engine={engine} has no effect: {when}, the loss is PML's. Leave it out")


def checked_labels(labels: Any, embeddings: torch.Tensor, embedding_size: int) -> torch.Tensor:
    """``int64`` labels of shape ``(batch_size,)`` on the device of the embeddings.

    Arguments:
        labels: integers of any type, as a tensor, an array or a list.
        embeddings: ``(batch_size, embedding_size)``, at least one.

    Raises ``TypeError`` for labels that are not integers, and ``ValueError`` for other shapes.
    """
    c_f.labels_required(labels)
    if not isinstance(labels, torch.Tensor):
        array = np.asarray(labels)
        if array.dtype.kind in "USO":
            raise TypeError(
                f"labels must be integers, got {array.ravel()[:1]}: encode names first, with "
                "Hierarchy.encode(names)"
            )
        # a copy in the byte order of this machine, which torch can take
        labels = torch.as_tensor(array.astype(np.int64) if array.dtype.kind in "iu" else array)
    if labels.ndim != 1:
        raise ValueError(
            f"labels must be 1D, got shape {tuple(labels.shape)}: use labels[:, 0], the finest "
            "level; the loss knows the superclasses of each class"
        )
    if not isinstance(embeddings, torch.Tensor) or not embeddings.is_floating_point():
        found = getattr(embeddings, "dtype", type(embeddings).__name__)
        raise TypeError(f"embeddings must be a floating point tensor, got {found}")
    if labels.is_floating_point() or labels.is_complex() or labels.dtype == torch.bool:
        raise TypeError(f"labels must be integers, got {labels.dtype}")
    c_f.check_shapes(embeddings, labels)
    if embeddings.ndim != 2 or embeddings.shape[1] != embedding_size:
        raise ValueError(
            f"embeddings must have shape (batch_size, {embedding_size}), got "
            f"{tuple(embeddings.shape)}"
        )
    if len(embeddings) == 0:
        raise ValueError("the batch is empty: a loss needs at least one embedding")
    return labels.to(embeddings.device, torch.int64)


def check_values(
    embeddings: torch.Tensor, labels: torch.Tensor, num_classes: int, needs_norm: bool = False
) -> None:
    """Raise for labels that are no classes, and embeddings that are not finite (or, where a loss
    ``needs_norm``, are zero). This reads values, so the host waits for the GPU.
    """
    lowest, highest = (int(extreme) for extreme in labels.aminmax())
    if lowest < 0 or highest >= num_classes:
        raise ValueError(
            f"labels must be in 0..{num_classes - 1} (num_classes={num_classes}), got labels from "
            f"{lowest} to {highest}"
        )
    values = embeddings.detach()
    # a sum is quick; it is finite unless a value is not, or they are huge
    if not math.isfinite(float(values.sum())) and not values.isfinite().all():
        rows = (~values.isfinite().all(dim=1)).nonzero().flatten().tolist()
        raise ValueError(
            f"embeddings hold NaN or infinite values in {len(rows)} of {len(values)} rows (the "
            f"first is row {rows[0]}); the proxies would become NaN too. Look for a learning rate "
            "that is too high, or a division by zero in the network."
        )
    if needs_norm and not values.any(dim=1).all():
        row = int((~values.any(dim=1)).nonzero()[0])
        raise ValueError(
            f"embeddings hold a row of zeros (row {row}), which has no direction: this base loss "
            "divides by its length"
        )
