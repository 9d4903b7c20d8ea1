"""The life of a divided loss: its schedule, its hierarchy and its checkpoints."""

from __future__ import annotations

from typing import Any

import torch
import torch.distributed as dist
from pytorch_metric_learning.utils.module_with_records import ModuleWithRecords
from torch.distributed.device_mesh import DeviceMesh

from ...hierarchy import Hierarchy
from ..life_cycle import LifeCycle
from .updates import update


class Life(LifeCycle, ModuleWithRecords):
    """What :class:`~.loss.ShardedHierarchicalProxyLoss` is, but for the loss itself."""

    num_classes: int
    share: tuple[int, int]
    proxies: torch.nn.Parameter
    class_numbers: torch.Tensor

    @property
    def mesh(self) -> DeviceMesh:
        """The processes that share the classes."""
        proxies: Any = self.proxies
        mesh: DeviceMesh = proxies.device_mesh
        return mesh

    @property
    def group(self) -> dist.ProcessGroup:
        """The same processes, for collectives."""
        return self.mesh.get_group()

    # ---------------------------------------------------------------- the hierarchy
    def recluster(self) -> Hierarchy:
        """Discover the levels that are not given from the fine proxies, and set each coarse proxy
        to the mean direction of its members. **All processes have to call it.**

        To discover, the first process gathers the ``num_classes * embedding_size`` numbers of the
        class vectors and clusters them, which takes a few times their memory for as long as that
        lasts; a given tree needs partial sums alone.

        Raises:
            ValueError: if the proxies hold NaN.
            RuntimeError: if the clustering fails; in the first process, its own error.
        """
        return update(self)

    def coarse_proxies(self, level: int) -> torch.Tensor:
        """The proxies of a coarse level, the same in all processes: ``(sizes[level], D)``."""
        return self.get_buffer(f"coarse_level{level}")

    def set_coarse_proxies(self, level: int, proxies: torch.Tensor) -> None:
        """Replace the proxies of a coarse level, in this process."""
        setattr(self, f"coarse_level{level}", proxies)

    # ---------------------------------------------------------------- the proxies
    @property
    def local_proxies(self) -> torch.Tensor:
        """The fine proxies of this process, those of the classes ``share[0] .. share[1] - 1``:
        ``(its classes, embedding_size)``, differentiable.
        """
        return _local(self.proxies)

    @torch.no_grad()
    def full_proxies(self) -> torch.Tensor:
        """The fine proxies of all processes, in all of them: ``(num_classes, embedding_size)``.

        For evaluation and export; a training step never gathers them. **All processes have to call
        it**, and each needs the memory.
        """
        whole: Any = self.proxies.data
        full: torch.Tensor = whole.full_tensor()
        return full

    # ---------------------------------------------------------------- checkpoints
    def _load_from_state_dict(self, state_dict: Any, prefix: str, *args: Any) -> None:
        self._check_checkpoint(
            state_dict.get(prefix + "class_labels"), state_dict.get(prefix + "class_numbers")
        )
        super()._load_from_state_dict(state_dict, prefix, *args)

    def _check_checkpoint(self, labels: torch.Tensor | None, numbers: torch.Tensor | None) -> None:
        if labels is not None and labels.shape != self.class_labels.shape:
            raise ValueError(
                f"the checkpoint is of a loss with {labels.shape[0]} classes and "
                f"{labels.shape[1]} levels, and this one has {self.num_classes} classes and "
                f"{len(self.sizes)} levels: construct it with the same arguments"
            )
        if numbers is None or torch.equal(_local(numbers), _local(self.class_numbers)):
            return
        found = _local(numbers).tolist()
        raise ValueError(
            f"the checkpoint holds {len(found)} classes (the first is {found[:1]}), but rank "
            f"{self.group.rank()} of {self.group.size()} holds the classes {self.share[0]} to "
            f"{self.share[1] - 1}: every process must save and load a file of its own, or use "
            "torch.distributed.checkpoint"
        )


def _local(tensor: Any) -> torch.Tensor:
    """The part of a ``DTensor`` that is in this process."""
    local: torch.Tensor = tensor.to_local()
    return local
