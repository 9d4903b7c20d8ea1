r"""Unit vectors without a normalised copy of the proxies, and the gradient through them.

:func:`torch.nn.functional.normalize` maps :math:`p` to :math:`\hat p = p / \max(|p|, 10^{-12})`;
the gradient through it is

.. math:: \frac{\partial L}{\partial p} = \frac{1}{|p|} (I - \hat p \hat p^T)
    \frac{\partial L}{\partial \hat p}

without the projection where :math:`|p|` is below the bound.
"""

from __future__ import annotations

import torch
from torch import Tensor

EPS = 1e-12  # of torch.nn.functional.normalize, as PML's distances call it


def row_norms(vectors: Tensor) -> Tensor:
    """The norm of each row, of a matrix in either layout: ``(rows,)``."""
    if vectors.stride(1) == 1 or vectors.is_cuda:
        return torch.linalg.vector_norm(vectors, dim=1)
    # torch's norm over the slow dimension takes ten times as long as squaring a block in the cache
    norms = vectors.new_empty(len(vectors))
    for block, out in zip(vectors.split(4096), norms.split(4096), strict=True):
        torch.sum(block * block, dim=1, out=out)
    return norms.sqrt_()


def inverse(norms: Tensor) -> Tensor:
    """What a vector is multiplied by to get norm 1."""
    return norms.clamp_min(EPS).reciprocal_()


def projection(norms: Tensor) -> Tensor:
    """The factor :math:`1 / |p|^2` of the projection; 0 where there is none."""
    return norms.square().reciprocal_().masked_fill_(norms <= EPS, 0)


def project_(gradient: Tensor, vectors: Tensor, factor: Tensor) -> None:
    r"""In place, :math:`g \leftarrow g - p (p \cdot g) / |p|^2` in each row."""
    along = (gradient * vectors).sum(1).mul_(factor).unsqueeze(1)
    gradient.addcmul_(vectors, along, value=-1)
