"""One autograd node for all levels, and the same computation as an operator for torch.compile.

The gradients come with the values, while a block of proxies is in the cache; the backward pass only
multiplies them with the gradient of the total.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from .anchor import proxy_anchor_step
from .columns import Columns
from .constants import numbers
from .directions import inverse, project_, projection, row_norms
from .gradients import Gradients
from .options import Options
from .small import is_small, small_values_and_gradients
from .small_anchor import small_anchor_step
from .small_softmax import small_softmax_step
from .softmax import Setting, softmax_step
from .targets import TARGETS


def all_levels(
    embeddings: torch.Tensor,
    parts: Sequence[torch.Tensor],
    labels: torch.Tensor,
    options: Options,
) -> tuple[torch.Tensor, torch.Tensor]:
    """The total, which can be differentiated once, and the unweighted losses of the levels.

    The arguments are taken to fit each other; :mod:`.functional` has the checks.
    """
    wants = torch.is_grad_enabled()
    needs = tuple([wants and tensor.requires_grad for tensor in (embeddings, *parts)])
    total, losses = AllLevels.apply(needs, options, embeddings, labels, *parts)
    return total, losses


def values_and_gradients(
    embeddings: torch.Tensor,
    parts: Sequence[torch.Tensor],
    labels: torch.Tensor,
    needs: Sequence[bool],
    options: Options,
) -> list[torch.Tensor]:
    """The loss of each level, and the gradients of their weighted sum.

    Returns:
        The losses, ``(levels,)``; the gradient of the embeddings and of each tensor of proxies, or
        an empty tensor for those that ``needs`` does not ask for.
    """
    is_anchor = options.kind == "proxy_anchor"
    if is_small(embeddings, options):
        step = small_anchor_step if is_anchor else small_softmax_step
        return _filled(
            small_values_and_gradients(embeddings, parts, labels, needs, options, step), embeddings
        )
    columns = Columns(parts, options.sizes, labels, options.block_size, sort=is_anchor)
    norms = row_norms(embeddings) if options.normalize else embeddings
    scale = inverse(norms).unsqueeze(1)
    unit = embeddings * scale if options.normalize else embeddings
    gradients = Gradients(columns, unit, needs) if any(needs) else None
    if is_anchor:
        losses = proxy_anchor_step(
            columns, unit, options.weights, options.margins, options.scales, gradients
        )
    else:
        setting = Setting(
            options.weights, options.scales, options.margins, TARGETS[options.kind],
            leaves_out_zeros=options.kind == "proxy_nca", is_unit=options.normalize,
        )  # fmt: skip
        losses = softmax_step(columns, unit, setting, gradients, options.save_memory)
    found: list[torch.Tensor | None] = [None] * len(needs)
    if gradients is not None:
        found = [gradients.of_embeddings, *gradients.of_proxies]
        if gradients.of_embeddings is not None and options.normalize:
            project_(gradients.of_embeddings, embeddings, projection(norms))
            gradients.of_embeddings.mul_(scale)
    return _filled([losses, *found], embeddings)


def _filled(found: Sequence[torch.Tensor | None], like: torch.Tensor) -> list[torch.Tensor]:
    """An operator of torch cannot return ``None``: an empty tensor instead."""
    return [like.new_empty(0) if one is None else one for one in found]


@torch.library.custom_op("pml_hierarchical::proxy_loss", mutates_args=())
def _operator(
    embeddings: torch.Tensor,
    parts: Sequence[torch.Tensor],
    labels: torch.Tensor,
    needs: Sequence[bool],
    kind: str,
    sizes: Sequence[int],
    weights: Sequence[float],
    margins: Sequence[float],
    scales: Sequence[float],
    normalize: bool,
    block_size: int,
    save_memory: bool,
) -> list[torch.Tensor]:
    options = Options(
        kind, tuple(sizes), tuple(weights), tuple(margins), tuple(scales),
        normalize, block_size, save_memory,
    )  # fmt: skip
    return values_and_gradients(embeddings, parts, labels, needs, options)


@_operator.register_fake
def _shapes(
    embeddings: torch.Tensor,
    parts: Sequence[torch.Tensor],
    labels: torch.Tensor,
    needs: Sequence[bool],
    *options: Any,
) -> list[torch.Tensor]:
    gradients = [
        torch.empty_like(tensor) if needed else tensor.new_empty(0)
        for tensor, needed in zip([embeddings, *parts], needs, strict=True)
    ]
    return [embeddings.new_empty(len(labels)), *gradients]


class AllLevels(torch.autograd.Function):
    """Arguments: needs, options, embeddings, labels, and the tensors of proxies."""

    @staticmethod
    def forward(
        ctx: Any,
        needs: tuple[bool, ...],
        options: Options,
        embeddings: torch.Tensor,
        labels: torch.Tensor,
        *parts: torch.Tensor,
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """The weighted sum of the levels' losses, and the losses themselves."""
        if torch.compiler.is_compiling():  # the operator costs 0.1 ms, which small losses notice
            losses, *gradients = _operator(embeddings, list(parts), labels, list(needs), *options)
            weights = losses.new_tensor(options.weights)
        else:
            losses, *gradients = values_and_gradients(embeddings, parts, labels, needs, options)
            weights = numbers(options.weights, losses.dtype, losses.device)
        ctx.needs = needs
        ctx.save_for_backward(*gradients)
        ctx.mark_non_differentiable(losses)
        return torch.dot(losses, weights), losses

    @staticmethod
    def backward(ctx: Any, upstream: torch.Tensor, _: torch.Tensor) -> tuple[Any, ...]:
        """Scale the gradients that the forward pass has left."""
        gradients = [
            _scaled(gradient, upstream) if needed else None
            for gradient, needed in zip(ctx.saved_tensors, ctx.needs, strict=True)
        ]
        return None, None, gradients[0], None, *gradients[1:]


def _scaled(gradient: torch.Tensor, factor: torch.Tensor) -> torch.Tensor:
    if torch.compiler.is_compiling():
        return gradient * factor
    if torch.is_grad_enabled():  # create_graph=True
        return _Once.apply((gradient * factor.detach()).requires_grad_())
    # For loss.backward() the factor is 1, and autograd can take a million proxies' gradient as it
    # is; a GPU, which would have to be waited for to know, multiplies.
    return gradient if factor.device.type == "cpu" and factor.item() == 1 else gradient * factor


class _Once(torch.autograd.Function):
    """A gradient that says so when it is differentiated, rather than being taken for a constant."""

    @staticmethod
    def forward(ctx: Any, gradient: torch.Tensor) -> torch.Tensor:
        return gradient.clone()

    @staticmethod
    def backward(ctx: Any, *upstream: torch.Tensor) -> Any:
        raise RuntimeError(
            "the fast path of a hierarchical loss cannot be differentiated twice: it computes its "
            "gradient by hand. Switch the fast path off where a gradient's gradient is needed."
        )
