"""The hierarchical proxy loss of Yang et al. (WACV 2022) on any proxy loss of PML."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import torch
from pytorch_metric_learning.losses import BaseMetricLossFunction, ProxyAnchorLoss
from pytorch_metric_learning.reducers import DoNothingReducer
from pytorch_metric_learning.utils import common_functions as c_f
from pytorch_metric_learning.utils.inference import FaissKMeans

from . import level_losses as levels
from .hierarchy import Hierarchy
from .superclasses import SuperclassState, discover, level_sizes


class HierarchicalProxyLoss(BaseMetricLossFunction):
    r"""Pull each embedding to the proxy of its class and to the proxies of its superclasses.

    .. math:: L(x, y) = \sum_l w_l \, L_{base}(x, P_l, y_l)

    :math:`P_0` are the proxies of the base loss, :math:`y_l` is the class of level :math:`l` that
    the label belongs to. After a warm-up on the fine level alone, a coarse proxy starts as the mean
    of the proxies of its classes, and is learned. Without a given hierarchy, the fine proxies are
    clustered then, and again every ``recluster_every`` training steps (calls in training mode with
    gradients). With one level, this loss *is* its base loss. **Its proxies need an optimizer.**
    It records ``num_updates``, and the unweighted ``loss_level0``, ``loss_level1``, ...
    Source: Yang et al., *Hierarchical Proxy-based Loss for Deep Metric Learning*, WACV 2022.

    Arguments:
        num_classes: number of fine classes; labels are in ``0..num_classes-1``.
        embedding_size: size of the embeddings.
        base_loss: a proxy loss class of PML, or a callable that makes one.
        hierarchy: the tree of the classes, a :class:`Hierarchy`.
        num_superclasses: how many to discover, inside a given ``hierarchy``: a number, decreasing
            ones, or ``"auto"``, the default without a tree: a quarter of the classes, 2 to 1,000.
        level_weights: finest first; or a number for every coarse level, with 1 for the finest.
        warmup: training steps on the fine level alone.
        recluster_every: training steps between updates; ``None`` leaves them to ``ReclusterHook``.
        coarse_proxies: ``"learned"``, or as in the paper ``"fixed"`` to the means between updates.
        coarse_scale: multiplies the scale (``alpha``, 1 / ``temperature``, ...) of coarse levels.
        clusterer: ``clusterer(points, num_clusters) -> labels``, as PML's ``kmeans_func``.
        level_kwargs: settings of the base loss for single levels, ``{1: {"margin": 0.2}}``.
        engine: computes all levels at once where it can; ``None``: one PML loss per level.
        **base_loss_kwargs: of every level; regularizers and class-weighted reducers of the finest.

    Example:
        >>> loss_func = HierarchicalProxyLoss(100, 64, num_superclasses=10, warmup=0)
        >>> loss_func(torch.randn(32, 64), torch.randint(100, (32,))).backward()
        >>> loss_func.hierarchy
        Hierarchy(sizes=(100, 10))
    """

    def __init__(
        self,
        num_classes: int,
        embedding_size: int,
        base_loss: Callable[..., Any] = ProxyAnchorLoss,
        hierarchy: Any = None,
        num_superclasses: int | str | Sequence[int] | None = None,
        level_weights: float | Sequence[float] = 0.1,
        warmup: int = 100,
        recluster_every: int | None = 100,
        coarse_proxies: str = "learned",
        coarse_scale: float = 0.25,
        clusterer: Any = None,
        level_kwargs: Mapping[int, Mapping[str, Any]] | None = None,
        engine: Any = None,
        **base_loss_kwargs: Any,
    ) -> None:
        given = Hierarchy([[c] for c in range(num_classes)]) if hierarchy is None else hierarchy
        if not isinstance(given, Hierarchy):
            raise TypeError(f"hierarchy must be a Hierarchy(class_labels), got {given!r:.200}")
        if given.num_classes != num_classes:
            raise ValueError(f"hierarchy has {given.num_classes} fine classes, but {num_classes=}")
        if coarse_proxies not in (kinds := self.kinds_of_coarse_proxies):
            raise ValueError(f"coarse_proxies must be one of {kinds}, got {coarse_proxies!r}")
        if num_superclasses is None:
            num_superclasses = "auto" if hierarchy is None else ()
        sizes, is_given = level_sizes(num_classes, given.sizes[1:], num_superclasses)
        self.__dict__["sizes"] = sizes  # PML asks for the sub-losses during its own construction
        self.level_weights, settings = level_weights, level_kwargs or {}
        if unknown := {*settings} - {*range(len(sizes))}:
            known = f"the levels are 0..{len(sizes) - 1} (0 is the finest)"
            raise ValueError(f"level_kwargs has settings for level {unknown.pop()!r}, but {known}")
        made_of = (base_loss, embedding_size, base_loss_kwargs, settings)
        factory = levels.LevelLossFactory(*made_of, coarse_proxies, coarse_scale)
        losses = [factory.make(level, size) for level, size in enumerate(sizes)]
        fine, is_flat = losses[0], len(sizes) == 1
        self.__dict__["_sub_losses"] = fine.sub_loss_names() if is_flat else ["loss"]
        reducer = fine.reducer if is_flat or isinstance(fine.reducer, DoNothingReducer) else None
        super().__init__(collect_stats=fine.collect_stats, distance=fine.distance, reducer=reducer)
        self.num_classes, self.embedding_size = num_classes, embedding_size
        self.is_given, self.coarse_proxies = is_given, coarse_proxies
        self.warmup, self.recluster_every = warmup, recluster_every
        self.clusterer, self.engine = clusterer or FaissKMeans(min_points_per_centroid=1), engine
        self.layout = levels.layout_of(type(fine)).of(fine, num_classes)
        self.level_factory, names = factory, iter(given.names or ())
        self.class_names = given.names and tuple(next(names) if one else None for one in is_given)
        with torch.device("cpu"):  # even where a model is made on the meta device
            table = torch.full((num_classes, len(sizes)), -1)
            table[:, torch.tensor(is_given)] = torch.tensor(given.class_labels)
            self.superclasses = SuperclassState(table, sizes)
        # Not a ModuleList: record-keeper makes SQL tables of the names, which cannot begin with 0.
        self.level_losses = torch.nn.ModuleDict({f"level{n}": one for n, one in enumerate(losses)})
        self.level_records = [f"loss_level{level}" for level in range(len(sizes))]
        if not is_flat:
            self.add_to_recordable_attributes(list_of_names=["num_updates", *self.level_records])

    # ------------------------------------------------------------ what a subclass may override
    hierarchy_class = Hierarchy
    kinds_of_coarse_proxies: tuple[str, ...] = ("learned", "fixed")
    weight_schedule: Any = None  # a function of the training step
    _uncompiled_step = torch.compiler.disable(lambda self: self._before_training_step())

    def class_vectors(self) -> torch.Tensor:
        """What is clustered and averaged: one vector per fine class."""
        return self.layout.class_vectors(self.proxies_in_use(1)[0])

    def find_superclasses(self, vectors: torch.Tensor) -> torch.Tensor:
        """The class labels of all levels, ``(num_classes, num_levels)``, from a new clustering."""
        stored = self.proxies_in_use(len(self.sizes))[1:] if self.num_updates else ()
        centroids = [self.layout.class_vectors(proxies) for proxies in stored] or None
        args = (self.sizes, self.is_given, self.clusterer, centroids)
        return discover(vectors, self.class_labels, *args, bool(self.layout.direction_only))

    def coarse_means(self, vectors: torch.Tensor, table: torch.Tensor, level: int) -> torch.Tensor:
        """The mean of each superclass, with gradients, ``(sizes[level], embedding_size)``."""
        labels, wide = table[:, level], vectors.to(torch.promote_types(vectors.dtype, torch.float))
        sums = wide.new_zeros(self.sizes[level], wide.shape[1]).index_add(0, labels, wide)
        return (sums / labels.bincount(minlength=len(sums))[:, None]).to(vectors.dtype)

    def compute_loss(
        self, embeddings: Any, labels: Any, indices_tuple: Any, ref_emb: Any, ref_labels: Any
    ) -> dict[str, Any]:
        """PML's ``loss_dict``: of the weighted sum, or all elements for a ``DoNothingReducer``."""
        c_f.labels_required(labels)
        c_f.ref_not_supported(embeddings, labels, ref_emb, ref_labels)
        labels = labels if labels.is_floating_point() else labels.long()
        if len(self.sizes) == 1:
            fine = self.level_loss(0)
            loss_dict = fine.compute_loss(embeddings, labels, indices_tuple, embeddings, labels)
            fine.add_embedding_regularization_to_loss_dict(loss_dict, embeddings)
            return loss_dict
        if self.training and torch.is_grad_enabled():
            apart = torch.compiler.is_compiling() and (self.recluster_every or self.weight_schedule)
            (self._uncompiled_step if apart else self._before_training_step)()
        now = self.superclasses.read()
        if now.class_labels.device != embeddings.device:  # PML's losses move there, too
            now = self.to(embeddings.device).superclasses.read()
        num_levels = len(self.sizes) if now.is_active else 1
        table = now.class_labels.t()[:num_levels].index_select(1, labels)
        losses = [*self.level_losses.values()]
        losses, unused = losses[:num_levels], losses[num_levels:]
        if unused and torch.distributed.is_available() and torch.distributed.is_initialized():
            # DistributedDataParallel expects a gradient for every parameter in every step
            embeddings = embeddings + 0 * sum(p.sum() for one in unused for p in one.parameters())
        proxies, weights = self.proxies_in_use(num_levels), self.level_weights[:num_levels]
        by_pml = partial(levels.values_by_pml, losses, self.layout.attribute, table, indices_tuple)
        found = None
        if self.engine is not None and indices_tuple is None:
            plain, step = partial(levels.weighted_sum, by_pml, weights), self.superclasses.steps
            found = self.engine(losses, proxies, embeddings, table, weights, step, plain)
        if found is None:
            values = by_pml(embeddings, proxies)
            if isinstance(self.reducer, DoNothingReducer):
                return levels.elements_of_levels(values, weights)
            found = levels.weighted_sum(lambda: values, weights), map(levels.recorded, values)
        for name, value in zip(self.level_records, found[1], strict=False):
            self.__dict__[name] = value  # torch.compile can follow this, but not update()
        return {"loss": {"losses": found[0], "indices": None, "reduction_type": "already_reduced"}}

    def proxies_in_use(self, num_levels: int) -> list[torch.Tensor]:
        """The proxies of the finest levels, as their losses store them."""
        return [getattr(self.level_loss(n), self.layout.attribute) for n in range(num_levels)]

    def level_loss(self, level: int) -> Any:
        """PML's loss that is summed at a level; at level 0, the one with the fine proxies."""
        return self.level_losses[f"level{level}"]

    def get_logits(self, embeddings: torch.Tensor, level: int = 0) -> Any:
        """The base loss's logits: ``(batch_size, sizes[level])``; coarse ones after the warm-up."""
        return self.level_loss(level).get_logits(embeddings)

    def _sub_loss_names(self) -> list[str]:
        return list(self._sub_losses)

    def _before_training_step(self) -> None:
        if self.recluster_every is not None and self.is_due(self.recluster_every):
            self.recluster()
        self.superclasses.count_step()

    def is_due(self, every: int) -> bool:
        """Whether the warm-up is over and the last update is ``every`` training steps ago."""
        now = self.superclasses.read()
        return now.step - now.last_update >= every if now.is_active else now.step >= self.warmup

    def recluster(self) -> Hierarchy:
        """Discover the levels that are not given, and set each coarse proxy to the mean of its
        classes. Superclasses keep their numbers; learned proxies are set only by the first update.
        Raises ``ValueError`` if proxies to be clustered hold NaN."""
        before = self.superclasses.read()
        with torch.inference_mode(False), torch.no_grad():  # buffers must not be inference tensors
            vectors, is_known = self.class_vectors(), all(self.is_given)
            table = before.class_labels if is_known else self.find_superclasses(vectors)
            if not (before.is_active and self.coarse_proxies == "learned"):
                for level in range(1, len(self.sizes)):
                    means = self.layout.stored_form(self.coarse_means(vectors, table, level))
                    stored = getattr(loss := self.level_loss(level), self.layout.attribute)
                    if isinstance(stored, torch.nn.Parameter):
                        stored.copy_(means)
                    else:  # a new tensor: a later backward pass may still need the old one
                        setattr(loss, self.layout.attribute, means.to(stored).contiguous())
            self.superclasses.write(table)
        return self.hierarchy_class(table, self.class_names)

    @property
    def level_weights(self) -> tuple[float, ...]:
        """The weight of each level, finest first; set as in the constructor."""
        return self._level_weights

    @level_weights.setter
    def level_weights(self, weights: Any) -> None:
        self._level_weights = levels.checked_weights(weights, len(self.sizes))

    @property
    def is_active(self) -> bool:
        """Whether the coarse levels take part in the loss."""
        return self.superclasses.read().is_active

    @property
    def num_updates(self) -> int:
        """How many updates there have been; see :meth:`recluster`."""
        return self.superclasses.read().num_updates

    @property
    def class_labels(self) -> torch.Tensor:
        """The class of every fine class at every level, ``(num_classes, num_levels)``."""
        return self.superclasses.read().class_labels

    @property
    def hierarchy(self) -> Hierarchy | None:
        """The tree of the classes, or ``None`` while it is still to be discovered."""
        is_known = self.is_active or all(self.is_given)
        return self.hierarchy_class(self.class_labels, self.class_names) if is_known else None
