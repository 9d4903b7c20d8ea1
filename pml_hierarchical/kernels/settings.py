"""Which loss is computed, in numbers, and these numbers as tensors."""

from __future__ import annotations

import math
from functools import lru_cache
from itertools import accumulate
from typing import Any, NamedTuple

import torch
from torch import Tensor


class Settings(NamedTuple):
    """Everything that is not a tensor; the tuples have one entry for each level, finest first."""

    kind: str  # "proxy_anchor", "proxy_nca", "normalized_softmax", "cosface" or "arcface"
    sizes: tuple[int, ...]  # the number of classes, of all processes together
    weights: tuple[float, ...]
    margins: tuple[float, ...]  # 0 for the losses without one; of ArcFace in radians
    scales: tuple[float, ...]  # what the cosines are multiplied by
    normalize: bool = True  # the embeddings; proxies are always normalised
    save_memory: bool = False  # compute exponentials twice instead of keeping them
    class_dim: int = 0  # the dimension of the classes in the tensors of proxies
    block_size: int = 0  # how many classes to work on at once; 0 for what suits the device


class Numbers(NamedTuple):
    """The settings as tensors of shape ``(levels,)``."""

    weights: Tensor
    scales: Tensor
    margins: Tensor
    slopes: Tensor  # weight times scale
    offsets: Tensor  # margin times scale
    sizes: Tensor


class Columns(NamedTuple):
    """The same for the proxies of all levels as the columns of one matrix."""

    starts: Tensor  # (levels,), int64: the first column of each level
    of_column: Tensor  # (levels, columns): 1 where a column belongs to a level, else 0
    of_level: Tensor  # the same transposed
    scales: Tensor  # (columns,)
    offsets: Tensor  # (columns,)
    slopes: Tensor  # (columns,), divided by the number of classes of the level
    zero: Tensor  # ()


# Made once: at every step, they would take a tenth of the time of a small loss.
@lru_cache(maxsize=256)
def numbers_of(settings: Settings, dtype: torch.dtype, device: torch.device) -> Numbers:
    """The numbers of each level; not to be changed in place."""
    with torch.inference_mode(False):  # inference tensors could not be used in training
        values = settings.weights, settings.scales, settings.margins, settings.sizes
        weights, scales, margins, sizes = tensor_of(values, dtype, device)
        return Numbers(weights, scales, margins, weights * scales, margins * scales, sizes)


@lru_cache(maxsize=32)  # of at most a few MiB each; a schedule of weights makes many
def columns_of(settings: Settings, dtype: torch.dtype, device: torch.device) -> Columns:
    """The numbers of each class; not to be changed in place."""
    numbers = numbers_of(settings, dtype, device)
    with torch.inference_mode(False):
        parts = [torch.full((n,), level, device=device) for level, n in enumerate(settings.sizes)]
        levels = torch.cat(parts)
        of_level = torch.eye(len(settings.sizes), dtype=dtype, device=device)[levels]
        of_column = of_level.t().contiguous()  # products with it are faster in this layout
        return Columns(
            starts=tensor_of(bounds(settings.sizes)[:-1], torch.int64, device),
            of_column=of_column,
            of_level=of_column.t(),
            scales=numbers.scales[levels],
            offsets=numbers.offsets[levels],
            slopes=(numbers.slopes / numbers.sizes)[levels],
            zero=numbers.scales.new_zeros(()),
        )


def tensor_of(values: Any, dtype: torch.dtype, device: torch.device) -> Tensor:
    """Python numbers as a tensor, without waiting for a GPU."""
    return torch.tensor(values, dtype=dtype).to(device, non_blocking=True)


def bounds(sizes: tuple[int, ...]) -> tuple[int, ...]:
    """Where each level begins, and the end: ``(0, s0, s0 + s1, ...)``."""
    return (0, *accumulate(sizes))


def may_overflow(settings: Settings, dtype: torch.dtype, batch_size: int, columns: int) -> bool:
    """Whether a plain sum of exponentials could leave the range of the number type."""
    if settings.kind == "proxy_anchor":  # sums over samples
        pairs = zip(settings.margins, settings.scales, strict=True)
        largest = max([abs(scale) * (1.01 + abs(margin)) for margin, scale in pairs])
        count = batch_size
    else:  # sums over classes; the margin is that of the target alone
        largest, count = 1.01 * max([abs(scale) for scale in settings.scales]), columns
        if not settings.normalize:
            return True
    return largest + math.log(max(count, 1)) > math.log(torch.finfo(dtype).max) - 2
