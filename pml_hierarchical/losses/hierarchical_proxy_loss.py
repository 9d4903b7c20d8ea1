"""The hierarchical proxy loss of Yang et al. (WACV 2022) on any proxy loss of PML."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from pytorch_metric_learning.losses import BaseMetricLossFunction, ProxyAnchorLoss
from pytorch_metric_learning.reducers import DoNothingReducer
from pytorch_metric_learning.utils import common_functions as c_f

from ..clustering import Clusterer, get_clusterer
from ..hierarchy import Hierarchy
from . import growth
from .arguments import (
    COARSE_PROXIES,
    check_batch,
    check_choice,
    check_integer,
    check_saving,
    checked_integer,
    checked_level_kwargs,
    checked_taxonomy,
    checked_tree,
    first_table,
)
from .base_attributes import BaseLossAttributes
from .checkpoints import check_checkpoint
from .class_sampling import checked_share, sample_classes
from .coarse_means import live_proxies
from .fast_path import fast_losses
from .level_losses import LevelLossFactory
from .level_sum import LevelSum
from .level_weights import LevelWeights, Weights
from .life_cycle import LifeCycle
from .proxy_access import size_argument
from .records import UpdateRecords
from .schedule import Schedule, warn_if_never_built
from .substitution import call_with, logits_with
from .updates import update


class HierarchicalProxyLoss(LifeCycle, BaseLossAttributes, BaseMetricLossFunction):
    r"""Pull each embedding to the proxy of its class and to the proxies of its superclasses.

    .. math:: L(x, y) = \sum_l w_l \, L_{base}(x, P_l, y_l)

    where :math:`P_0` are the proxies of the base loss and :math:`y_l` is the class of level
    :math:`l` that the label belongs to. A coarse proxy is the mean of the proxies of its member
    classes; it is computed anew every ``recluster_every`` steps and fixed in between. Where no
    hierarchy is given it is discovered: k-means of the fine proxies, after a warm-up on the fine
    level alone, and again every ``recluster_every`` steps.

    Source: Yang, Bastan, Zhu, Gray, Samaras, *Hierarchical Proxy-based Loss for Deep Metric
    Learning*, WACV 2022.

    **The proxies are parameters of this loss and need an optimizer**, as with every proxy loss::

        loss_optimizer = torch.optim.AdamW(loss_func.parameters(), lr=1e-2)

    A training step is a call of the loss in training mode with gradients enabled.

    Arguments:
        num_classes: the number of fine classes; labels are in ``0..num_classes-1``.
        embedding_size: the size of the embeddings; also by the name that it has in the base loss
            (``descriptors_dim`` of P2SGradLoss).
        base_loss: a proxy loss class of PML, or a callable that takes ``num_classes``,
            ``embedding_size`` and ``base_loss_kwargs`` by keyword and returns such a loss.
        hierarchy: the tree of the classes: a :class:`~pml_hierarchical.hierarchy.Hierarchy`, or
            the 2-D labels of samples in which every class occurs (column 0 the finest). With a
            hierarchy of one level, this loss *is* its base loss.
        num_superclasses: how many superclasses to discover; a decreasing sequence makes several
            levels, an empty one none. ``"auto"``, the default where no ``hierarchy`` is given, is
            ``round(sqrt(num_classes))``. Together with ``hierarchy`` the tree is mixed: the
            discovered levels go between the given ones, by their size, and a discovered
            superclass never crosses a given one.
        level_weights: the weight of each level, finest first; a single number is the weight of
            every coarse level beside a fine level of weight 1. Or a function of the training step
            that returns either.
        warmup: how many training steps the fine level is trained alone.
        recluster_every: every how many training steps the hierarchy is discovered anew (where it
            is not given) and the coarse proxies are recomputed. ``None`` leaves that to
            :class:`~pml_hierarchical.hooks.ReclusterHook` or to calls of :meth:`recluster`.
        seed: of the clustering.
        clusterer: ``"kmeans"``; ``"kmeans_step"``, the paper's single step (reassign each class
            to its nearest coarse proxy); ``"agglomerative"``; one of
            :mod:`pml_hierarchical.clustering` with settings of its own, such as
            ``KMeans(balance=1.5)``; or a function of ``(points, num_clusters)`` that returns a
            cluster for every point.
        coarse_proxies: ``"fixed"`` between updates; ``"live"``, the means at every step, through
            which gradients flow to the fine proxies; or ``"learned"``, parameters that start at
            the means when the warm-up ends.
        level_kwargs: settings of the base loss for single levels, ``{1: {"margin": 0.2}}`` or one
            mapping per level; they go before ``base_loss_kwargs``.
        taxonomy: a known tree (as ``hierarchy``) to compare a discovered one with; it is not
            trained on. Its agreement is recorded as ``nmi_level1``, ...
        fast_path: compute all levels in one operation where it gives what PML's losses give, but
            for rounding: Proxy-Anchor, Proxy-NCA, Normalized Softmax, CosFace and ArcFace with
            their default distance and reducer, two or more levels, no miner. ``False`` always
            calls PML's losses.
        class_share: for a great many classes: train each step on the classes of the batch and,
            up to this share of all fine classes, others drawn at random (Partial FC). 1 is the
            loss itself. Needs the fast path.
        save_memory: for a great many classes: the softmax losses compute their exponentials a
            second time for the gradient instead of keeping ``batch_size * num_classes`` of them
            (Proxy-Anchor keeps none in any case). Needs the fast path.
        **base_loss_kwargs: passed on to ``base_loss`` for every level (margins, ``distance``,
            ``reducer``, ...). Regularizers go to the fine level alone.

    Recorded by PML's ``HookContainer``: ``loss_level0``, ``loss_level1``, ... (the unweighted
    loss of each level in the last call; a level that is not active yet has 0), ``num_updates``,
    ``share_moved`` (the share of fine classes that changed their superclass in the last update),
    ``smallest_superclass``, ``largest_superclass`` (fine classes), ``update_seconds``, and
    ``nmi_level1``, ... with a ``taxonomy`` (normalised mutual information, 1 is equal).

    Raises:
        TypeError: for a base loss without proxies, or an argument it does not know.
        ValueError: for a hierarchy that does not fit, ``num_superclasses >= num_classes``, or
            weights that do not fit the levels; in the forward pass, for labels out of range or
            embeddings with NaN.

    Example:
        >>> loss_func = HierarchicalProxyLoss(100, 64, num_superclasses=10, warmup=0)
        >>> loss = loss_func(torch.randn(32, 64), torch.randint(100, (32,)))
        >>> loss.backward()
        >>> loss_func.hierarchy
        Hierarchy(sizes=(100, 10))
    """

    def __init__(
        self,
        num_classes: int,
        embedding_size: int | None = None,
        base_loss: Callable[..., BaseMetricLossFunction] = ProxyAnchorLoss,
        hierarchy: Hierarchy | Any | None = None,
        num_superclasses: int | str | Sequence[int] | None = None,
        level_weights: Weights | Callable[[int], Weights] = 0.3,
        warmup: int = 100,
        recluster_every: int | None = 100,
        seed: int = 0,
        clusterer: str | Clusterer | Callable[[np.ndarray, int], Any] = "kmeans",
        coarse_proxies: str = "fixed",
        level_kwargs: Mapping[int, Mapping[str, Any]] | Sequence[Mapping[str, Any]] | None = None,
        taxonomy: Hierarchy | Any | None = None,
        fast_path: bool = True,
        class_share: float = 1.0,
        save_memory: bool = False,
        **base_loss_kwargs: Any,
    ) -> None:
        check_integer("num_classes", num_classes, at_least=1)
        if embedding_size is None:
            embedding_size = base_loss_kwargs.pop(size_argument(base_loss), None)
        embedding_size = checked_integer("embedding_size", embedding_size, at_least=1)
        check_integer("seed", seed, at_least=0)
        check_choice("coarse_proxies", coarse_proxies, COARSE_PROXIES)
        given, sizes, is_given = checked_tree(num_classes, hierarchy, num_superclasses)
        class_share = checked_share(class_share, len(sizes))
        check_saving(save_memory, fast_path, len(sizes))
        weights = LevelWeights(level_weights, len(sizes))
        schedule = Schedule(warmup, recluster_every)
        settings = checked_level_kwargs(level_kwargs, len(sizes))
        known = checked_taxonomy(taxonomy, num_classes, is_given)
        factory = LevelLossFactory(
            base_loss, embedding_size, base_loss_kwargs, settings, coarse_proxies == "learned"
        )
        losses, layout = factory.make_all(sizes)
        fine, is_flat = losses[0], len(sizes) == 1

        # PML asks for the names of the sub-losses during its own construction.
        self.__dict__["_level_names"] = [f"loss_level{level}" for level in range(len(sizes))]
        self.__dict__["_flat_names"] = fine.sub_loss_names() if is_flat else None
        keeps_reducer = is_flat or isinstance(fine.reducer, DoNothingReducer)
        super().__init__(
            collect_stats=fine.collect_stats,
            distance=fine.distance,
            reducer=fine.reducer if keeps_reducer else LevelSum(),
        )
        self.num_classes = num_classes
        self.embedding_size = embedding_size
        self.sizes = sizes
        self.is_given = is_given
        self.weights = weights
        self.seed = seed
        self.schedule = schedule
        self.clusterer = get_clusterer(clusterer)
        self.coarse_proxies = coarse_proxies
        self.fast_path = fast_path
        self.class_share = class_share
        self.save_memory = save_memory
        self._factory = factory
        self.layout = layout
        self._names = given.names if given is not None and all(is_given) else None
        self.register_buffer("class_labels", first_table(given, is_given, num_classes))
        self._records = UpdateRecords(is_given, known)
        for name in [*self._level_names, *self._records.names]:
            setattr(self, name, 0.0)
        # Not a ModuleList: record-keeper makes SQL tables of the names, which cannot begin with 0.
        # Last of all: from here on, what is not an attribute of this loss is one of the base loss.
        self.level_losses = torch.nn.ModuleDict(
            {f"level{level}": loss for level, loss in enumerate(losses)}
        )
        if not is_flat:
            self.add_to_recordable_attributes(
                list_of_names=[*self._level_names, "num_updates", *self._records.names]
            )
            weakref.finalize(self, warn_if_never_built, schedule)

    # ---------------------------------------------------------------- the loss
    def compute_loss(
        self,
        embeddings: torch.Tensor,
        labels: torch.Tensor,
        indices_tuple: Any,
        ref_emb: torch.Tensor,
        ref_labels: torch.Tensor,
    ) -> dict[str, Any]:
        """PML's ``loss_dict``: one entry per level, or one in all from the fast path, or the base
        loss's own with a single level.
        """
        c_f.labels_required(labels)
        c_f.ref_not_supported(embeddings, labels, ref_emb, ref_labels)
        check_batch(
            embeddings, labels, self.num_classes, self.embedding_size, self.layout.needs_norm
        )
        fine = self.level_loss(0)
        loss_dict: dict[str, Any] = {}
        if self._flat_names is not None:
            loss_dict = fine.compute_loss(embeddings, labels, indices_tuple, ref_emb, ref_labels)
            fine.add_embedding_regularization_to_loss_dict(loss_dict, embeddings)
            return loss_dict
        if self.training and torch.is_grad_enabled():
            self._before_training_step()
        num_levels = len(self.sizes) if self.is_active else 1
        table = self.class_labels.index_select(0, labels.long())[:, :num_levels].t()
        live = live_proxies(self)
        if self.fast_path and indices_tuple is None:
            total = self._all_levels_at_once(embeddings, table, live)
            if total is not None:
                return {"loss": _reduced(total)}
        if (self.class_share < 1 or self.save_memory) and self.training:
            raise ValueError(
                f"class_share={self.class_share} and save_memory={self.save_memory} need the fast "
                "path, which this loss cannot take: see fast_path for what it takes, or set "
                "class_share=1 and save_memory=False"
            )
        names = self._level_names[:num_levels]
        for level, (name, weight) in enumerate(zip(names, self.level_weights, strict=False)):
            loss = self.level_loss(level)
            inputs = (embeddings, labels if level == 0 else table[level], indices_tuple)
            loss = call_with(loss, self.layout.attribute, live.get(level), inputs)
            if isinstance(loss, dict):  # what a DoNothingReducer leaves: every element on its own
                for element, info in loss.items():
                    loss_dict[f"{element}_level{level}"] = {
                        **info,
                        "losses": weight * info["losses"],
                    }
                continue
            setattr(self, name, loss.detach())
            loss_dict[name] = _reduced(weight * loss)
        return loss_dict

    def _all_levels_at_once(
        self, embeddings: torch.Tensor, table: torch.Tensor, live: Mapping[int, torch.Tensor]
    ) -> torch.Tensor | None:
        """The weighted sum over the levels, from the fast path; ``None`` where that cannot be.

        Arguments:
            table: the class of each sample at each level that takes part, ``(levels, batch_size)``.
            live: proxies to take in the place of a level's own.
        """
        num_levels, classes = len(table), None
        if self.class_share < 1 and self.training:
            labels, seed = table[0].contiguous(), self.seed + self.schedule.step
            classes, table[0] = sample_classes(labels, self.num_classes, self.class_share, seed)
        found = fast_losses(
            list(self.level_losses.values())[:num_levels],
            self.layout,
            embeddings,
            table,
            self.level_weights[:num_levels],
            live,
            classes,
            self.save_memory,
        )
        if found is None:
            return None
        for name, loss in zip(self._level_names, found[1].unbind(), strict=False):
            object.__setattr__(self, name, loss)
        return found[0]

    def level_loss(self, level: int) -> Any:
        """The loss of PML that is summed at a level; at level 0 the one with the parameters."""
        return self.level_losses[f"level{level}"]

    def get_logits(self, embeddings: torch.Tensor, level: int = 0) -> torch.Tensor:
        """The base loss's logits of the classes of a level: ``(batch_size, sizes[level])``.

        Raises:
            ValueError: for a level that does not exist.
            RuntimeError: for a coarse level that is not built yet.
        """
        if level not in range(len(self.sizes)):
            raise ValueError(f"level must be in 0..{len(self.sizes) - 1}, got {level!r}")
        if level > 0 and not self.is_active:
            raise RuntimeError(
                f"level {level} has no proxies yet: they are set after the warm-up of "
                f"{self.schedule.warmup} training steps ({self.schedule.step} are done), or by "
                "recluster()"
            )
        proxies = live_proxies(self).get(level)
        return logits_with(self.level_loss(level), self.layout.attribute, proxies, embeddings)

    def _sub_loss_names(self) -> list[str]:
        return list(self._level_names if self._flat_names is None else self._flat_names)

    # ---------------------------------------------------------------- the hierarchy
    @torch.no_grad()
    def recluster(self) -> Hierarchy:
        """Discover the levels that are not given from the fine proxies, and set each coarse proxy
        to the mean of its members (of their directions, where only those matter to the loss).

        The clustering starts from the coarse proxies in use, so that superclasses keep their
        number. Learned coarse proxies are set by the first update alone. In a distributed training
        every process has to call it; all take the result of the first.

        Raises:
            ValueError: if the proxies hold NaN.
            RuntimeError: if the processes of a distributed training hold different proxies.
        """
        is_kept = self.is_active and self.coarse_proxies == "learned"
        return update(self, self.hierarchy, self.sizes if is_kept else (0,) * len(self.sizes))

    @torch.no_grad()
    def add_classes(
        self,
        num_new: int,
        parents: Any = None,
        proxies: Any = None,
        optimizer: torch.optim.Optimizer | None = None,
    ) -> None:
        """Grow by new classes, numbered after the old ones, whose proxies are not touched.

        Discovered levels take the new classes in at once, if they are built: the hierarchy is
        updated (see :meth:`recluster`). The parameters are new objects, larger ones, so an
        optimizer must be told.

        Arguments:
            num_new: how many new classes.
            parents: for a given hierarchy, the superclasses of the new classes: integers of shape
                ``(num_new,)``, the finest given level, of superclasses that exist; or of shape
                ``(num_new, given levels)``, which may name new ones.
            proxies: floats of shape ``(num_new, embedding_size)``, for example the mean embedding
                of each new class. By default as the base loss draws them.
            optimizer: which trains the loss; its running averages of the old proxies are kept.

        Raises:
            TypeError: if ``parents`` is missing or of no use.
            ValueError: if something does not fit; nothing has changed then.

        Example:
            >>> tree = Hierarchy.from_parents([[0, 0, 1, 1]])
            >>> loss_func = HierarchicalProxyLoss(4, 8, hierarchy=tree)
            >>> loss_func.add_classes(2, parents=[1, 0])
            >>> loss_func.hierarchy.class_labels[:, 1].tolist()
            [0, 0, 1, 1, 1, 0]
        """
        growth.add_classes(self, num_new, parents, proxies, optimizer)

    # ---------------------------------------------------------------- state
    def _load_from_state_dict(self, state_dict: Any, prefix: str, *args: Any) -> None:
        check_checkpoint(self, state_dict, prefix)
        super()._load_from_state_dict(state_dict, prefix, *args)

    def extra_repr(self) -> str:
        """The line that ``print(loss)`` adds."""
        kinds = {True: "given", False: "discovered"}
        levels = [f"{s} {kinds[g]}" for s, g in zip(self.sizes[1:], self.is_given[1:], strict=True)]
        return (
            f"num_classes={self.num_classes}, superclasses: {', '.join(levels) or 'none'}, "
            f"level_weights={self.weights}, warmup={self.schedule.warmup}, "
            f"recluster_every={self.schedule.every}, coarse_proxies={self.coarse_proxies!r}"
        )


def _reduced(loss: torch.Tensor) -> dict[str, Any]:
    return {"losses": loss, "indices": None, "reduction_type": "already_reduced"}
