"""Numbers of a loss as tensors, made once: at every step they would cost a tenth of a small one."""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

import torch

from .options import Options
from .plan import bounds


class Constants(NamedTuple):
    """What depends on the options alone."""

    starts: torch.Tensor  # (levels,), int64: the first column of each level
    slopes: torch.Tensor  # (levels,): weight times scale
    scales: torch.Tensor  # (levels,)
    margins: torch.Tensor  # (levels,)
    sizes: torch.Tensor  # (levels,)
    of_column: torch.Tensor  # (levels, columns): 1 where a column is one of a level, else 0
    of_level: torch.Tensor  # the same transposed
    column_scales: torch.Tensor  # (columns,)
    zero: torch.Tensor  # ()


@lru_cache(maxsize=256)
def numbers(values: tuple[float, ...], dtype: torch.dtype, device: torch.device) -> torch.Tensor:
    """A tensor of some numbers, which is not to be changed."""
    with torch.inference_mode(False):  # what is made there can be used nowhere else
        return torch.tensor(values, dtype=dtype, device=device)


@lru_cache(maxsize=32)  # of at most a few MiB each; schedules of weights make many
def constants_of(options: Options, dtype: torch.dtype, device: torch.device) -> Constants:
    """The numbers of ``options``, of a number type and on a device."""
    with torch.inference_mode(False):
        sizes = torch.tensor(options.sizes)
        weights, scales, margins = (
            numbers(values, dtype, device)
            for values in (options.weights, options.scales, options.margins)
        )
        levels = torch.arange(len(sizes)).repeat_interleave(sizes).to(device)
        of_level = torch.nn.functional.one_hot(levels, len(sizes)).to(dtype)
        of_column = of_level.t().contiguous()  # products with it are faster in this layout
        return Constants(
            starts=torch.tensor(bounds(options.sizes)[:-1], device=device),
            slopes=weights * scales,
            scales=scales,
            margins=margins,
            sizes=sizes.to(device, dtype),
            of_column=of_column,
            of_level=of_column.t(),
            column_scales=scales[levels],
            zero=scales.new_zeros(()),
        )
