"""The hierarchical proxy loss with its fine classes divided among processes."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from pytorch_metric_learning.losses import BaseMetricLossFunction, ProxyAnchorLoss
from torch.distributed.device_mesh import DeviceMesh

from ...clustering import Clusterer, get_clusterer
from ...hierarchy import Hierarchy
from ..arguments import (
    check_integer,
    checked_level_kwargs,
    checked_taxonomy,
    checked_tree,
    first_table,
)
from ..hierarchical_proxy_loss import HierarchicalProxyLoss
from ..level_losses import LevelLossFactory
from ..level_weights import LevelWeights, Weights
from ..proxy_access import get_proxies
from ..records import UpdateRecords
from ..schedule import Schedule
from .autograd import all_levels
from .batch import batch_error
from .collectives import counts_or_error, gather_rows
from .life import Life
from .setting import refuse_unsupported, setting_of
from .shares import checked_mesh, divided, share_of
from .transfer import arguments_of, copy_from_whole, copy_to_whole


class ShardedHierarchicalProxyLoss(Life):
    r""":class:`~pml_hierarchical.losses.HierarchicalProxyLoss` for more classes than one process
    can train: every process holds the proxies of a part of the fine classes.

    Every process calls it with its own samples, and gets the loss of the samples of all processes.
    The gradients are those of a trunk in ``DistributedDataParallel`` (which averages over
    processes) and of proxies that are each in one process alone: with an optimizer for both,
    the parameters become those of one process that is given the whole batch. **Neither wrap this
    loss in** ``DistributedDataParallel`` nor in ``DistributedLossWrapper``::

        torch.distributed.init_process_group()
        trunk = DistributedDataParallel(trunk)
        loss_func = ShardedHierarchicalProxyLoss(1_000_000, 128, base_loss=CosFaceLoss)
        loss_optimizer = torch.optim.AdamW(loss_func.parameters(), lr=1e-2)  # of its own

    ``loss_func.proxies`` is a ``DTensor`` of shape ``(num_classes, embedding_size)``, sharded in
    dimension 0; the other levels, of which there are few classes, are in all processes. In a step
    the processes exchange embeddings and labels, and for the softmax losses three numbers for each
    sample and level. No process computes more than its classes' columns of the batch x classes
    matrix.

    The proxies start as those of ``HierarchicalProxyLoss`` for the same seed, if all processes set
    it: each draws all of them, on the CPU, and keeps its part.

    Arguments:
        num_classes: of all processes together; labels are in ``0..num_classes-1``.
        embedding_size: as in ``HierarchicalProxyLoss``, and so are ``hierarchy``,
            ``num_superclasses``, ``level_weights``, ``warmup``, ``recluster_every``, ``seed``,
            ``clusterer``, ``level_kwargs`` and ``taxonomy``; all processes must be given the same.
        base_loss: PML's ProxyAnchorLoss, ProxyNCALoss, NormalizedSoftmaxLoss, CosFaceLoss or
            ArcFaceLoss, or a callable that makes one.
        save_memory: compute the exponentials of the softmax losses a second time for the gradient
            instead of keeping ``batch_size * classes / processes`` of them.
        block_size: how many classes to work on at once; by default what suits the device.
        device_mesh: the processes that share the classes, of one dimension; by default all of
            them, on CUDA if they talk through NCCL. Move the loss nowhere else.
        **base_loss_kwargs: settings of ``base_loss`` (margins, scales); neither distances, reducers
            nor regularizers.

    Raises:
        RuntimeError: if ``torch.distributed`` is not initialised.
        TypeError: for another base loss.
        ValueError: for fewer classes than processes, options that cannot be divided, and as
            ``HierarchicalProxyLoss``; in the forward pass, in **all** processes if the batch of one
            is not good.

    Example:
        >>> import torch.distributed as dist
        >>> store = dist.HashStore()  # of this process; torchrun sets one up for many
        >>> dist.init_process_group("gloo", store=store, rank=0, world_size=1)
        >>> loss_func = ShardedHierarchicalProxyLoss(100, 64, num_superclasses=10, warmup=0)
        >>> loss = loss_func(torch.randn(32, 64), torch.randint(100, (32,)))
        >>> loss.backward()
        >>> loss_func.proxies.grad.shape
        torch.Size([100, 64])
        >>> dist.destroy_process_group()
    """

    def __init__(
        self,
        num_classes: int,
        embedding_size: int,
        base_loss: Callable[..., BaseMetricLossFunction] = ProxyAnchorLoss,
        hierarchy: Hierarchy | Any | None = None,
        num_superclasses: int | str | Sequence[int] | None = None,
        level_weights: Weights | Callable[[int], Weights] = 0.3,
        warmup: int = 100,
        recluster_every: int | None = 100,
        seed: int = 0,
        clusterer: str | Clusterer | Callable[[np.ndarray, int], Any] = "kmeans",
        level_kwargs: Mapping[int, Mapping[str, Any]] | Sequence[Mapping[str, Any]] | None = None,
        taxonomy: Hierarchy | Any | None = None,
        save_memory: bool = False,
        block_size: int | None = None,
        device_mesh: DeviceMesh | None = None,
        **base_loss_kwargs: Any,
    ) -> None:
        check_integer("num_classes", num_classes, at_least=1)
        check_integer("embedding_size", embedding_size, at_least=1)
        check_integer("seed", seed, at_least=0)
        refuse_unsupported(base_loss_kwargs)
        mesh = checked_mesh(device_mesh, num_classes)
        given, sizes, is_given = checked_tree(num_classes, hierarchy, num_superclasses)
        known = checked_taxonomy(taxonomy, num_classes, is_given)
        super().__init__()
        self.num_classes, self.embedding_size = num_classes, embedding_size
        self.sizes, self.is_given, self.seed = sizes, is_given, seed
        self.weights = LevelWeights(level_weights, len(sizes))
        self.schedule = Schedule(warmup, recluster_every)
        self.clusterer = get_clusterer(clusterer)
        self.share = share_of(num_classes, mesh.get_local_rank(), mesh.size())
        self._names = given.names if given is not None and all(is_given) else None
        settings = checked_level_kwargs(level_kwargs, len(sizes))
        self._factory = LevelLossFactory(
            base_loss, embedding_size, base_loss_kwargs, settings, is_learned=False
        )
        losses, layout = self._factory.make_all(sizes)
        self.base_class = type(losses[0])
        self.setting = setting_of(losses, sizes, save_memory, block_size or 0)
        levels = [get_proxies(loss, layout) for loss in losses]
        self.proxies = torch.nn.Parameter(divided(levels[0], mesh))
        for level, coarse in enumerate(levels[1:], start=1):
            self.register_buffer(f"coarse_level{level}", coarse.to(mesh.device_type).contiguous())
        table = first_table(given, is_given, num_classes).to(mesh.device_type)
        self.register_buffer("class_labels", table)
        # the numbers of the classes that are here: a checkpoint of another process is noticed
        self.register_buffer("class_numbers", divided(torch.arange(num_classes), mesh))
        self._set_up_records(UpdateRecords(is_given, known))

    def _set_up_records(self, records: UpdateRecords) -> None:
        self._records = records
        self._level_names = [f"loss_level{level}" for level in range(len(self.sizes))]
        names = [*self._level_names, *records.names]
        for name in names:
            setattr(self, name, 0.0)
        self.add_to_recordable_attributes(list_of_names=[*names, "num_updates"])

    # ---------------------------------------------------------------- the loss
    def forward(
        self, embeddings: torch.Tensor, labels: torch.Tensor, indices_tuple: None = None
    ) -> torch.Tensor:
        """The loss of the batch of all processes; **all processes have to call it**.

        Arguments:
            embeddings: of this process, ``(its batch size, embedding_size)``; the number of samples
                may be another in every process.
            labels: integers of shape ``(its batch size,)``.
            indices_tuple: of a miner; there must be none.

        Returns:
            A scalar, the same in all processes.
        """
        error = batch_error(self, embeddings, labels, indices_tuple)
        device = self.class_labels.device
        counts = counts_or_error(len(embeddings), error, device, self.group)
        if len(self.sizes) > 1 and self.training and torch.is_grad_enabled():
            self._before_training_step()
        num_levels = len(self.sizes) if self.is_active else 1
        fine = self.local_proxies
        with torch.autocast(embeddings.device.type, enabled=False):
            unit = embeddings.to(fine.dtype)
            if self.setting.normalize:
                unit = torch.nn.functional.normalize(unit)
            unit = gather_rows(unit, counts, self.mesh)
            whole = gather_rows(labels.long(), counts, self.mesh)
            table = self.class_labels[whole, :num_levels].t().contiguous()
            coarse = [self.coarse_proxies(level) for level in range(1, num_levels)]
            setting = self.setting.of_first(num_levels, self.level_weights)
            total, losses = all_levels(unit, fine, coarse, table, setting, self.group)
        for name, loss in zip(self._level_names, losses.unbind(), strict=False):
            setattr(self, name, loss)
        return total

    # ---------------------------------------------------------------- from and to one process
    @classmethod
    def from_unsharded(
        cls, loss_func: HierarchicalProxyLoss, **settings: Any
    ) -> ShardedHierarchicalProxyLoss:
        """A divided loss with the arguments, proxies, hierarchy and counters of an undivided one.

        Arguments:
            loss_func: the same in all processes.
            **settings: ``device_mesh``, ``save_memory`` and ``block_size``.
        """
        with torch.random.fork_rng(devices=[]):
            new = cls(**{**arguments_of(loss_func), **settings})
        new.to(next(loss_func.parameters()).dtype).load_unsharded(loss_func)
        return new

    def load_unsharded(self, loss_func: HierarchicalProxyLoss) -> None:
        """Take this process's proxies, the hierarchy and the counters of an undivided loss.

        Raises:
            TypeError: for another base loss.
            ValueError: for other sizes.
        """
        copy_from_whole(self, loss_func)

    def to_unsharded(self) -> HierarchicalProxyLoss:
        """The same loss in one process, on the CPU; **all processes have to call it** and get it.

        For evaluation (``get_logits``) and export; see :meth:`full_proxies` for the memory.
        """
        with torch.random.fork_rng(devices=[]):
            whole = HierarchicalProxyLoss(**arguments_of(self))
        copy_to_whole(self, whole.to(self.proxies.dtype))
        return whole

    def extra_repr(self) -> str:
        """The line that ``print(loss)`` adds."""
        return (
            f"num_classes={self.num_classes}, base_loss={self.base_class.__name__}, "
            f"sizes={self.sizes}, level_weights={self.weights}, warmup={self.schedule.warmup}, "
            f"recluster_every={self.schedule.every}, rank {self.group.rank()} of "
            f"{self.group.size()} holds the classes {self.share[0]} to {self.share[1] - 1}"
        )
