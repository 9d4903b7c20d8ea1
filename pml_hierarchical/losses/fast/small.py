"""Where all cosines fit the cache: the levels' proxies in one matrix, and few operations.

With a hundred classes a step is as long as its operations are many. So there are no blocks here,
embeddings and proxies are copied into one tensor of unit vectors, no exponent needs a shift, and
what depends on the options alone is made once. What is computed is the same as in :mod:`.anchor`
and :mod:`.softmax`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch

from . import anchor, softmax
from .constants import Constants, constants_of
from .directions import EPS, inverse
from .options import Options

_LARGEST_BYTES = 2**20  # of the cosines: what one block of the larger losses has


class Cosines(NamedTuple):
    """The cosines of a batch and all classes, and which of them are of the samples' own classes."""

    matrix: torch.Tensor  # (batch_size, columns)
    own: torch.Tensor  # (batch_size, levels), the columns


#: From cosines to the loss of each level. The matrix is then the gradient of the weighted sum with
#: respect to the cosines, if the last argument asks for it.
Step = Callable[[Cosines, Options, Constants, bool], torch.Tensor]


def is_small(embeddings: torch.Tensor, options: Options) -> bool:
    """Whether a loss can be computed here: the cosines fit, and no exponential can overflow."""
    batch_size, num_columns = len(embeddings), sum(options.sizes)
    if not options.normalize or options.block_size > 0:
        return False
    if batch_size * num_columns * embeddings.element_size() > _LARGEST_BYTES:
        return False
    if options.kind == "proxy_anchor":
        return not anchor.may_overflow(
            embeddings.dtype, options.margins, options.scales, batch_size
        )
    return not softmax.may_overflow(embeddings.dtype, options.scales, num_columns)


def small_values_and_gradients(
    embeddings: torch.Tensor,
    parts: Sequence[torch.Tensor],
    labels: torch.Tensor,
    needs: Sequence[bool],
    options: Options,
    step: Step,
) -> list[torch.Tensor | None]:
    """The losses of the levels, and the gradients of their weighted sum where needed."""
    tensors, batch_size = [embeddings, *parts], len(embeddings)
    constants = constants_of(options, embeddings.dtype, embeddings.device)
    vectors = torch.cat([tensor.contiguous() for tensor in tensors])  # faster than strided ones
    norms = torch.linalg.vector_norm(vectors, dim=1, keepdim=True)
    scales = inverse(norms)
    units = vectors.mul_(scales)
    unit, proxies = units[:batch_size], units[batch_size:]
    own = labels.t() + constants.starts
    matrix = torch.mm(unit, proxies.t())
    losses = step(Cosines(matrix, own), options, constants, any(needs))
    if not any(needs):
        return [losses, *[None] * len(tensors)]
    first, stop = _needed_rows(tensors, needs)
    products = torch.empty_like(units)
    if first == 0:
        torch.mm(matrix, proxies, out=products[:batch_size])
    if stop > batch_size:
        columns = matrix[:, : stop - batch_size]
        torch.mm(columns.t(), unit, out=products[batch_size:stop])
    # A vector's length is of no matter, so that the part of its gradient along it vanishes.
    here = slice(first, stop)
    products, units, scales = products[here], units[here], scales[here]
    along = (products * units).sum(1, keepdim=True)
    along.mul_(norms[here] > EPS)  # below, a unit vector is a multiple: see .directions
    products.addcmul_(units, along, value=-1)
    return [losses, *_scaled(products, scales, tensors, needs)]


def _needed_rows(tensors: Sequence[torch.Tensor], needs: Sequence[bool]) -> tuple[int, int]:
    """Of all tensors' rows the first and the last that a gradient is needed of."""
    last = max(number for number, needed in enumerate(needs) if needed)
    first = 0 if needs[0] else len(tensors[0])
    return first, sum([len(tensor) for tensor in tensors[: last + 1]])


def _scaled(
    products: torch.Tensor,
    scales: torch.Tensor,
    tensors: Sequence[torch.Tensor],
    needs: Sequence[bool],
) -> list[torch.Tensor | None]:
    """The gradient of each tensor that needs one, in the layout of the tensor."""
    found: list[torch.Tensor | None] = []
    start = 0
    for number, (tensor, needed) in enumerate(zip(tensors, needs, strict=True)):
        if not needed:
            found.append(None)
            start += 0 if number == 0 else len(tensor)  # the embeddings' rows are not there then
            continue
        here = slice(start, start + len(tensor))
        gradient = products[here] * scales[here]
        if gradient.stride() != tensor.stride():
            gradient = torch.empty_like(tensor).copy_(gradient)
        found.append(gradient)
        start += len(tensor)
    return found
