"""What the processes tell each other about a batch."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.distributed as dist
from torch.distributed.device_mesh import DeviceMesh


def counts_or_error(
    count: int, error: Exception | None, device: torch.device, group: dist.ProcessGroup
) -> list[int]:
    """How many samples each process has; an error of one process is raised in all of them.

    If it were raised in one alone, the others would wait for it until they time out.

    Arguments:
        count: of this process.
        error: what is wrong with the batch of this process.
        device: on which the processes talk.
        group: the processes.

    Raises:
        ValueError: in the processes whose batch is good, if another's is not. The others raise
            ``error`` itself.
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
            f"the batch of rank {', '.join(map(str, bad))} is not one that this loss can take, "
            f"which is why rank {group.rank()} stops too; the reason is in the error raised there"
        )
    return [int(one) for one in counts]


def gather_rows(rows: torch.Tensor, counts: Sequence[int], mesh: DeviceMesh) -> torch.Tensor:
    """The rows of all processes, in the order of their ranks; differentiable.

    The backward pass sums, for every row, the gradients that the processes have of it: to a
    ``DTensor``, the gradient of the whole is a partial one, which it reduces and scatters.

    Arguments:
        rows: ``(counts[rank], ...)``.
        counts: how many rows each process has.
        mesh: the processes.

    Returns:
        ``(sum(counts), ...)``.
    """
    from torch.distributed.tensor import DTensor, Partial, Shard  # takes a second

    most = max(counts)
    missing = most - len(rows)
    if missing:
        rows = torch.cat([rows, rows.new_zeros(missing, *rows.shape[1:])])
    whole = DTensor.from_local(rows.contiguous(), mesh, [Shard(0)], run_check=False)
    found = whole.full_tensor(grad_placements=[Partial()])
    if min(counts) == most:
        return found
    parts = zip(found.split(most), counts, strict=True)
    return torch.cat([part[:count] for part, count in parts])


def sum_over_processes(tensor: torch.Tensor, group: dist.ProcessGroup) -> torch.Tensor:
    """In place; the same bits in every process."""
    dist.all_reduce(tensor, op=dist.ReduceOp.SUM, group=group)
    return tensor


def max_over_processes(tensor: torch.Tensor, group: dist.ProcessGroup) -> torch.Tensor:
    """In place."""
    dist.all_reduce(tensor, op=dist.ReduceOp.MAX, group=group)
    return tensor
