"""New classes for a loss that is trained already: tables, proxies and optimizers that grow."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from ..clustering import merged_sizes
from ..hierarchy import Hierarchy
from .arguments import check_integer
from .proxy_access import ProxyLayout, get_proxies, num_centers, stored_form
from .updates import update


def grown_table(table: np.ndarray, num_new: int, parents: Any, given: list[int]) -> np.ndarray:
    """The labels of the old classes and the new ones, ``-1`` where a level is to be discovered.

    Arguments:
        table: ``(num_classes, num_levels)``, as in ``Hierarchy``.
        num_new: how many classes there are to come.
        parents: the classes of the given coarse levels that the new ones belong to, of shape
            ``(num_new, len(given))``; of shape ``(num_new,)`` the finest of them, for superclasses
            that exist. ``None`` if no coarse level is given.
        given: which coarse levels are given.

    Raises:
        TypeError: if ``parents`` is missing, or not integers.
        ValueError: if it does not fit.
    """
    new = np.full((num_new, table.shape[1]), -1)
    new[:, 0] = len(table) + np.arange(num_new)
    if (parents is None) != (not given):
        raise TypeError(
            "parents is for a hierarchy that is given, and this one is discovered: leave it out"
            if parents is not None
            else f"parents must say which superclasses the new classes belong to: shape "
            f"({num_new},) or ({num_new}, {len(given)})"
        )
    if parents is not None:
        parents = np.asarray(parents)
        if not np.issubdtype(parents.dtype, np.integer):
            raise TypeError(f"parents must be integers, got {parents.dtype}")
        if parents.shape == (num_new,):
            parents = _ancestors(table[:, given], parents)
        if parents.shape != (num_new, len(given)):
            raise ValueError(
                f"parents must have shape ({num_new},) or ({num_new}, {len(given)}), one row for "
                f"each new class, got {parents.shape}"
            )
        new[:, given] = parents
    return np.concatenate([table, new])


def _ancestors(table: np.ndarray, superclasses: np.ndarray) -> np.ndarray:
    known, first = np.unique(table[:, 0], return_index=True)
    if table.shape[1] == 1:
        return superclasses[:, None]
    if len(superclasses) and not (superclasses.min() >= 0 and superclasses.max() < len(known)):
        raise ValueError(
            f"parents of shape ({len(superclasses)},) must be superclasses that exist, "
            f"0..{len(known) - 1}, got {superclasses.min()}..{superclasses.max()}; for a new "
            f"superclass give its own parents too: shape ({len(superclasses)}, {table.shape[1]})"
        )
    return table[first[superclasses]]


@torch.no_grad()
def copy_old_proxies(old: Any, new: Any, layout: ProxyLayout) -> None:
    """Write the proxies of a loss over the first ones of a larger loss."""
    source = get_proxies(old, layout)
    new.to(source.device, source.dtype).train(old.training)
    get_proxies(new, layout)[: len(source)] = source


@torch.no_grad()
def set_new_proxies(loss: Any, num_new: int, proxies: Any, layout: ProxyLayout) -> None:
    """Write given vectors, ``(num_new, embedding_size)``, over the last classes' proxies."""
    target = get_proxies(loss, layout)[-num_new * num_centers(loss, layout) :]
    proxies = torch.as_tensor(proxies, dtype=target.dtype, device=target.device)
    if proxies.shape != (num_new, target.shape[1]):
        raise ValueError(
            f"proxies must have shape ({num_new}, {target.shape[1]}), one vector for each new "
            f"class, got {tuple(proxies.shape)}"
        )
    form = stored_form(proxies, loss, layout)
    target.copy_(form if layout.class_dim == 0 else form.t())


def replace_in_optimizer(
    optimizer: torch.optim.Optimizer, old: torch.nn.Parameter, new: torch.nn.Parameter
) -> None:
    """Make an optimizer train a parameter that has grown, its running averages included.

    Those of the new rows start at 0, as for a parameter that was not stepped yet.
    """
    for group in optimizer.param_groups:
        group["params"] = [new if p is old else p for p in group["params"]]
    state = optimizer.state.pop(old, None)
    if state is None:
        return
    for key, value in state.items():
        if isinstance(value, torch.Tensor) and value.shape == old.shape:
            grown = torch.zeros_like(new, dtype=value.dtype)
            grown[tuple(slice(size) for size in old.shape)] = value
            state[key] = grown
    optimizer.state[new] = state


def add_classes(
    loss_func: Any,
    num_new: int,
    parents: Any,
    proxies: Any,
    optimizer: torch.optim.Optimizer | None,
) -> None:
    """See ``HierarchicalProxyLoss.add_classes``."""
    check_integer("num_new", num_new, at_least=1)
    layout = loss_func.layout
    given = [level for level, is_given in enumerate(loss_func.is_given) if is_given and level > 0]
    old_table = loss_func.class_labels.cpu().numpy()
    table = grown_table(old_table, num_new, parents, given)
    tree = Hierarchy(table[:, [0, *given]])
    discovered = [s for s, g in zip(loss_func.sizes, loss_func.is_given, strict=True) if not g]
    sizes, is_given = merged_sizes(tree.num_classes, tree.sizes[1:], discovered)
    if is_given != loss_func.is_given:
        raise ValueError(
            f"parents would make a given level larger than a discovered one: {sizes} (before: "
            f"{loss_func.sizes})"
        )
    grown = {
        level: loss_func._factory.make(level, size)
        for level, size in enumerate(sizes)
        if size != loss_func.sizes[level]
    }
    for level, new in grown.items():
        copy_old_proxies(loss_func.level_loss(level), new, layout)
    if proxies is not None:
        set_new_proxies(grown[0], num_new, proxies, layout)
    if optimizer is not None:
        _check_trains(optimizer, getattr(loss_func.level_loss(0), layout.attribute))

    for level, new in grown.items():
        old = getattr(loss_func.level_loss(level), layout.attribute)
        parameter = getattr(new, layout.attribute)
        if isinstance(parameter, torch.nn.Parameter):
            parameter.requires_grad_(old.requires_grad)
            if optimizer is not None:
                replace_in_optimizer(optimizer, old, parameter)
        loss_func.level_losses[f"level{level}"] = new
    old_sizes, loss_func.sizes = loss_func.sizes, sizes
    loss_func.num_classes = sizes[0]
    loss_func.class_labels = torch.tensor(table, device=loss_func.class_labels.device)
    loss_func._names = None  # nobody knows those of the new classes
    if loss_func.is_active:
        is_learned = loss_func.coarse_proxies == "learned"
        update(loss_func, None, old_sizes if is_learned else (0,) * len(sizes))


def _check_trains(optimizer: torch.optim.Optimizer, parameter: torch.Tensor) -> None:
    if not any(p is parameter for group in optimizer.param_groups for p in group["params"]):
        raise ValueError(
            "optimizer does not train the proxies of this loss; give the one that was made with "
            "loss_func.parameters()"
        )
