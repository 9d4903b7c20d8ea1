"""The hierarchical proxy loss of Yang et al. (WACV 2022) on any proxy loss of PML."""

from __future__ import annotations

import time
import weakref
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from pytorch_metric_learning.losses import BaseMetricLossFunction, ProxyAnchorLoss
from pytorch_metric_learning.reducers import DoNothingReducer
from pytorch_metric_learning.utils import common_functions as c_f

from ..clustering import discover
from ..hierarchy import Hierarchy
from .arguments import check_batch, checked_hierarchy, checked_weights, level_sizes
from .proxy_access import get_proxies, hold_fixed, layout_of, normalises
from .schedule import Schedule, warn_if_never_built

_FINE_LEVEL_ONLY = (
    "weight_regularizer",
    "weight_reg_weight",
    "embedding_regularizer",
    "embedding_reg_weight",
)


class HierarchicalProxyLoss(BaseMetricLossFunction):
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
        embedding_size: the size of the embeddings.
        base_loss: a proxy loss class of PML, or a callable that takes ``num_classes``,
            ``embedding_size`` and ``base_loss_kwargs`` by keyword and returns such a loss.
        hierarchy: the tree of the classes: a :class:`~pml_hierarchical.hierarchy.Hierarchy`, or
            the 2-D labels of samples in which every class occurs (column 0 the finest). With a
            hierarchy of one level, this loss *is* its base loss.
        num_superclasses: instead of ``hierarchy``, how many superclasses to discover; a
            decreasing sequence makes several levels, an empty one none. The default is
            ``round(sqrt(num_classes))``.
        level_weights: the weight of each level, finest first; a single number is the weight of
            every coarse level beside a fine level of weight 1.
        warmup: how many training steps the fine level is trained alone.
        recluster_every: every how many training steps the hierarchy is discovered anew (where it
            is not given) and the coarse proxies are recomputed. ``None`` leaves that to
            :class:`~pml_hierarchical.hooks.ReclusterHook` or to calls of :meth:`recluster`.
        seed: of the clustering.
        **base_loss_kwargs: passed on to ``base_loss`` for every level (margins, ``distance``,
            ``reducer``, ...). Regularizers go to the fine level alone.

    Recorded by PML's ``HookContainer``: ``loss_level0``, ``loss_level1``, ... (the unweighted
    loss of each level in the last call; a level that is not active yet has 0), ``num_updates``,
    ``share_moved`` (the share of fine classes that changed their superclass in the last update),
    ``smallest_superclass``, ``largest_superclass`` (fine classes) and ``update_seconds``.

    Raises:
        TypeError: for a base loss without one proxy per class, or an argument it does not know.
        ValueError: for a hierarchy that does not fit, ``num_superclasses >= num_classes``, or
            weights that do not fit the levels; in the forward pass, for labels out of range.

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
        embedding_size: int,
        base_loss: Callable[..., BaseMetricLossFunction] = ProxyAnchorLoss,
        hierarchy: Hierarchy | Any | None = None,
        num_superclasses: int | Sequence[int] | None = None,
        level_weights: float | Sequence[float] = 0.3,
        warmup: int = 100,
        recluster_every: int | None = 100,
        seed: int = 0,
        **base_loss_kwargs: Any,
    ) -> None:
        given = None if hierarchy is None else checked_hierarchy(hierarchy, num_classes)
        sizes = level_sizes(num_classes, given, num_superclasses)
        weights = checked_weights(level_weights, len(sizes))
        schedule = Schedule(warmup, recluster_every)
        losses, layout = _build_level_losses(base_loss, sizes, embedding_size, base_loss_kwargs)
        fine = losses[0]

        is_flat = len(sizes) == 1
        # PML asks for the names of the sub-losses during its own construction.
        self.__dict__["_level_names"] = [f"loss_level{level}" for level in range(len(sizes))]
        self.__dict__["_flat_names"] = fine.sub_loss_names() if is_flat else None
        keeps_reducer = is_flat or isinstance(fine.reducer, DoNothingReducer)
        super().__init__(
            collect_stats=fine.collect_stats,
            distance=fine.distance,
            reducer=fine.reducer if keeps_reducer else None,
        )
        # Not a ModuleList: record-keeper makes SQL tables of the names, which cannot begin with 0.
        self.level_losses = torch.nn.ModuleDict(
            {f"level{level}": loss for level, loss in enumerate(losses)}
        )
        self.num_classes = num_classes
        self.embedding_size = embedding_size
        self.sizes = sizes
        self.level_weights = weights
        self.seed = seed
        self.schedule = schedule
        self._is_given = given is not None
        self._names = None if given is None else given.names
        self._layout = layout
        unknown = np.full((num_classes, len(sizes)), -1)
        unknown[:, 0] = np.arange(num_classes)
        self.register_buffer(
            "class_labels", torch.tensor(unknown if given is None else given.class_labels)
        )
        self._set_records()
        if not is_flat:
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
        """PML's ``loss_dict``: one entry per level, or the base loss's own with a single level."""
        c_f.labels_required(labels)
        c_f.ref_not_supported(embeddings, labels, ref_emb, ref_labels)
        check_batch(embeddings, labels, self.num_classes, self.embedding_size)
        fine = self.level_loss(0)
        loss_dict: dict[str, Any] = {}
        if self._flat_names is not None:
            loss_dict = fine.compute_loss(embeddings, labels, indices_tuple, ref_emb, ref_labels)
            fine.add_embedding_regularization_to_loss_dict(loss_dict, embeddings)
            return loss_dict
        if self.training and torch.is_grad_enabled():
            self._before_training_step()
        for level, name in enumerate(self._level_names if self.is_active else ["loss_level0"]):
            level_labels = labels if level == 0 else self.class_labels[labels.long(), level]
            loss = self._loss_at(level, embeddings, level_labels, indices_tuple)
            weight = self.level_weights[level]
            if isinstance(loss, dict):  # what a DoNothingReducer leaves: every element on its own
                for element, info in loss.items():
                    loss_dict[f"{element}_level{level}"] = {
                        **info,
                        "losses": weight * info["losses"],
                    }
                continue
            setattr(self, name, loss.detach())
            loss_dict[name] = {
                "losses": weight * loss,
                "indices": None,
                "reduction_type": "already_reduced",
            }
        return loss_dict

    def _loss_at(
        self, level: int, embeddings: torch.Tensor, labels: torch.Tensor, indices_tuple: Any
    ) -> Any:
        loss_func = self.level_loss(level)
        proxies = getattr(loss_func, self._layout.attribute)
        wanted = proxies.dtype if torch.is_autocast_enabled() else embeddings.dtype
        if proxies.dtype == wanted and proxies.device == embeddings.device:
            return loss_func(embeddings, labels, indices_tuple)
        # PML's losses cast their own proxies, for good, to what the embeddings are (half, say).
        # Here the loss sees a cast copy instead, and the gradient flows back to the parameter.
        cast = {self._layout.attribute: proxies.to(embeddings.device, wanted)}
        return torch.func.functional_call(loss_func, cast, (embeddings, labels, indices_tuple))

    def level_loss(self, level: int) -> Any:
        """The loss of PML that is summed at a level; at level 0 the one with the parameters."""
        return self.level_losses[f"level{level}"]

    def get_logits(self, embeddings: torch.Tensor, level: int = 0) -> torch.Tensor:
        """The base loss's logits of the classes of a level: ``(batch_size, sizes[level])``.

        Raises:
            RuntimeError: for a coarse level that is not built yet.
        """
        if level > 0 and not self.is_active:
            raise RuntimeError(
                f"level {level} has no proxies yet: they are set after the warm-up of "
                f"{self.schedule.warmup} training steps ({self.schedule.step} are done), or by "
                "recluster()"
            )
        logits: torch.Tensor = self.level_loss(level).get_logits(embeddings)
        return logits

    def _sub_loss_names(self) -> list[str]:
        return list(self._level_names if self._flat_names is None else self._flat_names)

    # ---------------------------------------------------------------- the hierarchy
    @property
    def is_active(self) -> bool:
        """Whether the coarse levels take part in the loss."""
        return self.schedule.num_updates > 0

    @property
    def hierarchy(self) -> Hierarchy | None:
        """The tree of the classes, or ``None`` while it is still to be discovered."""
        is_known = self._is_given or self.is_active or len(self.sizes) == 1
        return Hierarchy(self.class_labels, self._names) if is_known else None

    @torch.no_grad()
    def recluster(self) -> Hierarchy:
        """Discover the hierarchy from the fine proxies, unless it is given, and set each coarse
        proxy to the mean of its members (of their directions, where the loss normalises them).

        The clustering starts from the hierarchy in use, so that superclasses keep their number.
        """
        start = time.perf_counter()
        fine_loss = self.level_loss(0)
        fine = get_proxies(fine_loss, self._layout)
        before = after = self.hierarchy
        if after is None or not self._is_given:
            after = discover(fine, self.sizes[1:], normalises(fine_loss), before, self.seed)
            self.class_labels.copy_(torch.tensor(after.class_labels))
        points = torch.nn.functional.normalize(fine) if normalises(fine_loss) else fine
        for level in range(1, len(self.sizes)):
            coarse = get_proxies(self.level_loss(level), self._layout)
            coarse.zero_().index_add_(0, self.class_labels[:, level], points.to(coarse.dtype))
            coarse /= self.class_labels[:, level].bincount().unsqueeze(1)
        self.schedule.num_updates += 1
        if len(self.sizes) > 1:
            self._record_update(before, after, time.perf_counter() - start)
        return after

    def _before_training_step(self) -> None:
        if self.schedule.is_due():
            self.recluster()
        self.schedule.warn_if_late()
        self.schedule.step += 1

    # ---------------------------------------------------------------- state and records
    def get_extra_state(self) -> dict[str, int]:
        """What a resumed run needs beside the tensors; a part of ``state_dict``."""
        return self.schedule.state()

    def set_extra_state(self, state: dict[str, int]) -> None:
        """Take back what :meth:`get_extra_state` gave; called by ``load_state_dict``."""
        self.schedule.load_state(state)

    @property
    def num_updates(self) -> int:
        """How many times the coarse proxies were computed."""
        return self.schedule.num_updates

    def _set_records(self) -> None:
        for name in self._level_names:
            setattr(self, name, 0.0)
        self.share_moved = self.update_seconds = 0.0
        self.smallest_superclass = self.largest_superclass = 0
        if self._flat_names is None:
            names = ["share_moved", "smallest_superclass", "largest_superclass"]
            self.add_to_recordable_attributes(
                list_of_names=[*self._level_names, "num_updates", *names, "update_seconds"],
                is_stat=False,
            )

    def _record_update(self, before: Hierarchy | None, after: Hierarchy, seconds: float) -> None:
        superclasses = after.class_labels[:, 1]
        members = np.bincount(superclasses)
        self.smallest_superclass, self.largest_superclass = int(members.min()), int(members.max())
        if before is not None:
            self.share_moved = float(np.mean(before.class_labels[:, 1] != superclasses))
        self.update_seconds = seconds

    def __getattr__(self, name: str) -> Any:
        """What users reach for on the base loss (``proxies``, ``margin``, ...) answers here too."""
        try:
            return super().__getattr__(name)
        except AttributeError:
            levels = self.__dict__.get("_modules", {}).get("level_losses")
            if levels is None or name.startswith("_"):
                raise
            return getattr(levels["level0"], name)

    def extra_repr(self) -> str:
        """The line that ``print(loss)`` adds."""
        kind = "given" if self._is_given else "discovered"
        return (
            f"sizes={self.sizes} ({kind}), level_weights={self.level_weights}, "
            f"warmup={self.schedule.warmup}, recluster_every={self.schedule.every}"
        )


def _build_level_losses(
    base_loss: Callable[..., BaseMetricLossFunction],
    sizes: Sequence[int],
    embedding_size: int,
    kwargs: dict[str, Any],
) -> tuple[list[BaseMetricLossFunction], Any]:
    # The fine loss comes first, and the coarse ones leave the random generator as it was: a script
    # sees the same random numbers whether it uses the base loss or the hierarchical one.
    losses = [base_loss(num_classes=sizes[0], embedding_size=embedding_size, **kwargs)]
    layout = layout_of(losses[0], sizes[0])
    coarse_kwargs = {k: v for k, v in kwargs.items() if k not in _FINE_LEVEL_ONLY}
    with torch.random.fork_rng(devices=[]):
        for size in sizes[1:]:
            loss = base_loss(num_classes=size, embedding_size=embedding_size, **coarse_kwargs)
            layout_of(loss, size)
            hold_fixed(loss, layout)
            losses.append(loss)
    return losses, layout
