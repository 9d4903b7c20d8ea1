"""The hierarchical proxy loss of the plugin: the core's, checked, fast, and able to grow."""

from __future__ import annotations

import functools
import time
import warnings
import weakref
from copy import copy
from types import SimpleNamespace
from typing import Any

import torch
from pytorch_metric_learning.reducers import DoNothingReducer, MeanReducer
from pytorch_metric_learning.utils import common_functions as c_f

from ..clustering import get_clusterer
from ..core import hierarchical_proxy_loss as core
from ..core.level_losses import checked_weights
from ..hierarchy import Hierarchy
from . import checks
from .arguments import SIGNATURE, checked_arguments
from .checkpoints import CheckpointMixin
from .fast_path import get_engine
from .growth import GrowthMixin
from .processes import from_first_process

_OF_UPDATES = ("share_moved", "smallest_superclass", "largest_superclass", "update_seconds")
_OF_EVERY_LEVEL = ("distance", "reducer", "embedding_regularizer", "embedding_reg_weight")
_CHECKED_ON_GPU = 10  # calls; a check reads values, which makes the CPU wait for the GPU


class HierarchicalProxyLoss(CheckpointMixin, GrowthMixin):
    r"""Pull each embedding to the proxy of its class and to the proxies of its superclasses.

    .. math:: L(x, y) = \sum_l w_l \, L_{base}(x, P_l, y_l)

    where :math:`P_0` are the proxies of the base loss and :math:`y_l` is the class of level
    :math:`l` that the label belongs to. The coarse levels join after a warm-up on the fine level
    alone: a coarse proxy starts as the mean of the proxies of its classes, and is learned. Where no
    hierarchy is given it is discovered: the fine proxies are clustered at the end of the warm-up,
    and again every ``recluster_every`` training steps. Source: Yang, Bastan, Zhu, Gray, Samaras,
    *Hierarchical Proxy-based Loss for Deep Metric Learning*, WACV 2022.

    **The proxies are parameters of this loss and need an optimizer**, as with every proxy loss::

        loss_optimizer = torch.optim.AdamW(loss_func.parameters(), lr=1e-2)

    A training step is a call of the loss in training mode with gradients enabled, or a step of the
    optimizer given to :meth:`count_steps_of`.

    Arguments:
        num_classes: number of fine classes; labels are in ``0..num_classes-1``.
        embedding_size: size of the embeddings; the base loss's name for it is accepted as well.
        base_loss: a proxy loss class of PML, or a callable that takes ``num_classes``,
            ``embedding_size`` and ``base_loss_kwargs`` by keyword and returns such a loss.
        hierarchy: the tree of the classes: whatever :meth:`Hierarchy.of` takes (a ``Hierarchy``,
            paths, ``{name: parent}``, 2-D labels). With one level, this loss *is* its base loss.
        num_superclasses: how many superclasses to discover: a number, or decreasing numbers for
            several levels; ``"auto"``, the default without a ``hierarchy``, is a quarter of the
            classes, but at least 2 and at most 1,000. With a ``hierarchy``, discovered levels go
            between the given ones by size, and never cross a given superclass.
        level_weights: the weight of each level, finest first; or a number for every coarse level,
            with 1 for the finest; or a function of the training step that returns either.
        warmup: training steps on the fine level alone.
        recluster_every: training steps between updates of discovered levels, and of coarse proxies
            that are fixed. ``None`` leaves all updates, even the first, which starts the coarse
            levels, to :class:`~pml_hierarchical.hooks.ReclusterHook` or :meth:`recluster`.
        coarse_proxies: ``"learned"``, parameters that start at the means when the warm-up ends;
            ``"fixed"`` to the means between updates, as in the paper; or ``"live"``, the means at
            every step, through which gradients flow to the fine proxies.
        coarse_scale: what the scale of the base loss (``softmax_scale``, ``alpha``, ``scale``,
            ``la``, 1 / ``temperature``) is multiplied by at the coarse levels, unless
            ``level_kwargs`` set it there. ``P2SGradLoss`` has none.
        clusterer: ``"kmeans"`` (the default), ``"kmeans_step"`` (the paper's single step),
            ``"agglomerative"``, one of :mod:`pml_hierarchical.clustering` such as
            ``KMeans(balance=1.5, seed=1)``, or a function of ``(points, num_clusters)`` that
            returns a cluster for every point, as PML's ``kmeans_func``.
        level_kwargs: settings of the base loss for single levels, ``{1: {"margin": 0.2}}``.
        engine: :class:`~pml_hierarchical.losses.FastPath` (the default) computes all levels in one
            operation where that gives what PML's losses give; ``"pml"`` always calls those.
        **base_loss_kwargs: settings of the base loss (``margin``, ``distance``, ``reducer``, ...)
            for every level. Regularizers and a ``ClassWeightedReducer`` go to the fine level alone.

    Recorded by PML's ``HookContainer``: ``loss_level0``, ``loss_level1``, ... (the unweighted loss
    of each level in the last call; 0 before a level is active), ``num_updates``, ``update_seconds``
    and, at the finest discovered level (else level 1), ``share_moved`` (the share of fine classes
    that the last update moved), ``smallest_superclass``, ``largest_superclass`` (in fine classes).

    Raises ``TypeError`` for a base loss without proxies, or an argument that neither loss has, and
    ``ValueError`` for a hierarchy, sizes or weights that do not fit; in a call, for labels out of
    range or embeddings with NaN (on a GPU, in the first 10 calls only; if compiled, never).

    Example:
        >>> loss_func = HierarchicalProxyLoss(100, 64, num_superclasses=10, warmup=0)
        >>> loss = loss_func(torch.randn(32, 64), torch.randint(100, (32,)))
        >>> loss.backward()
        >>> loss_func.hierarchy
        Hierarchy(sizes=(100, 10))
    """

    hierarchy_class = Hierarchy
    kinds_of_coarse_proxies = ("learned", "fixed", "live")

    @functools.wraps(core.HierarchicalProxyLoss.__init__)  # type: ignore[misc]
    def __init__(self, *args: Any, **kwargs: Any) -> None:
        given = checked_arguments(*args, **kwargs)
        schedule = given.pop("weight_schedule")
        super().__init__(**given)
        if schedule and len(self.sizes) == 1:
            raise ValueError("level_weights has no effect: with one level, this is the base loss")
        reducers = [one.reducer for one in self.level_losses.values()]
        if len({isinstance(reducer, DoNothingReducer) for reducer in reducers}) > 1:
            raise ValueError(f"a DoNothingReducer must be that of every level, got {reducers}")
        self.check_engine()
        self.weight_schedule = schedule
        self._num_hooks = 0  # on optimizers: the last one counts steps; if none, calls are counted
        if len(self.sizes) == 1:
            self.level_loss(0).reducer = self.reducer  # PML has made a copy of it
        self._is_sum = len(self.sizes) > 1 and type(self.reducer) is MeanReducer
        self.__dict__.update(dict.fromkeys(_OF_UPDATES, 0.0))
        self._warned: set[str] = set()
        self._last_vectors: torch.Tensor | None = None
        self._checks_left, self._updates_without_change = _CHECKED_ON_GPU, 0
        self._seen_progress = SimpleNamespace(step=0, is_active=False)
        if len(self.sizes) > 1:
            self.add_to_recordable_attributes(list_of_names=list(_OF_UPDATES))
            weakref.finalize(self, _warn_if_never_built, self._seen_progress, self.warmup)

    def check_engine(self) -> None:
        """Raise if the settings of the engine do not suit this loss."""
        if len(self.sizes) == 1:
            checks.check_engine(self.engine, "with one level")

    def forward(
        self,
        embeddings: torch.Tensor,
        labels: Any = None,
        indices_tuple: Any = None,
        ref_emb: Any = None,
        ref_labels: Any = None,
    ) -> Any:
        """The loss of a batch.

        Arguments:
            embeddings: ``(batch_size, embedding_size)``.
            labels: integers of any type and shape ``(batch_size,)``: a tensor, an array or a list.
            indices_tuple: from a miner; counts at every level. ``ref_emb`` is a ``ValueError``.
        """
        self.reset_stats()
        labels = checks.checked_labels(labels, embeddings, self.embedding_size)
        if indices_tuple is not None:
            checks.check_engine(self.engine, "with a miner")
        if not torch.compiler.is_compiling():
            self._check_call(embeddings, labels)
        ref_emb, ref_labels = c_f.set_ref_emb(embeddings, labels, ref_emb, ref_labels)
        if self.weight_schedule is not None and not (self.training and torch.is_grad_enabled()):
            self._set_weights(max(0, self.step - 1))  # those of the last training step
        loss_dict = self.compute_loss(embeddings, labels, indices_tuple, ref_emb, ref_labels)
        if self._is_sum:  # PML's reducer would return the same, ten microseconds later
            return loss_dict["loss"]["losses"]
        reducer = self.reducer if len(self.sizes) > 1 else self.level_loss(0).reducer
        return reducer(loss_dict, embeddings, labels)

    def _set_weights(self, step: int) -> None:
        if self.weight_schedule is not None:
            weights = self.weight_schedule(step)
            weights = checked_weights(weights, len(self.sizes), f" at step {step}")
            self.__dict__["_level_weights"] = weights

    def _check_call(self, embeddings: torch.Tensor, labels: torch.Tensor) -> None:
        if not embeddings.is_cuda or self._checks_left > 0:
            self.__dict__["_checks_left"] -= 1
            checks.check_values(embeddings, labels, self.num_classes, self.layout.needs_norm)
        if len(self.sizes) > 1:
            self._check_progress(embeddings)

    def _check_progress(self, embeddings: torch.Tensor) -> None:
        progress = self.superclasses.read()
        if progress.is_mixed:
            self._warn_once(
                "holds an average of different hierarchies that is not a tree: its coarse "
                "levels are left out until the next update. Call recluster()."
            )
        if not torch.is_grad_enabled():
            return
        if self.training:
            self._seen_progress.step = progress.step + 1
            self._seen_progress.is_active = progress.is_active
            is_late = not progress.is_active and progress.step > self.warmup
            if is_late and self.recluster_every is None:
                self._warn_once(
                    f"has recluster_every=None, and after {progress.step} training steps (warmup="
                    f"{self.warmup}) recluster() has not been called: only the fine "
                    "level is trained. Pass a ReclusterHook to the trainer, or set recluster_every."
                )
        elif embeddings.requires_grad:
            self._warn_once(
                "is called in eval() mode with gradients: its steps are not counted, and the "
                "hierarchy is neither discovered nor updated. Call loss_func.train() to train it."
            )

    def proxies_in_use(self, num_levels: int) -> list[torch.Tensor]:
        """As their losses store them; live ones are the current means, which pass on gradients."""
        proxies = super().proxies_in_use(num_levels)
        if self.coarse_proxies != "live" or num_levels == 1 or not self.is_active:
            return proxies
        vectors, table = self.layout.class_vectors(proxies[0]), self.class_labels
        means = [self.coarse_means(vectors, table, level) for level in range(1, num_levels)]
        return [proxies[0], *map(self.layout.stored_form, means)]

    def get_logits(self, embeddings: torch.Tensor, level: int = 0) -> Any:
        """The base loss's logits of the classes of a level, ``(batch_size, sizes[level])``; a
        ``ValueError`` if there is no such level, a ``RuntimeError`` if it is not built yet."""
        if level not in range(len(self.sizes)):
            raise ValueError(f"level must be in 0..{len(self.sizes) - 1}, got {level!r}")
        if level > 0 and not self.is_active:
            raise RuntimeError(
                f"level {level} has no proxies yet: they are set after the warm-up of "
                f"{self.warmup} training steps ({self.step} are done), or by recluster()"
            )
        proxies = self.proxies_in_use(level + 1)[level]
        loss = copy(self.level_loss(level))
        vars(loss)[self.layout.attribute] = proxies.to(embeddings)  # hides the parameter
        return loss.get_logits(embeddings)

    # ------------------------------------------------------------ training steps and updates
    @property
    def step(self) -> int:
        """How many training steps have been counted."""
        return self.superclasses.read().step

    def _before_training_step(self) -> None:
        if self.weight_schedule is not None:
            self._set_weights(self.step)
        if self._num_hooks == 0:
            super()._before_training_step()
        elif self.recluster_every is not None and self.is_due(self.recluster_every):
            self.recluster()

    def count_steps_of(self, optimizer: torch.optim.Optimizer) -> None:
        """Count the steps of an optimizer from now on, instead of the calls of this loss.

        For gradient accumulation, activation checkpointing, and optimizers that call the loss
        several times per step (SAM, L-BFGS). With several optimizers or calls, only the last one
        is counted. A copy of the loss, and one that was pickled, counts its calls.

        Example:
            >>> loss_func = HierarchicalProxyLoss(100, 64)
            >>> optimizer = torch.optim.SGD(loss_func.parameters(), lr=0.1)
            >>> loss_func.count_steps_of(optimizer)
            >>> for _ in range(4): loss_func(torch.randn(8, 64), torch.randint(9, (8,))).backward()
            >>> optimizer.step()
            >>> loss_func.step
            1
        """
        self._num_hooks = number = self._num_hooks + 1

        def count(*_: Any) -> None:
            if self._num_hooks == number:
                self.superclasses.count_step()

        optimizer.register_step_post_hook(count)

    def __getstate__(self) -> dict[str, Any]:
        return {**vars(self), "_num_hooks": 0}  # the optimizer's hooks are not copied

    def class_vectors(self) -> torch.Tensor:
        """One vector per fine class; an error if processes that train together differ in them."""
        return from_first_process(super().class_vectors(), tolerance=1e-2)

    def find_superclasses(self, vectors: torch.Tensor) -> torch.Tensor:
        """The class labels of all levels, as the first process finds them."""
        return from_first_process(super().find_superclasses(vectors))

    def recluster(self) -> Hierarchy:
        """Discover the levels that are not given, and set each coarse proxy to the mean of its
        classes. Superclasses keep their numbers; learned proxies are set only by the first update.
        In distributed training every process calls it, and takes the result of the first. Raises
        ``ValueError`` if proxies to be clustered hold NaN, ``RuntimeError`` if processes differ.
        """
        start, before = time.perf_counter(), self.superclasses.read()
        tree: Any = super().recluster()
        level = self.is_given.index(False) if False in self.is_given else int(len(self.sizes) > 1)
        members = self.class_labels[:, level].bincount()
        has_moved = (before.class_labels != self.class_labels)[:, level]
        share = float(has_moved.double().mean()) if before.is_active else 0.0
        values = (share, int(members.min()), int(members.max()), time.perf_counter() - start)
        self.__dict__.update(zip(_OF_UPDATES, values, strict=True))
        some = self.layout.rows(self.proxies_in_use(1)[0].detach())[:64].clone()
        is_equal = self._last_vectors is not None and torch.equal(self._last_vectors, some)
        self._last_vectors = some
        self._updates_without_change = self._updates_without_change + 1 if is_equal else 0
        if self._updates_without_change == 4 and self.step > 0:
            self._warn_once(
                "was updated five times with equal proxies: no optimizer moves them. Give its "
                "parameters to an optimizer: torch.optim.AdamW(loss_func.parameters(), lr=1e-2)."
            )
        return tree

    # ------------------------------------------------------------ what users of the base loss touch
    def __getattr__(self, name: str) -> Any:
        """The proxies and ``get_outliers`` of the base loss; nothing else of it."""
        modules = self.__dict__.get("_modules", {})
        levels = modules.get("level_losses")
        if levels is None or name in modules or name in self._parameters or name in self._buffers:
            return super().__getattr__(name)
        if name in (self.__dict__["layout"].attribute, "get_outliers"):
            return getattr(levels["level0"], name)
        if not name.startswith("_") and hasattr(levels["level0"], name):
            raise AttributeError(
                f"HierarchicalProxyLoss has no attribute {name!r}: it belongs to the base loss, "
                f"of which every level has one. Use level_loss(0).{name} for the finest level."
            )
        return super().__getattr__(name)

    def __setattr__(self, name: str, value: Any) -> None:
        """The proxies can be assigned, as those of the base loss; its settings cannot."""
        levels = self.__dict__.get("_modules", {}).get("level_losses")
        if levels is None or name.startswith("_"):
            super().__setattr__(name, value)
        elif name == "level_weights":  # may be, or may replace, a function of the step
            schedule = value if callable(value) else None
            super().__setattr__(name, value if schedule is None else schedule(self.step))
            self.weight_schedule = schedule
        elif name in ("clusterer", "engine"):
            super().__setattr__(name, (get_engine if name == "engine" else get_clusterer)(value))
        elif name == "warmup" or (name == "recluster_every" and value is not None):
            least = 0 if name == "warmup" else 1
            super().__setattr__(name, checks.check_integer(name, value, least))
        elif name in {*SIGNATURE.parameters} - {"warmup", "recluster_every", "clusterer", "engine"}:
            raise AttributeError(f"{name} is fixed by the constructor: construct another loss")
        elif name == self.layout.attribute:
            setattr(levels["level0"], name, value)
        elif name in _OF_EVERY_LEVEL or (
            name not in self.__dict__ and not hasattr(type(self), name)
            and name not in self._modules and hasattr(levels["level0"], name)
        ):  # fmt: skip
            raise AttributeError(
                f"{name!r} is a setting of the base loss, of which every level has one: set it on "
                "level_loss(0) for the finest level, level_loss(1), ..., or pass it to the "
                "constructor for all"
            )
        else:
            super().__setattr__(name, value)

    def _warn_once(self, message: str) -> None:
        if message[:20] not in self._warned:
            self._warned.add(message[:20])
            warnings.warn(f"this HierarchicalProxyLoss {message}", stacklevel=3)

    def extra_repr(self) -> str:
        """The line that ``print(loss)`` adds."""
        kinds = {True: "given", False: "discovered"}
        levels = [f"{s} {kinds[g]}" for s, g in zip(self.sizes[1:], self.is_given[1:], strict=True)]
        weights = "a function of the step" if self.weight_schedule else self.level_weights
        return (
            f"num_classes={self.num_classes}, superclasses: {', '.join(levels) or 'none'}, "
            f"level_weights={weights}, warmup={self.warmup}, "
            f"recluster_every={self.recluster_every}, coarse_proxies={self.coarse_proxies!r}, "
            f"coarse_scale={self.level_factory.coarse_scale}"
        )


def _warn_if_never_built(seen: SimpleNamespace, warmup: int) -> None:
    """Warn, when a loss is deleted, that it was trained and never became hierarchical."""
    if 0 < seen.step <= warmup and not seen.is_active:
        warnings.warn(
            f"a HierarchicalProxyLoss was trained for {seen.step} of the {warmup} training steps "
            "of its warm-up, so its coarse levels were never used. Set warmup to a part of your "
            "training steps.",
            stacklevel=2,
        )
