"""How a trained loss grows by new classes: its levels, its proxies, and its optimizer."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from pytorch_metric_learning.reducers import ClassWeightedReducer
from torch import Tensor

from ..core import hierarchical_proxy_loss as core
from ..core.hierarchy import as_integers
from ..core.superclasses import SuperclassState, level_sizes
from ..hierarchy import Hierarchy
from .checks import check_integer


class GrowthMixin(core.HierarchicalProxyLoss):
    """New classes for a trained loss."""

    @torch.no_grad()
    def add_classes(
        self,
        num_new: int,
        parents: Any = None,
        proxies: Any = None,
        optimizer: torch.optim.Optimizer | None = None,
    ) -> None:
        """Grow by new classes, numbered after the old ones, whose proxies are not touched.

        Discovered levels that are already built include them at once, by :meth:`recluster`. The
        parameters are new objects: pass the optimizer, or construct a new one afterwards.

        Arguments:
            num_new: the number of new classes.
            parents: for a given hierarchy, the superclasses of the new classes: integers of shape
                ``(num_new,)``, the finest given level, of superclasses that exist; or of shape
                ``(num_new, given levels)``, which may name new ones.
            proxies: floats of shape ``(num_new, embedding_size)``, for example the mean embedding
                of each new class. By default the base loss draws them.
            optimizer: the one that trains the loss; its statistics of the old proxies are kept.

        Raises ``TypeError`` if ``parents`` is missing or of the wrong type, and ``ValueError`` if
        something does not fit, such as the weights of a reducer; then nothing is changed.

        Example:
            >>> from pml_hierarchical.losses import HierarchicalProxyLoss
            >>> tree = Hierarchy.from_parents([[0, 0, 1, 1]])
            >>> loss_func = HierarchicalProxyLoss(4, 8, hierarchy=tree)
            >>> optimizer = torch.optim.AdamW(loss_func.parameters(), lr=0.01)
            >>> loss_func.add_classes(2, parents=[1, 0], optimizer=optimizer)
            >>> loss_func.hierarchy.class_labels[:, 1].tolist()
            [0, 0, 1, 1, 1, 0]
        """
        check_integer("num_new", num_new, at_least=1)
        given = [level for level, is_given in enumerate(self.is_given) if is_given and level > 0]
        table = grown_table(self.class_labels.cpu().numpy(), num_new, parents, given)
        tree = Hierarchy(table[:, [0, *given]])
        discovered = [s for s, g in zip(self.sizes, self.is_given, strict=True) if not g]
        sizes, is_given = level_sizes(tree.num_classes, tree.sizes[1:], discovered)
        if is_given != self.is_given:
            wrong = "parents would make a given level larger than a discovered one"
            raise ValueError(f"{wrong}: {sizes} (before: {self.sizes})")
        stored = super().proxies_in_use(len(sizes))
        grown = {
            level: self._grown_loss(level, size, stored[level], proxies if level == 0 else None)
            for level, size in enumerate(sizes)
            if size != self.sizes[level]
        }
        new = {level: getattr(loss, self.layout.attribute) for level, loss in grown.items()}
        pairs = [(stored[level], one) for level, one in new.items() if one.requires_grad]
        states = [grown_state(optimizer, *pair) for pair in pairs] if optimizer else []
        parts: tuple[Any, ...] = (self.__dict__, self._modules, self.level_losses)
        before = [dict(part.items()) for part in parts]
        self.level_losses.update({f"level{level}": loss for level, loss in grown.items()})
        try:
            self._grow_table(torch.tensor(table), sizes, stored)
        except Exception:  # from the clustering
            for part, kept in zip(parts, before, strict=True):
                part.update(kept)
            raise
        if optimizer is None:
            self._warn_once(
                "got new classes without optimizer=: its proxies are a new parameter, which no "
                "optimizer trains yet. Pass optimizer=, or construct a new one."
            )
        else:
            replace_in_optimizer(optimizer, pairs, states)

    def _grown_loss(self, level: int, size: int, old: Tensor, proxies: Any) -> Any:
        """A larger loss for a level, with the old proxies, and the new ones where given."""
        before, attribute = self.level_loss(level), self.layout.attribute
        for one in before.reducer.modules():
            if isinstance(one, ClassWeightedReducer) and len(one.weights) < size:
                wrong = f"a ClassWeightedReducer of level {level} has {len(one.weights)} weights"
                fix = f"first give loss_func.level_loss({level}).reducer one weight for each"
                raise ValueError(f"{wrong}, but there would be {size} classes: {fix}")
        loss = self.level_factory.make(level, size).to(old.device, old.dtype).train(self.training)
        for name in ("distance", "reducer", "embedding_regularizer", "weight_regularizer"):
            setattr(loss, name, getattr(before, name, None))  # may have changed, too
        new = getattr(loss, attribute).requires_grad_(old.requires_grad)
        rows, old_rows = self.layout.rows(new.data), self.layout.rows(old)
        sizes = {(self.sizes[level], size), (len(old_rows), len(rows))}
        for name, value in {**vars(before), **before._parameters}.items():
            is_kept = isinstance(value, (int, float, torch.nn.Parameter)) and name != attribute
            if is_kept and (value, getattr(loss, name, None)) not in sizes:  # may have changed
                setattr(loss, name, value)
        rows[: len(old_rows)] = old_rows
        if proxies is not None:
            shape = (size - self.num_classes, rows.shape[1])
            vectors = torch.as_tensor(proxies, dtype=new.dtype, device=new.device)
            if vectors.shape != shape or not vectors.isfinite().all():
                rule = f"proxies must have shape {shape}, one finite vector for each new class"
                raise ValueError(f"{rule}, got {tuple(vectors.shape)}: {proxies!r:.200}")
            rows[len(old_rows) :] = self.layout.rows(self.layout.stored_form(vectors))
        return loss

    def _grow_table(self, table: Tensor, sizes: tuple[int, ...], stored: list[Tensor]) -> None:
        levels = zip(self.class_names or (), self.sizes, sizes, strict=False)
        names = tuple(own if size == grown else None for own, size, grown in levels)
        old, self.class_names = self.superclasses, names if any(names) else None
        self.__dict__.update(sizes=sizes, num_classes=sizes[0])
        self.superclasses = SuperclassState(table, sizes).to(old.steps.device)
        self.superclasses.steps.copy_(old.steps)
        self.superclasses.updates.copy_(old.updates)
        if not old.read().is_active:
            return
        learned = [self.layout.rows(proxies).clone() for proxies in stored[1:]]
        self.recluster()
        if self.coarse_proxies == "learned":  # those that were learned stay as they are
            proxies = super().proxies_in_use(len(sizes))[1:]
            for is_given, kept, new in zip(self.is_given[1:], learned, proxies, strict=True):
                # a new given superclass gets some of the discovered ones, which start again
                if is_given or sizes[1:] == old.sizes[1:]:
                    self.layout.rows(new.data)[: len(kept)] = kept


def grown_table(table: np.ndarray, num_new: int, parents: Any, given: Sequence[int]) -> np.ndarray:
    """The labels of the old classes and the new ones, ``-1`` where a level is to be discovered.

    ``table`` is ``(num_classes, num_levels)``, ``given`` says which coarse levels are given, and
    ``parents`` is as for :meth:`GrowthMixin.add_classes`.
    """
    new = np.full((num_new, table.shape[1]), -1)
    new[:, 0] = len(table) + np.arange(num_new)
    shapes = f"shape ({num_new},) or ({num_new}, {len(given)})"
    if parents is None and given:
        raise TypeError(f"parents must say which superclasses the new classes belong to: {shapes}")
    if parents is not None:
        if not given:
            wrong = "parents is for a hierarchy that is given, but this one is discovered"
            raise TypeError(f"{wrong}: leave it out")
        parents = as_integers(parents, "parents")
        if parents.shape == (num_new,):
            parents = _ancestors(table[:, given], parents)
        if parents.shape != (num_new, len(given)):
            rule = f"parents must have {shapes}, one row for each new class"
            raise ValueError(f"{rule}, got {parents.shape}")
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


def replace_in_optimizer(
    optimizer: Any, pairs: Sequence[tuple[Tensor, Tensor]], states: Sequence[dict[str, Any]]
) -> None:
    """Make an optimizer train the second parameter of each pair instead of the first, from which
    it has grown, with the states that :func:`grown_state` returned."""
    for (old, new), state in zip(pairs, states, strict=True):
        for group in optimizer.param_groups:
            group["params"] = [new if p is old else p for p in group["params"]]
        optimizer.state.pop(old, None)
        if state:
            optimizer.state[new] = state


def grown_state(optimizer: torch.optim.Optimizer, old: Tensor, new: Tensor) -> dict[str, Any]:
    """The optimizer's statistics of a parameter, or its rows or columns, padded with zeros.

    ``ValueError`` if the optimizer does not train it, or keeps something that cannot grow.
    """
    name = type(optimizer).__name__
    if not any(p is old for group in optimizer.param_groups for p in group["params"]):
        raise ValueError(
            f"optimizer does not train the proxies of this loss; give the {name} that was made "
            "with loss_func.parameters()"
        )
    state = {}
    for key, value in optimizer.state.get(old, {}).items():
        if isinstance(value, Tensor) and value.numel() > 1:
            shape = _grown_shape(tuple(value.shape), tuple(old.shape), tuple(new.shape))
            if shape is None:
                raise ValueError(
                    f"{name} keeps {key!r} of shape {tuple(value.shape)} for proxies of shape "
                    f"{tuple(old.shape)}, not clearly per row or column: add the classes without "
                    "optimizer=, and construct a new optimizer"
                )
            grown = value.new_zeros(shape)
            grown[tuple(slice(size) for size in value.shape)] = value
            value = grown
        state[key] = value
    return state


def _grown_shape(
    shape: tuple[int, ...], old: tuple[int, ...], new: tuple[int, ...]
) -> tuple[int, ...] | None:
    """The shape of a statistic after its parameter has grown; ``None`` if that is not clear."""
    if len(shape) == len(old) and all(s in (1, o) for s, o in zip(shape, old, strict=True)):
        return tuple(1 if s == 1 else n for s, n in zip(shape, new, strict=True))
    matches = [n for s, o, n in zip(shape * len(old), old, new, strict=False) if s == o]
    return (matches[0],) if len(shape) == 1 and len(matches) == 1 else None
