"""Where all cosines fit the cache: the levels' proxies in one matrix, and few operations.

With a hundred classes a step is as long as its operations are many. So there are no blocks here,
embeddings and proxies are copied into one tensor of unit vectors, and no exponent needs a shift.
What is computed is the same as in :mod:`.anchor` and :mod:`.softmax`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch

from . import anchor, softmax
from .directions import EPS, inverse
from .options import Options

_LARGEST_BYTES = 2**20  # of the cosines: what one block of the larger losses has


class Cosines(NamedTuple):
    """The cosines of a batch and all classes, and which of them are of the samples' own classes."""

    matrix: torch.Tensor  # (batch_size, columns)
    own: torch.Tensor  # (batch_size, levels), the columns


#: From cosines to the loss of each level. The matrix is then the gradient of the weighted sum with
#: respect to the cosines, if the third argument asks for it.
Step = Callable[[Cosines, Options, bool], torch.Tensor]


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
    vectors = torch.cat(tensors)
    norms = torch.linalg.vector_norm(vectors, dim=1, keepdim=True)
    scales = inverse(norms)
    turns = (norms > EPS).to(norms.dtype)  # below, a unit vector is a multiple: see .directions
    units = vectors.mul_(scales)
    unit, proxies = units[:batch_size], units[batch_size:]
    starts = [sum(options.sizes[:level]) for level in range(len(options.sizes))]
    own = labels.t() + labels.new_tensor(starts)
    matrix = torch.mm(unit, proxies.t())
    found: list[torch.Tensor | None] = [step(Cosines(matrix, own), options, any(needs))]
    start = 0
    for tensor, needed in zip(tensors, needs, strict=True):
        stop = start + len(tensor)
        gradient = None
        if needed:
            if start == 0:
                product = torch.mm(matrix, proxies)
            else:
                product = torch.mm(matrix[:, start - batch_size : stop - batch_size].t(), unit)
            here = slice(start, stop)
            gradient = _through_norm(product, units[here], turns[here], scales[here])
            gradient = _laid_out_as(tensor, gradient)
        found.append(gradient)
        start = stop
    return found


def _through_norm(
    gradient: torch.Tensor, unit: torch.Tensor, turns: torch.Tensor, scales: torch.Tensor
) -> torch.Tensor:
    """In place; the length of a vector is of no matter, so that the part along it vanishes."""
    along = (gradient * unit).sum(1, keepdim=True).mul_(turns)
    return gradient.addcmul_(unit, along, value=-1).mul_(scales)


def _laid_out_as(tensor: torch.Tensor, gradient: torch.Tensor) -> torch.Tensor:
    """A transposed view gets a gradient of its own strides, as a parameter wants it."""
    if tensor.stride() == gradient.stride():
        return gradient
    return torch.empty_like(tensor).copy_(gradient)


def per_column(values: Sequence[float], sizes: Sequence[int], like: torch.Tensor) -> torch.Tensor:
    """One number per level, repeated for each class of it: ``(columns,)``."""
    return torch.cat([like.new_full((n,), v) for v, n in zip(values, sizes, strict=True)])
