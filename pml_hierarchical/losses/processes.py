"""Processes that train together: one hierarchy for all, or classes divided among them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
import torch.distributed as dist
from torch import Tensor
from torch.distributed.device_mesh import DeviceMesh, init_device_mesh

if TYPE_CHECKING:  # importing it takes a second
    from torch.distributed.tensor import DTensor


def from_first_process(tensor: Tensor, tolerance: float | None = None) -> Tensor:
    """The first process's tensor in distributed training; in a single process, the tensor itself.

    With a ``tolerance``, a share of its length, an error in all processes if one differs by more:
    adding the gradients of the same samples in another order leads to rounding differences.
    """
    if num_processes() == 1:
        return tensor
    first = tensor.clone(memory_format=torch.contiguous_format)
    dist.broadcast(first, src=0)
    if tolerance is not None:
        length = first.norm().clamp(min=torch.finfo(first.dtype).tiny)
        difference = (tensor - first).norm() / length
        dist.all_reduce(difference, op=dist.ReduceOp.MAX)
        if not float(difference) <= tolerance:
            raise RuntimeError(
                f"the proxies differ between processes (by {float(difference):.1%} of their "
                "length), so there is no common hierarchy: start all from the same proxies and use "
                "DistributedDataParallel(DistributedLossWrapper(loss)), which keeps them equal"
            )
    return first


def num_processes() -> int:
    """How many processes train together; 1 without ``torch.distributed``."""
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


def share_of(size: int, rank: int, num_processes: int) -> tuple[int, int]:
    """The first of ``size`` classes that a process holds, and the one after its last, divided as
    by ``torch.chunk`` and ``DTensor``: the last shares may be smaller, or empty.

    Example:
        >>> [share_of(9, rank, 4) for rank in range(4)]
        [(0, 3), (3, 6), (6, 9), (9, 9)]
    """
    width = -(-size // num_processes)
    return min(size, rank * width), min(size, (rank + 1) * width)


def checked_mesh(device_mesh: DeviceMesh | None, num_classes: int) -> DeviceMesh:
    """A mesh of one dimension, by default of all processes. Raises ``ValueError`` if it has more
    processes than classes, ``RuntimeError`` if ``torch.distributed`` is not initialised.
    """
    if not (dist.is_available() and dist.is_initialized()):
        raise RuntimeError(
            "ShardedHierarchicalProxyLoss needs torch.distributed, which is not initialised: call "
            "torch.distributed.init_process_group() first, in a script started by torchrun. In a "
            "single process, use HierarchicalProxyLoss."
        )
    if device_mesh is None:
        # CUDA tensors can be sent only if the processes talk through NCCL
        has_nccl = "cuda:nccl" in str(dist.get_backend_config())
        device_type = "cuda" if has_nccl and torch.cuda.is_available() else "cpu"
        device_mesh = init_device_mesh(device_type, (dist.get_world_size(),))
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


def divided(whole: Tensor, mesh: DeviceMesh) -> DTensor:
    """A copy of this process's share of a tensor ``(num_classes, ...)`` that every process has."""
    from torch.distributed.tensor import DTensor, Shard

    first, stop = share_of(len(whole), mesh.get_local_rank(), mesh.size())
    # contiguous() leaves a single row its strides: that process alone would redistribute gradients
    local = whole.new_empty((stop - first, *whole.shape[1:]), device=mesh.device_type)
    local.copy_(whole.detach()[first:stop])
    stride = torch.empty(whole.shape, device="meta").stride()
    return DTensor.from_local(
        local, mesh, [Shard(0)], run_check=False, shape=whole.shape, stride=stride
    )


def counts_or_error(
    count: int, error: Exception | None, device: torch.device, group: dist.ProcessGroup
) -> list[int]:
    """The number of samples of each process. An error of one process is raised there and, as a
    ``ValueError``, in all others, which would otherwise wait until they time out.
    """
    mine = torch.tensor([count, error is not None], device=device)
    found = [torch.empty_like(mine) for _ in range(group.size())]
    dist.all_gather(found, mine, group=group)
    counts, errors = torch.stack(found).t().tolist()
    if error is not None:
        raise error
    if any(errors):
        bad = [rank for rank, is_bad in enumerate(errors) if is_bad]
        raise ValueError(
            f"the batch of rank {', '.join(map(str, bad))} cannot be used, which is why rank "
            f"{group.rank()} stops too; the reason is in the error raised there"
        )
    return [int(one) for one in counts]


def gather_rows(rows: Tensor, counts: Sequence[int], mesh: DeviceMesh) -> Tensor:
    """The rows ``(counts[rank], ...)`` of all processes of a mesh, concatenated; differentiable.

    The backward pass sums, for every row, the gradients that the processes have for it: to a
    ``DTensor``, the gradient of the whole is a partial one, which it reduces and scatters.
    """
    from torch.distributed.tensor import DTensor, Partial, Shard

    most = max(counts)
    if missing := most - len(rows):
        rows = torch.cat([rows, rows.new_zeros(missing, *rows.shape[1:])])
    whole = DTensor.from_local(rows.contiguous(), mesh, [Shard(0)], run_check=False)
    found = whole.full_tensor(grad_placements=[Partial()])
    if min(counts) == most:
        return found
    parts = zip(found.split(most), counts, strict=True)
    return torch.cat([part[:count] for part, count in parts])


def gathered_at_first(vectors: Tensor, num_classes: int, group: dist.ProcessGroup) -> Tensor | None:
    """The rows of all shares, in the first process; ``None`` in the others."""
    most = -(-num_classes // group.size())
    padded = vectors.new_zeros(most, vectors.shape[1])
    padded[: len(vectors)] = vectors
    found = vectors.new_empty(group.size(), *padded.shape) if group.rank() == 0 else None
    shares = None if found is None else list(found.unbind())
    dist.gather(padded, shares, dst=dist.get_global_rank(group, 0), group=group)
    return None if found is None else found.flatten(0, 1)[:num_classes]


def check_finite(vectors: Tensor, group: dist.ProcessGroup) -> None:
    """Raise ``ValueError``, in all processes, if the proxies of one are not finite."""
    counts = torch.zeros(group.size(), dtype=torch.int64, device=vectors.device)
    counts[group.rank()] = (~vectors.isfinite().all(dim=1)).sum()
    dist.all_reduce(counts, group=group)
    if any(found := counts.tolist()):
        where = ", ".join(f"{count} on rank {r}" for r, count in enumerate(found) if count)
        raise ValueError(
            f"proxies hold NaN or infinite values ({where}), so they cannot be clustered or "
            "averaged. Look for a learning rate that is too high."
        )
