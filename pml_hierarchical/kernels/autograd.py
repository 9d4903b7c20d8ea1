"""One autograd node for all levels, and the same computation as an operator for torch.compile.

The gradients come with the values, while a block of proxies is in the cache; the backward pass only
multiplies them by the gradient of the total.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from .blocks import block_losses
from .columns import Share
from .settings import Settings, numbers_of
from .small import is_small, small_losses

#: The weighted sum of the levels' losses from embeddings and proxies, by differentiable operations.
Plain = Callable[[Tensor, Sequence[Tensor]], Tensor]

_ONCE = (
    "create_graph=True needs a gradient that can itself be differentiated; it cannot if classes "
    "are divided among processes, class_share is below 1 or the loss is compiled. Use "
    "HierarchicalProxyLoss with class_share=1, not compiled."
)


class AllLevels(torch.autograd.Function):
    """The weighted sum over the levels, and the detached losses of the levels, ``(levels,)``.

    Call ``AllLevels.apply(settings, needs, plain, share, embeddings, labels, *proxies)``.

    Arguments:
        settings: the loss.
        needs: whether gradients are needed for the embeddings, and for each tensor of proxies.
        plain: computes the sum where the gradient is to be differentiated itself
            (``create_graph=True``); ``None`` makes that an error.
        share: which classes the proxies are, if they are divided among processes. The gradient of
            the embeddings comes from these alone, times the number of processes, by which
            ``DistributedDataParallel`` will divide it.
        embeddings, labels: ``(batch_size, embedding_size)``; ``int64``, ``(levels, batch_size)``.
        proxies: of each level, ``(classes, embedding_size)``, transposed if ``settings.class_dim``
            is 1. Pass parameters themselves: for a transposed view, autograd would store the
            gradient kept here as ``.grad``, and clipping it would prevent a second backward pass.
    """

    @staticmethod
    def forward(
        ctx: Any,
        settings: Settings,
        needs: tuple[bool, ...],
        plain: Plain | None,
        share: Share | None,
        *tensors: Tensor,
    ) -> tuple[Tensor, Tensor]:
        """The sum and the losses."""
        # torch.compile counts parameters: with one for each argument it would leave out ctx
        embeddings, labels, *proxies = tensors
        parts = [one.t() for one in proxies] if settings.class_dim == 1 else proxies
        if torch.compiler.is_compiling():  # the operator costs 0.1 ms, much for small losses
            losses, *found = _operator(embeddings, list(parts), labels, list(needs), *settings)
            gradients = [one if needed else None for one, needed in zip(found, needs, strict=True)]
            weights = losses.new_tensor(settings.weights)
            pairs = zip((embeddings, *proxies), needs, strict=True)
            inputs = [one for one, needed in pairs if needed]
        else:
            if share is None and is_small(embeddings, settings):
                losses, gradients = small_losses(embeddings, parts, labels, needs, settings)
            else:
                losses, gradients = block_losses(embeddings, parts, labels, needs, settings, share)
            weights = numbers_of(settings, losses.dtype, losses.device).weights
            if any(needs):
                # Not among the saved tensors: their values may change before a first derivative is
                # taken, which does not need them.
                ctx.inputs = (embeddings, *proxies)
                ctx.versions = [_version(one) for one in ctx.inputs]
            inputs = []
        if settings.class_dim == 1:
            gradients[1:] = [None if one is None else one.t() for one in gradients[1:]]
        ctx.plain, ctx.share = plain, share
        ctx.save_for_backward(*gradients, *inputs)
        ctx.mark_non_differentiable(losses)
        return torch.dot(losses, weights), losses

    @staticmethod
    def backward(ctx: Any, upstream: Tensor, _: Tensor) -> tuple[Any, ...]:
        """Scale the gradients that the forward pass has stored, or compute them with a graph."""
        if torch.compiler.is_compiling():
            count = len(ctx.needs_input_grad) - 5  # of embeddings and proxies
            saved, inputs = ctx.saved_tensors[:count], ctx.saved_tensors[count:]
            found = iter(_scaled([one for one in saved if one is not None], upstream, inputs))
            gradients = [None if one is None else next(found) for one in saved]
        elif torch.is_grad_enabled():
            gradients = _with_graph(ctx, upstream)
        elif ctx.share is None and _is_one(upstream):
            gradients = ctx.saved_tensors
        else:
            # With a share, copies even if the factor is 1: they become the memory of a DTensor's
            # grad, to which a second backward pass adds without autograd noticing.
            first = upstream if ctx.share is None else upstream * ctx.share.group.size()
            factors = [first, *[upstream] * (len(ctx.saved_tensors) - 1)]
            pairs = zip(ctx.saved_tensors, factors, strict=True)
            gradients = [None if one is None else one * factor for one, factor in pairs]
        return None, None, None, None, gradients[0], None, *gradients[1:]


def _with_graph(ctx: Any, upstream: Tensor) -> list[Tensor | None]:
    """The gradients of embeddings and proxies as functions of these and of ``upstream``."""
    if ctx.plain is None:
        raise RuntimeError(_ONCE)
    if [_version(one) for one in ctx.inputs] != ctx.versions:
        raise RuntimeError(
            "create_graph=True after embeddings or proxies were modified in place: compute the "
            "loss again, or call backward() before optimizer.step()"
        )
    needed = [ctx.needs_input_grad[4], *ctx.needs_input_grad[6:]]
    pairs = list(zip(ctx.inputs, needed, strict=True))
    # as nodes of their own: one tensor may be given twice, or be computed from another
    twins = [one.view_as(one) if is_needed else one for one, is_needed in pairs]
    wanted = [twin for twin, is_needed in zip(twins, needed, strict=True) if is_needed]
    total = ctx.plain(twins[0], twins[1:])
    options = {"create_graph": True, "materialize_grads": True}
    found = iter(torch.autograd.grad(total, wanted, upstream, **options))
    return [next(found) if is_needed else None for is_needed in needed]


def _version(tensor: Tensor) -> int:
    return 0 if tensor.is_inference() else tensor._version


def _is_one(factor: Tensor) -> bool:
    """Whether gradients need no copy, as in ``loss.backward()``; a GPU's value is not read."""
    return factor.device.type == "cpu" and factor.item() == 1


# With a schema, as none can be inferred from *settings.
@torch.library.custom_op(
    "pml_hierarchical::proxy_loss",
    mutates_args=(),
    schema=(
        "(Tensor embeddings, Tensor[] parts, Tensor labels, bool[] needs, str kind, "
        "SymInt[] sizes, float[] weights, float[] margins, float[] scales, bool normalize, "
        "bool save_memory, int class_dim, SymInt block_size) -> Tensor[]"
    ),
)
def _operator(
    embeddings: Tensor, parts: list[Tensor], labels: Tensor, needs: list[bool], *settings: Any
) -> list[Tensor]:
    tuples: Any = [tuple(one) if isinstance(one, list) else one for one in settings]
    chosen = Settings(*tuples)
    compute = small_losses if is_small(embeddings, chosen) else block_losses
    losses, gradients = compute(embeddings, parts, labels, needs, chosen)
    # an operator of torch cannot return None
    return [losses, *(losses.new_empty(0) if one is None else one for one in gradients)]


@_operator.register_fake
def _shapes(
    embeddings: Tensor, parts: list[Tensor], labels: Tensor, needs: list[bool], *settings: Any
) -> list[Tensor]:
    gradients = [
        torch.empty_like(tensor) if needed else tensor.new_empty(0)
        for tensor, needed in zip([embeddings, *parts], needs, strict=True)
    ]
    return [embeddings.new_empty(labels.shape[0]), *gradients]


# create_graph=True would take a product for a constant, which compiled code cannot notice.
@torch.library.custom_op(
    "pml_hierarchical::scaled_gradients",
    mutates_args=(),
    schema="(Tensor[] gradients, Tensor factor, Tensor[] inputs) -> Tensor[]",
)
def _scaled(gradients: list[Tensor], factor: Tensor, inputs: list[Tensor]) -> list[Tensor]:
    return [one * factor for one in gradients]


@_scaled.register_fake
def _(gradients: list[Tensor], *_: Any) -> list[Tensor]:
    return [torch.empty_like(one) for one in gradients]


def _refuse(ctx: Any, *_: Any) -> Any:
    raise RuntimeError(_ONCE)


_scaled.register_autograd(_refuse)
