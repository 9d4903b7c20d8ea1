"""The hierarchical proxy loss with its fine classes divided among processes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

import torch
import torch.distributed as dist
from torch import Tensor
from torch.distributed.device_mesh import DeviceMesh

from ..core import hierarchical_proxy_loss as core
from ..hierarchy import Hierarchy
from ..kernels import AllLevels, Settings, Share
from . import processes
from .arguments import SIGNATURE, checked_arguments
from .checks import check_values, checked_labels
from .fast_path import FAST_LOSSES, settings_of
from .hierarchical_proxy_loss import HierarchicalProxyLoss


class ShardedHierarchicalProxyLoss(HierarchicalProxyLoss):
    r""":class:`~pml_hierarchical.losses.HierarchicalProxyLoss` for more classes than one process
    can train: every process holds the proxies of a part of the fine classes.

    Every process calls it with its own samples, and gets the loss of the samples of all processes.
    The gradients suit a trunk in ``DistributedDataParallel`` (which averages over processes) and
    proxies that are each in only one process: training equals that of one process with the whole
    batch. **Do not wrap this loss in** ``DistributedDataParallel`` or ``DistributedLossWrapper``::

        torch.distributed.init_process_group()
        trunk = DistributedDataParallel(trunk)
        loss_func = ShardedHierarchicalProxyLoss(1_000_000, 128, base_loss=CosFaceLoss)
        loss_optimizer = torch.optim.AdamW(loss_func.parameters(), lr=1e-2)  # not the trunk's

    ``loss_func.proxies`` is a ``DTensor`` of shape ``(num_classes, embedding_size)``, sharded in
    dimension 0; the coarse proxies, which are few, are in all processes. All start as those of
    ``HierarchicalProxyLoss`` for the same seed, if all processes set it. In a step the processes
    exchange embeddings and labels, and for softmax losses three numbers per sample and level.
    ``create_graph=True`` is an error: the gradient is computed by hand.

    Arguments:
        num_classes: of all processes together; labels are in ``0..num_classes-1``.
        embedding_size: as in ``HierarchicalProxyLoss``, and so are ``hierarchy``,
            ``num_superclasses``, ``level_weights``, ``warmup``, ``recluster_every``,
            ``coarse_scale``, ``clusterer`` and ``level_kwargs``; the same in all processes.
        base_loss: PML's ProxyAnchorLoss, ProxyNCALoss, NormalizedSoftmaxLoss, CosFaceLoss or
            ArcFaceLoss, or a callable that makes one.
        coarse_proxies: ``"fixed"``, the default here and the only choice.
        engine: ``FastPath(save_memory=True)`` computes the exponentials of the softmax losses a
            second time for the gradient instead of keeping ``batch_size * classes / processes``.
        device_mesh: the processes that share the classes, in one dimension; by default all of
            them, on CUDA if they use NCCL. Do not move the loss to another device.
        **base_loss_kwargs: settings of ``base_loss``, but no distance, reducer or regularizer.

    Raises ``RuntimeError`` if ``torch.distributed`` is not initialised, ``TypeError`` for another
    base loss, and ``ValueError`` for fewer classes than processes, options that need all classes,
    and where ``HierarchicalProxyLoss`` does; in **all** processes if one has an unusable batch.

    Example:
        >>> import torch.distributed as dist
        >>> store = dist.HashStore()  # for one process; torchrun sets up one for several
        >>> dist.init_process_group("gloo", store=store, rank=0, world_size=1)
        >>> loss_func = ShardedHierarchicalProxyLoss(100, 64, num_superclasses=10, warmup=0)
        >>> loss = loss_func(torch.randn(32, 64), torch.randint(100, (32,)))
        >>> loss.backward()
        >>> loss_func.proxies.grad.shape
        torch.Size([100, 64])
        >>> dist.destroy_process_group()
    """

    proxies: Any  # a parameter that is a DTensor
    class_numbers: Any
    block_size = 0  # how many classes to work on at once; 0 for what suits the device

    def __init__(self, *args: Any, device_mesh: DeviceMesh | None = None, **kwargs: Any) -> None:
        if len(args) <= [*SIGNATURE.parameters].index("coarse_proxies"):
            kwargs.setdefault("coarse_proxies", "fixed")
        arguments = checked_arguments(*args, **kwargs)
        if arguments["coarse_proxies"] != "fixed":
            rule = "coarse_proxies can only be 'fixed' in ShardedHierarchicalProxyLoss"
            got = f"{arguments['coarse_proxies']!r}; HierarchicalProxyLoss has the other choices"
            raise ValueError(f"{rule}, got {got}")
        engine = arguments["engine"]
        if engine is None or engine.class_share < 1:
            raise ValueError(
                f"engine must be a FastPath with class_share=1, got {engine or 'pml'!r}: classes "
                "that are divided among processes cannot be left to PML's losses or sampled"
            )
        mesh = processes.checked_mesh(device_mesh, arguments["num_classes"])
        super().__init__(*args, **kwargs)
        self.share = processes.share_of(self.num_classes, mesh.get_local_rank(), mesh.size())
        fine, attribute = self.level_loss(0), self.layout.attribute
        stored = getattr(fine, attribute).detach()
        delattr(fine, attribute)
        self.to(mesh.device_type)
        proxies = torch.nn.Parameter(processes.divided(self.layout.rows(stored), mesh))
        self.register_parameter("proxies", proxies)
        # the numbers of the classes held here, so that another process's checkpoint is noticed
        numbers = torch.arange(self.num_classes)
        self.register_buffer("class_numbers", processes.divided(numbers, mesh))

    def check_engine(self) -> None:
        """Raise if the classes of these losses cannot be divided."""
        self._settings((1.0,) * len(self.sizes))

    def _settings(self, weights: Sequence[float]) -> Settings:
        """The losses of the finest levels as numbers, one level for each weight."""
        losses = [self.level_loss(level) for level in range(len(weights))]
        name = type(losses[0]).__name__
        if type(losses[0]) not in FAST_LOSSES:
            raise TypeError(
                f"base_loss makes a {name}, whose classes cannot be divided among processes. Those "
                f"of PML's {', '.join(one.__name__ for one in FAST_LOSSES)} can (not of their "
                "subclasses); for any other, use HierarchicalProxyLoss with DistributedLossWrapper."
            )
        settings = settings_of(losses, weights, self.engine.save_memory)
        if settings is None:
            raise ValueError(
                f"a {name} has a distance, reducer, regularizer, collect_stats or learned setting "
                "that cannot be divided among processes: leave it out, or use "
                "HierarchicalProxyLoss with DistributedLossWrapper"
            )
        sizes = self.sizes[: len(weights)]
        return settings._replace(sizes=sizes, class_dim=0, block_size=self.block_size)

    def forward(  # type: ignore[override]
        self, embeddings: Tensor, labels: Any, indices_tuple: None = None
    ) -> Tensor:
        """The loss of the batch of all processes, the same in all; **all have to call it**.

        Arguments:
            embeddings: of this process, ``(its batch size, embedding_size)``; the number of samples
                may differ between processes, but must not be 0.
            labels: integers of shape ``(its batch size,)``.
            indices_tuple: must be ``None``: miners are not supported.
        """
        device, error = self.class_labels.device, None
        try:
            if indices_tuple is not None:
                raise ValueError("indices_tuple must be None: a miner sees only one process")
            labels = checked_labels(labels, embeddings, self.embedding_size)
            if embeddings.device != device:
                raise ValueError(f"embeddings must be on {device}, not {embeddings.device}")
            check_values(embeddings, labels, self.num_classes)
        except (TypeError, ValueError) as caught:
            error = caught
        count = 0 if error else len(embeddings)
        counts = processes.counts_or_error(count, error, device, self.group)
        if len(self.sizes) > 1:
            self._check_progress(embeddings)
        with torch.autocast(device.type, enabled=False):
            whole = processes.gather_rows(embeddings.to(self.proxies.dtype), counts, self.mesh)
            labels = processes.gather_rows(labels, counts, self.mesh)
            if not (self.training and torch.is_grad_enabled()):
                self._set_weights(max(0, self.step - 1))  # those of the last training step
            loss: Tensor = self.compute_loss(whole, labels)["loss"]["losses"]
        return loss

    def compute_loss(self, embeddings: Any, labels: Any, *_: Any) -> dict[str, Any]:
        """PML's ``loss_dict`` of the whole batch. Every process works on the fine classes that it
        holds, and on as large a share of every coarse level.
        """
        if len(self.sizes) > 1 and self.training and torch.is_grad_enabled():
            self._before_training_step()
        num_levels = len(self.sizes) if self.is_active else 1
        table = self.class_labels.index_select(0, labels)[:, :num_levels].t().contiguous()
        settings = self._settings(self.level_weights[:num_levels])
        rank, size = self.group.rank(), self.group.size()
        shares = [processes.share_of(one, rank, size) for one in self.sizes[:num_levels]]
        fine, *coarse = [self.layout.rows(one) for one in self.proxies_in_use(num_levels)]
        parts = [fine, *(one[slice(*own)] for one, own in zip(coarse, shares[1:], strict=True))]
        share = Share(self.group, tuple([first for first, _ in shares]))
        needs = [torch.is_grad_enabled() and one.requires_grad for one in (embeddings, *parts)]
        inputs = settings, tuple(needs), None, share, embeddings, table, *parts
        total, values = AllLevels.apply(*inputs)
        self.__dict__.update(zip(self.level_records, values.unbind(), strict=False))
        return {"loss": {"losses": total, "indices": None, "reduction_type": "already_reduced"}}

    def proxies_in_use(self, num_levels: int) -> list[Tensor]:
        """As their losses store them; at the fine level, only those of this process."""
        attribute = self.layout.attribute
        coarse = [getattr(self.level_loss(level), attribute) for level in range(1, num_levels)]
        return [self.layout.rows(self.local_proxies), *coarse]

    def get_logits(self, embeddings: Tensor, level: int = 0) -> Tensor:
        """Not available: no process has the proxies of all classes."""
        raise RuntimeError("get_logits needs all proxies in one process: use to_unsharded()")

    def add_classes(self, *args: Any, **kwargs: Any) -> None:
        """Not available: the shares of the processes would change."""
        raise RuntimeError("add_classes is not available: call it on to_unsharded()")

    def class_vectors(self) -> Tensor:
        """One unit vector per fine class of this process; all processes have to call it."""
        vectors = self.layout.class_vectors(self.proxies_in_use(1)[0])
        processes.check_finite(vectors, self.group)
        return vectors

    def find_superclasses(self, vectors: Tensor) -> Tensor:
        """The table that the first process finds. It gathers the class vectors of all processes,
        for which it needs a few times their memory. If it fails, all processes fail.
        """
        gathered = processes.gathered_at_first(vectors, self.num_classes, self.group)
        table, error = torch.empty_like(self.class_labels), None
        if gathered is not None:
            try:
                table.copy_(core.HierarchicalProxyLoss.find_superclasses(self, gathered))
            except Exception as caught:
                error = caught
        failed = torch.tensor(error is not None, dtype=torch.int64, device=vectors.device)
        dist.all_reduce(failed, op=dist.ReduceOp.MAX, group=self.group)
        if failed.item():
            raise error or RuntimeError("the clustering failed in the first process; see its error")
        dist.broadcast(table, src=dist.get_global_rank(self.group, 0), group=self.group)
        return table

    def coarse_means(self, vectors: Tensor, table: Tensor, level: int) -> Tensor:
        """The mean vector of each superclass, by sums over the classes of each process."""
        labels, size = table[:, level], self.sizes[level]
        sums = vectors.new_zeros(size, vectors.shape[1])
        sums.index_add_(0, labels[slice(*self.share)], vectors)
        dist.all_reduce(sums, group=self.group)
        return sums.div_(torch.bincount(labels, minlength=size).to(sums.dtype).unsqueeze(1))

    @property
    def mesh(self) -> DeviceMesh:
        """The processes that share the classes."""
        return cast("DeviceMesh", self.proxies.device_mesh)

    @property
    def group(self) -> dist.ProcessGroup:
        """The same processes, for collectives."""
        return self.mesh.get_group()

    @property
    def local_proxies(self) -> Tensor:
        """The fine proxies of this process, those of the classes ``share[0] .. share[1] - 1``:
        ``(its classes, embedding_size)``, differentiable.
        """
        return cast("Tensor", self.proxies.to_local())

    @torch.no_grad()
    def full_proxies(self) -> Tensor:
        """The fine proxies of all processes, ``(num_classes, embedding_size)``, for evaluation and
        export. **All processes have to call it**, and each needs the memory.
        """
        return cast("Tensor", self.proxies.detach().full_tensor())

    # ---------------------------------------------------------------- from and to one process
    @classmethod
    def from_unsharded(
        cls, loss_func: HierarchicalProxyLoss, **settings: Any
    ) -> ShardedHierarchicalProxyLoss:
        """A divided loss with the arguments, proxies, hierarchy and counters of an undivided one,
        which must be equal in all processes; ``settings`` are ``device_mesh`` and ``engine``.
        Raises ``ValueError`` if its coarse proxies are not fixed.
        """
        with torch.random.fork_rng(devices=[]):
            new = cls(**{**arguments_of(loss_func), **settings})
        new.to(next(loss_func.parameters()).dtype).load_unsharded(loss_func)
        return new

    @torch.no_grad()
    def load_unsharded(self, loss_func: HierarchicalProxyLoss) -> None:
        """Take this process's proxies, the hierarchy and the counters of an undivided loss; an
        error for another base loss, other sizes, or coarse proxies that are not fixed.
        """
        theirs, ours = (
            f"{type(one.level_loss(0)).__name__}, sizes={one.sizes}, embedding_size="
            f"{one.embedding_size}, coarse_proxies={one.coarse_proxies!r}"
            for one in (loss_func, self)
        )
        if theirs != ours:
            wrong = f"the unsharded loss has {theirs}, and this one {ours}"
            raise ValueError(f"{wrong}: construct this one with from_unsharded(loss)")
        fine, *coarse = loss_func.proxies_in_use(len(self.sizes))
        self.local_proxies.copy_(self.layout.rows(fine)[slice(*self.share)])
        for own, other in zip(self.proxies_in_use(len(self.sizes))[1:], coarse, strict=True):
            own.copy_(other)
        self.superclasses.load_state_dict(loss_func.superclasses.state_dict())
        copy_settings(loss_func, self)

    @torch.no_grad()
    def to_unsharded(self) -> HierarchicalProxyLoss:
        """The same loss undivided, on the CPU, for evaluation (``get_logits``) and export; **all
        processes have to call it** and get it; see :meth:`full_proxies` for the memory.
        """
        with torch.random.fork_rng(devices=[]):
            whole = HierarchicalProxyLoss(**arguments_of(self))
        whole.to(self.proxies.dtype)
        levels = whole.proxies_in_use(len(self.sizes))
        self.layout.rows(levels[0]).copy_(self.full_proxies())
        for other, own in zip(levels[1:], self.proxies_in_use(len(self.sizes))[1:], strict=True):
            other.copy_(own)
        whole.superclasses.load_state_dict(self.superclasses.state_dict())
        copy_settings(self, whole)
        return whole

    def _stored_proxies(self, prefix: str) -> dict[str, Tensor]:
        attribute, levels = self.layout.attribute, range(1, len(self.sizes))
        key = f"{prefix}level_losses.level{{}}.{attribute}"
        coarse = {key.format(n): getattr(self.level_loss(n), attribute) for n in levels}
        return {f"{prefix}proxies": self.proxies, **coarse}

    def _check_checkpoint(self, state_dict: Any, prefix: str) -> None:
        super()._check_checkpoint(state_dict, prefix)
        numbers = state_dict.get(f"{prefix}class_numbers", self.class_numbers).to_local()
        if not torch.equal(numbers, self.class_numbers.to_local()):
            raise ValueError(
                f"the checkpoint holds {len(numbers)} classes (the first is "
                f"{numbers[:1].tolist()}), but rank {self.group.rank()} of {self.group.size()} "
                f"holds the classes {self.share[0]} to {self.share[1] - 1}: every process must "
                "save and load a file of its own, or use torch.distributed.checkpoint"
            )

    def extra_repr(self) -> str:
        """The line that ``print(loss)`` adds."""
        held = f"{self.share[1] - self.share[0]} classes from {self.share[0]}"
        return f"{super().extra_repr()}, {held} on rank {self.group.rank()}"


def copy_settings(source: HierarchicalProxyLoss, target: HierarchicalProxyLoss) -> None:
    """Copy margins and scales, which may have been set on single levels after construction."""
    for level in range(len(source.sizes)):
        one, other = source.level_loss(level), target.level_loss(level)
        for name in filter(None, FAST_LOSSES[type(one)][1:]):
            setattr(other, name, getattr(one, name))


def arguments_of(loss_func: HierarchicalProxyLoss) -> dict[str, Any]:
    """What a divided or an undivided loss was constructed with, for one of the other kind."""
    given = [level for level, is_given in enumerate(loss_func.is_given) if is_given]
    sizes = zip(loss_func.sizes, loss_func.is_given, strict=True)
    factory, names = loss_func.level_factory, loss_func.class_names
    same = "num_classes", "embedding_size", "warmup", "recluster_every", "coarse_proxies"
    return {
        **factory.kwargs,
        **{name: getattr(loss_func, name) for name in (*same, "clusterer")},
        "base_loss": factory.base_loss,
        "hierarchy": Hierarchy(
            loss_func.class_labels[:, given].cpu(), names and [names[level] for level in given]
        ),
        "num_superclasses": tuple(size for size, is_given in sizes if not is_given),
        "level_weights": loss_func.weight_schedule or loss_func.level_weights,
        "coarse_scale": factory.coarse_scale,
        "level_kwargs": factory.level_kwargs,
    }
