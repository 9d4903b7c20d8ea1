"""How the softmax losses change the cosine of the class that a sample belongs to."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch

Target = Callable[[torch.Tensor, torch.Tensor], tuple[torch.Tensor, torch.Tensor]]


def plain(cosines: torch.Tensor, margins: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Not at all: Normalized Softmax and Proxy-NCA. Returns the value and its derivative."""
    return cosines, cosines.new_ones(())


def cosface(cosines: torch.Tensor, margins: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    r"""Minus a margin: :math:`\cos\theta - m` (Wang et al., CVPR 2018)."""
    return cosines - margins, cosines.new_ones(())


def arcface(cosines: torch.Tensor, margins: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    r"""Turned away by an angle: :math:`\cos(\theta + m)` (Deng et al., CVPR 2019).

    Where :math:`\theta > \pi - m`, PML's :math:`\cos\theta - m \sin m` keeps it falling.
    The derivative :math:`\sin(\theta + m) / \sin\theta` has no limit at :math:`\theta = 0`. The
    sine is bounded from below by its own rounding error, so that the gradient is finite: the
    gradient of a cosine vanishes there.
    """
    cosines = cosines.clamp(-1, 1)
    smallest = torch.finfo(cosines.dtype).eps
    sines = (1 - cosines.square()).clamp_min_(smallest).sqrt_()
    cos_margin, sin_margin = margins.cos(), margins.sin()
    is_turned = torch.acos(cosines) <= math.pi - margins
    turned = cosines * cos_margin - (1 - cosines.square()).sqrt_() * sin_margin
    slope = cos_margin + cosines / sines * sin_margin
    return (
        torch.where(is_turned, turned, cosines - margins * sin_margin),
        torch.where(is_turned, slope, 1.0),
    )


TARGETS: dict[str, Target] = {
    "proxy_nca": plain,
    "normalized_softmax": plain,
    "cosface": cosface,
    "arcface": arcface,
}
