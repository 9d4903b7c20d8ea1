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


class Logits(NamedTuple):
    """The scaled cosines of a batch and all classes, and which are of the samples' own classes."""

    matrix: torch.Tensor  # (batch_size, columns)
    own: torch.Tensor  # (batch_size, levels), the columns


#: From logits to the loss of each level. The matrix is then the gradient of the weighted sum with
#: respect to the cosines, if the last argument asks for it.
Step = Callable[[Logits, Options, Constants, bool], torch.Tensor]


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
) -> tuple[torch.Tensor, list[torch.Tensor | None]]:
    """The losses of the levels, and the gradients of their weighted sum where needed."""
    tensors, batch_size = [embeddings, *parts], embeddings.shape[0]
    constants = constants_of(options, embeddings.dtype, embeddings.device)
    vectors = torch.cat(tensors)
    norms = torch.linalg.vector_norm(vectors, dim=1, keepdim=True)
    scales = inverse(norms)
    units = vectors.mul_(scales)
    unit, proxies = units[:batch_size], units[batch_size:]
    own = labels.t() + constants.starts
    logits = Logits(_scaled_cosines(unit, proxies, options, constants), own)
    losses = step(logits, options, constants, any(needs))
    if not any(needs):
        return losses, [None] * len(tensors)
    first, stop = _needed_rows(tensors, needs)
    products = torch.empty_like(units)
    if first == 0:
        torch.mm(logits.matrix, proxies, out=products[:batch_size])
    if stop > batch_size:
        columns = logits.matrix[:, : stop - batch_size]
        torch.mm(columns.t(), unit, out=products[batch_size:stop])
    # A vector's length is of no matter, so that the part of its gradient along it vanishes.
    here = slice(first, stop)
    products, units, scales = products[here], units[here], scales[here]
    along = (products * units).sum(1, keepdim=True)
    along.masked_fill_(norms[here] <= EPS, 0)  # there, a unit vector is a multiple: .directions
    products.addcmul_(units, along, value=-1)
    return losses, _scaled(products, scales, tensors, needs)


def _scaled_cosines(
    unit: torch.Tensor, proxies: torch.Tensor, options: Options, constants: Constants
) -> torch.Tensor:
    first = options.scales[0]
    if all(scale == first for scale in options.scales):  # the product scales its result for nothing
        return torch.addmm(constants.zero, unit, proxies.t(), beta=0, alpha=first)
    return torch.mm(unit, proxies.t()).mul_(constants.column_scales)


def _needed_rows(tensors: Sequence[torch.Tensor], needs: Sequence[bool]) -> tuple[int, int]:
    """Of all tensors' rows the first and the last that a gradient is needed of."""
    last = max(number for number, needed in enumerate(needs) if needed)
    first = 0 if needs[0] else tensors[0].shape[0]
    return first, sum([tensor.shape[0] for tensor in tensors[: last + 1]])


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
        rows = tensor.shape[0]
        if needed:
            here = slice(start, start + rows)
            out = torch.empty_like(tensor)
            found.append(torch.mul(products[here], scales[here], out=out))
        else:
            found.append(None)
        start += 0 if number == 0 and not needed else rows  # rows that are not there then
    return found
