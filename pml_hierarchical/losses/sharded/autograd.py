"""One autograd node: values, and the gradients that the forward pass computes by hand."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import torch.distributed as dist

from ..fast.options import Options
from .anchor import proxy_anchor_step
from .parts import Gradients, Part
from .shares import share_of
from .softmax import softmax_step


def all_levels(
    unit: torch.Tensor,
    fine: torch.Tensor,
    coarse: Sequence[torch.Tensor],
    labels: torch.Tensor,
    setting: Options,
    group: dist.ProcessGroup,
) -> tuple[torch.Tensor, torch.Tensor]:
    """The weighted sum over the levels, and the losses of the levels, of the whole batch.

    Every process works on the classes that it holds, and on as large a share of every coarse level.

    Arguments:
        unit: unit embeddings of all processes, ``(batch_size, embedding_size)``.
        fine: the fine proxies of this process, ``(its classes, embedding_size)``.
        coarse: for every coarse level that takes part, its proxies, all of them.
        labels: ``int64`` of shape ``(levels, batch_size)``.
        setting: the loss.
        group: the processes.

    Returns:
        A scalar, which can be differentiated once: what reaches the fine proxies is its gradient,
        and what reaches the embeddings is that part of the gradient which comes from the classes of
        this process, times the number of processes. And ``(levels,)``, without a gradient.
    """
    wants = torch.is_grad_enabled()
    needs = (wants and unit.requires_grad, wants and fine.requires_grad)
    total, losses = _AllLevels.apply(unit, fine, coarse, labels, needs, setting, group)
    return total, losses


class _AllLevels(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        unit: torch.Tensor,
        fine: torch.Tensor,
        coarse: Sequence[torch.Tensor],
        labels: torch.Tensor,
        needs: tuple[bool, bool],
        setting: Options,
        group: dist.ProcessGroup,
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """The total and the losses of the levels."""
        parts = _parts(fine, coarse, labels, setting, group)
        gradients = Gradients(unit, fine, needs) if any(needs) else None
        if setting.kind == "proxy_anchor":
            losses = proxy_anchor_step(parts, unit, labels, setting, gradients, group)
        else:
            losses = softmax_step(parts, unit, setting, gradients, group)
        ctx.num_processes = group.size()
        if gradients is not None:
            ctx.save_for_backward(gradients.of_unit, gradients.of_fine)
        ctx.mark_non_differentiable(losses)
        return (losses * losses.new_tensor(setting.weights)).sum(), losses

    @staticmethod
    def backward(ctx: Any, upstream: torch.Tensor, _: torch.Tensor) -> tuple[Any, ...]:
        """Scale the gradients that the forward pass has left."""
        if torch.is_grad_enabled():
            raise RuntimeError(
                "ShardedHierarchicalProxyLoss cannot be differentiated with create_graph=True: it "
                "computes its gradient by hand. HierarchicalProxyLoss(fast_path=False) can."
            )
        of_unit, of_fine = ctx.saved_tensors
        if of_unit is not None:  # DistributedDataParallel will divide it by as many
            of_unit = of_unit * (upstream * ctx.num_processes)
        if of_fine is not None:
            # A copy even if the factor is 1: it becomes the memory of a DTensor's grad, to which a
            # second backward pass (retain_graph=True) adds without autograd noticing.
            of_fine = of_fine * upstream
        return of_unit, of_fine, None, None, None, None, None


def _parts(
    fine: torch.Tensor,
    coarse: Sequence[torch.Tensor],
    labels: torch.Tensor,
    setting: Options,
    group: dist.ProcessGroup,
) -> list[Part]:
    shares = [share_of(size, group.rank(), group.size()) for size in setting.sizes]
    proxies = [fine, *(p[slice(*share)] for p, share in zip(coarse, shares[1:], strict=True))]
    return [
        Part(part, first, level_labels, setting.block_size)
        for part, (first, _), level_labels in zip(proxies, shares, labels, strict=True)
    ]
