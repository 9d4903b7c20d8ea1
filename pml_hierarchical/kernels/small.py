"""Where all cosines fit the cache: the levels' proxies in one matrix, and few operations.

With a hundred classes, or on a GPU, the number of operations determines the time. So there are no
blocks; embeddings and proxies are copied into one tensor of unit vectors; no exponent is shifted.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from .anchor import attraction, repulsion
from .directions import EPS
from .settings import Columns, Numbers, Settings, bounds, columns_of, may_overflow, numbers_of
from .softmax import softmax_terms

_LARGEST_BYTES = 2**20  # of the cosines: as many as in one block of a larger loss
_LARGEST_ON_GPU = 2**25  # a GPU takes longer to start an operation than to do it


def is_small(embeddings: Tensor, settings: Settings) -> bool:
    """Whether a loss can be computed here: the cosines fit, and no exponential can overflow."""
    batch_size, num_columns = embeddings.shape[0], sum(settings.sizes)
    has_memory = embeddings.is_cuda and not settings.save_memory
    largest = _LARGEST_ON_GPU if has_memory else _LARGEST_BYTES
    return (
        settings.normalize
        and settings.block_size == 0
        and batch_size * num_columns * embeddings.element_size() <= largest
        and not may_overflow(settings, embeddings.dtype, batch_size, num_columns)
    )


def small_losses(
    embeddings: Tensor,
    parts: Sequence[Tensor],
    labels: Tensor,
    needs: Sequence[bool],
    settings: Settings,
) -> tuple[Tensor, list[Tensor | None]]:
    """As :func:`.blocks.block_losses`."""
    tensors, batch_size = [embeddings, *parts], embeddings.shape[0]
    units = torch.cat(tensors)
    norms = torch.linalg.vector_norm(units, dim=1, keepdim=True).clamp_min_(EPS)
    units.div_(norms)
    numbers = numbers_of(settings, units.dtype, units.device)
    columns = columns_of(settings, units.dtype, units.device)
    unit, proxies = units[:batch_size], units[batch_size:]
    if len(set(settings.scales)) == 1:  # the product scales its result at no cost
        scale = settings.scales[0]
        matrix = torch.addmm(columns.zero, unit, proxies.t(), beta=0, alpha=scale)
    else:
        matrix = torch.mm(unit, proxies.t()).mul_(columns.scales)
    own = labels.t() + columns.starts
    if settings.kind == "proxy_anchor":
        losses = _anchor(matrix, own, numbers, columns)
    else:
        losses = _softmax(settings.kind, matrix, own, numbers, columns)
    if not any(needs):
        return losses, [None] * len(tensors)
    return losses, _gradients(matrix, units, norms, tensors, needs)


def _anchor(matrix: Tensor, own: Tensor, numbers: Numbers, columns: Columns) -> Tensor:
    """The losses of the levels; the derivatives of their weighted sum replace the cosines."""
    exponents = numbers.offsets - matrix.gather(1, own)
    own_terms, of_own = attraction(
        exponents.view(-1), own.reshape(-1), matrix.shape[1], needs_shift=False
    )
    matrix.scatter_(1, own, -math.inf)
    terms, factors = repulsion(matrix, columns.offsets, needs_shift=False)
    # no exponential is rounded to 0 here, so a term is 0 only where a class has no sample
    of_present, of_all, counts = torch.stack([own_terms, terms, own_terms.sign()]).mm(
        columns.of_level
    )
    matrix.mul_(factors.mul_(columns.slopes))
    matrix.scatter_(1, own, of_own.view(own.shape).mul_(numbers.slopes / -counts))
    return of_present / counts + of_all / numbers.sizes


def _softmax(kind: str, matrix: Tensor, own: Tensor, numbers: Numbers, columns: Columns) -> Tensor:
    """As :func:`_anchor`."""
    logits = matrix.gather(1, own)
    sums = matrix.exp_().scatter_(1, own, 0).mm(columns.of_level)
    losses, of_own, of_others = softmax_terms(kind, sums.log(), logits, numbers)
    of_others.div_(sums.clamp_min_(torch.finfo(sums.dtype).tiny))  # 0 where there is one class
    matrix.mul_(of_others.mm(columns.of_column)).scatter_(1, own, of_own)
    return losses


def _gradients(
    matrix: Tensor, units: Tensor, norms: Tensor, tensors: Sequence[Tensor], needs: Sequence[bool]
) -> list[Tensor | None]:
    """The gradients of the embeddings and each tensor of proxies, in the tensor's layout."""
    batch_size = len(matrix)
    edges = bounds(tuple([tensor.shape[0] for tensor in tensors]))
    stop = max(edge for edge, needed in zip(edges[1:], needs, strict=True) if needed)
    products = torch.empty_like(units[:stop])
    torch.mm(matrix, units[batch_size:], out=products[:batch_size])
    if stop > batch_size:
        columns = matrix[:, : stop - batch_size]
        torch.mm(columns.t(), units[:batch_size], out=products[batch_size:])
    units, norms = units[:stop], norms[:stop]
    # The loss does not depend on the length of a vector: the gradient along the vector vanishes.
    along = (products * units).sum(1, keepdim=True)
    along.masked_fill_(norms <= EPS, 0)  # except in a vector that is too short to be normalised
    products.addcmul_(units, along, value=-1)
    return [
        torch.div(products[first:last], norms[first:last], out=torch.empty_like(tensor))
        if needed
        else None
        for tensor, needed, first, last in zip(tensors, needs, edges, edges[1:], strict=False)
    ]
