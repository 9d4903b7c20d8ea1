"""What the functions check before they compute: cheap, and nothing that waits for a GPU."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate

import torch


def check_shapes(
    embeddings: torch.Tensor,
    parts: Sequence[torch.Tensor],
    labels: torch.Tensor,
    sizes: Sequence[int],
) -> None:
    """Raise for tensors that do not fit together, and for number types other than float32/64."""
    if embeddings.ndim != 2 or len(embeddings) == 0:
        raise ValueError(
            "embeddings must have shape (batch_size, embedding_size) and not be empty, got "
            f"{tuple(embeddings.shape)}"
        )
    if labels.shape != (len(sizes), len(embeddings)):
        raise ValueError(
            f"labels must have shape (levels, batch_size) = ({len(sizes)}, {len(embeddings)}), "
            f"got {tuple(labels.shape)}"
        )
    if labels.is_floating_point() or labels.dtype == torch.bool:
        raise TypeError(f"labels must be integers, got {labels.dtype}")
    for part in parts:
        if part.ndim != 2 or part.shape[1] != embeddings.shape[1]:
            raise ValueError(
                f"proxies must have shape (classes, {embeddings.shape[1]}), as the embeddings, got "
                f"{tuple(part.shape)}; pass a matrix of the other layout as W.t()"
            )
        if part.dtype not in (torch.float32, torch.float64) or part.dtype != parts[0].dtype:
            types = [one.dtype for one in parts]
            raise TypeError(f"proxies must all be float32, or all float64, got {types}")
    _check_cuts([len(part) for part in parts], sizes)


def _check_cuts(rows: Sequence[int], sizes: Sequence[int]) -> None:
    ends, part_ends = set(accumulate(sizes)), list(accumulate(rows))
    if min(sizes) < 1 or part_ends[-1] != max(ends) or not ends.issuperset(part_ends):
        raise ValueError(
            f"sizes={tuple(sizes)} do not fit tensors of {tuple(rows)} proxies: a level must have "
            "at least one class and lie within one tensor, and nothing may be left over"
        )


def per_level(value: float | Sequence[float], levels: int, name: str) -> tuple[float, ...]:
    """One number for each level, of a number for all of them or of one for each."""
    if isinstance(value, (int, float)):
        return (float(value),) * levels
    values = tuple(float(one) for one in value)
    if len(values) != levels:
        raise ValueError(f"{name} must be one number, or one for each of {levels} levels: {values}")
    return values
