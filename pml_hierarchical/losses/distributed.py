"""One hierarchy for all processes of a distributed training."""

from __future__ import annotations

import torch
import torch.distributed as dist

# Processes that add the gradients of the same samples in another order drift apart by rounding.
TOLERANCE = 1e-2


def num_processes() -> int:
    """How many processes train together; 1 without ``torch.distributed``."""
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


def check_processes_agree(vectors: torch.Tensor) -> None:
    """Raise in every process if the proxies of one differ from those of the first.

    Arguments:
        vectors: ``(num_classes, embedding_size)``, the class vectors of this process.

    Raises:
        RuntimeError: if they differ by more than rounding.
    """
    first = vectors.clone()
    dist.broadcast(first, src=0)
    difference = (vectors - first).norm() / first.norm().clamp(min=torch.finfo(first.dtype).tiny)
    dist.all_reduce(difference, op=dist.ReduceOp.MAX)
    if not float(difference) <= TOLERANCE:
        raise RuntimeError(
            f"the proxies differ between processes (by {float(difference):.1%} of their length), "
            "so there is no common hierarchy. Start all processes from the same proxies and give "
            "them the same gradients: DistributedDataParallel(DistributedLossWrapper(loss)) does "
            "both."
        )


def take_from_first_process(*tensors: torch.Tensor) -> None:
    """Overwrite tensors with those of the first process."""
    for tensor in tensors:
        contiguous = tensor.contiguous()
        dist.broadcast(contiguous, src=0)
        if contiguous is not tensor:
            tensor.copy_(contiguous)
