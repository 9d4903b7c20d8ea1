"""Which classes a process holds, and the parameter that is divided so."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
import torch.distributed as dist
from torch.distributed.device_mesh import DeviceMesh, init_device_mesh

if TYPE_CHECKING:
    from torch.distributed.tensor import DTensor


def share_of(size: int, rank: int, num_processes: int) -> tuple[int, int]:
    """The first of ``size`` classes that a process holds, and the one after its last.

    As ``torch.chunk`` divides, which is what a ``DTensor`` with ``Shard(0)`` expects: all shares
    but the last ones are equal. The last ones may be smaller, or empty.

    Example:
        >>> [share_of(9, rank, 4) for rank in range(4)]
        [(0, 3), (3, 6), (6, 9), (9, 9)]
    """
    width = -(-size // num_processes)
    return min(size, rank * width), min(size, (rank + 1) * width)


def checked_mesh(device_mesh: DeviceMesh | None, num_classes: int) -> DeviceMesh:
    """A mesh of one dimension with no more processes than classes; by default of all processes.

    Raises:
        RuntimeError: if ``torch.distributed`` is not initialised.
        ValueError: for a mesh of several dimensions, or of more processes than classes.
    """
    if not (dist.is_available() and dist.is_initialized()):
        raise RuntimeError(
            "ShardedHierarchicalProxyLoss divides its classes among processes, and "
            "torch.distributed is not initialised: call torch.distributed.init_process_group() "
            "first, in a script that is started by torchrun. In a single process, use "
            "HierarchicalProxyLoss."
        )
    if device_mesh is None:
        device_mesh = init_device_mesh(_device_type(), (dist.get_world_size(),))
    if device_mesh.ndim != 1:
        raise ValueError(
            f"device_mesh must have one dimension, got one of shape {tuple(device_mesh.shape)}: "
            "pass a part of it, device_mesh['name']"
        )
    if num_classes < device_mesh.size():
        raise ValueError(
            f"num_classes={num_classes} is fewer than the {device_mesh.size()} processes that are "
            "to share them: use HierarchicalProxyLoss, or a device_mesh of fewer processes"
        )
    return device_mesh


def _device_type() -> str:
    """What the processes talk about: CUDA tensors, if it is NCCL that they talk through."""
    has_nccl = "cuda:nccl" in str(dist.get_backend_config())
    return "cuda" if has_nccl and torch.cuda.is_available() else "cpu"


def divided(whole: torch.Tensor, mesh: DeviceMesh) -> DTensor:
    """The share of this process of a tensor that every process has, as a ``DTensor``.

    Arguments:
        whole: ``(num_classes, ...)``, of any strides. It is neither kept nor sent.
        mesh: of one dimension.
    """
    # not at the top: it takes a second, which everybody would wait who imports this package
    from torch.distributed.tensor import DTensor, Shard

    first, stop = share_of(len(whole), mesh.get_local_rank(), mesh.size())
    local = whole.detach()[first:stop].to(mesh.device_type, copy=True).contiguous()
    stride = torch.empty(whole.shape, device="meta").stride()
    return DTensor.from_local(
        local, mesh, [Shard(0)], run_check=False, shape=whole.shape, stride=stride
    )
