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
    class_dim: int = 0,
) -> tuple[torch.Tensor, torch.Tensor]:
    """The total, which can be differentiated once, and the unweighted losses of the levels.

    The arguments are taken to fit each other; :mod:`.functional` has the checks.

    Arguments:
        class_dim: in which dimension of ``parts`` the classes are. A parameter that has them in
            dimension 1 is to be given as it is: behind a transpose, autograd would take the
            gradient that is kept here for its own, and a change of it in place (clipping) would
            forbid a second backward pass.
    """
    wants = torch.is_grad_enabled()
    needs = tuple([wants and tensor.requires_grad for tensor in (embeddings, *parts)])
    total, losses = AllLevels.apply(needs, options, class_dim, embeddings, labels, *parts)
    return total, losses


def values_and_gradients(
    embeddings: torch.Tensor,
    parts: Sequence[torch.Tensor],
    labels: torch.Tensor,
    needs: Sequence[bool],
    options: Options,
) -> tuple[torch.Tensor, list[torch.Tensor | None]]:
    """The loss of each level, and the gradients of their weighted sum.

    Returns:
        The losses, ``(levels,)``; the gradient of the embeddings and of each tensor of proxies, or
        ``None`` for those that ``needs`` does not ask for.
    """
    is_anchor = options.kind == "proxy_anchor"
    if is_small(embeddings, options):
        step = small_anchor_step if is_anchor else small_softmax_step
        return small_values_and_gradients(embeddings, parts, labels, needs, options, step)
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
    return losses, found


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
    losses, gradients = values_and_gradients(embeddings, parts, labels, needs, options)
    # an operator of torch cannot return None
    return [losses, *(losses.new_empty(0) if one is None else one for one in gradients)]


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
    """Arguments: needs, options, class_dim, embeddings, labels, and the tensors of proxies."""

    @staticmethod
    def forward(
        ctx: Any,
        needs: tuple[bool, ...],
        options: Options,
        class_dim: int,
        embeddings: torch.Tensor,
        labels: torch.Tensor,
        *parts: torch.Tensor,
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """The weighted sum of the levels' losses, and the losses themselves."""
        if class_dim == 1:
            parts = tuple([part.t() for part in parts])
        if torch.compiler.is_compiling():  # the operator costs 0.1 ms, which small losses notice
            losses, *found = _operator(embeddings, list(parts), labels, list(needs), *options)
            gradients = [one if needed else None for one, needed in zip(found, needs, strict=True)]
            weights = losses.new_tensor(options.weights)
        else:
            losses, gradients = values_and_gradients(embeddings, parts, labels, needs, options)
            weights = numbers(options.weights, losses.dtype, losses.device)
        if class_dim == 1:
            of_parts = [None if one is None else one.t() for one in gradients[1:]]
            gradients = [gradients[0], *of_parts]
        ctx.save_for_backward(*gradients)
        ctx.mark_non_differentiable(losses)
        return torch.dot(losses, weights), losses

    @staticmethod
    def backward(ctx: Any, upstream: torch.Tensor, _: torch.Tensor) -> tuple[Any, ...]:
        """Scale the gradients that the forward pass has left."""
        gradients = ctx.saved_tensors
        if not _is_one(upstream):
            gradients = [None if one is None else _scaled(one, upstream) for one in gradients]
        return None, None, None, gradients[0], None, *gradients[1:]


def _is_one(factor: torch.Tensor) -> bool:
    """Whether gradients can be taken as they are: a million proxies' are not worth a copy.

    That is so for ``loss.backward()``. A GPU would have to be waited for to know.
    """
    if torch.compiler.is_compiling() or torch.is_grad_enabled():
        return False
    return factor.device.type == "cpu" and factor.item() == 1


def _scaled(gradient: torch.Tensor, factor: torch.Tensor) -> torch.Tensor:
    if torch.is_grad_enabled() and not torch.compiler.is_compiling():  # create_graph=True
        return _Once.apply((gradient * factor.detach()).requires_grad_())
    return gradient * factor


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
