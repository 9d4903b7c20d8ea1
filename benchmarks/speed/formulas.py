"""The formulas of the losses' papers, written down as they stand there.

What a paper's own code computes, step by step and with a matrix of 0 and 1 for the classes, as most
repositories have it. Beside PML's losses, which are built from parts, and ours, which are fused.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch.nn.functional import cross_entropy, linear, log_softmax, normalize, one_hot

Formula = Callable[[torch.Tensor, torch.Tensor, torch.Tensor], torch.Tensor]


def proxy_anchor(
    embeddings: torch.Tensor, proxies: torch.Tensor, labels: torch.Tensor
) -> torch.Tensor:
    """Kim et al. 2020, equation 4, with margin 0.1 and alpha 32."""
    margin, alpha = 0.1, 32.0
    cosines = linear(normalize(embeddings), normalize(proxies))
    is_positive = one_hot(labels, len(proxies)).to(cosines.dtype)
    positive = torch.exp(-alpha * (cosines - margin)) * is_positive
    negative = torch.exp(alpha * (cosines + margin)) * (1 - is_positive)
    num_with_positives = (is_positive.sum(dim=0) > 0).sum()
    positive_term = torch.log1p(positive.sum(dim=0)).sum() / num_with_positives
    return positive_term + torch.log1p(negative.sum(dim=0)).sum() / len(proxies)


def proxy_nca(
    embeddings: torch.Tensor, proxies: torch.Tensor, labels: torch.Tensor
) -> torch.Tensor:
    """Movshovitz-Attias et al. 2017 as Teh et al. 2020 have it: all proxies in the sum; scale 1."""
    distances = torch.cdist(normalize(embeddings), normalize(proxies)) ** 2
    targets = one_hot(labels, len(proxies)).to(distances.dtype)
    return -(targets * log_softmax(-distances, dim=1)).sum(dim=1).mean()


def normalized_softmax(
    embeddings: torch.Tensor, proxies: torch.Tensor, labels: torch.Tensor
) -> torch.Tensor:
    """Zhai & Wu 2019, with temperature 0.05."""
    return cross_entropy(linear(normalize(embeddings), normalize(proxies)) / 0.05, labels)


def cosface(embeddings: torch.Tensor, proxies: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """Wang et al. 2018, with margin 0.35 and scale 64."""
    cosines = linear(normalize(embeddings), normalize(proxies))
    is_positive = one_hot(labels, len(proxies)).to(cosines.dtype)
    return cross_entropy(64 * (cosines - 0.35 * is_positive), labels)


def arcface(embeddings: torch.Tensor, proxies: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """Deng et al. 2019, with the margin of PML's default, 28.6 degrees, and scale 64."""
    margin = torch.deg2rad(torch.tensor(28.6))
    cosines = linear(normalize(embeddings), normalize(proxies))
    sines = torch.sqrt((1 - cosines**2).clamp(min=0))
    with_margin = cosines * torch.cos(margin) - sines * torch.sin(margin)
    # beyond 180 degrees the cosine would rise again
    easy = cosines - margin * torch.sin(margin)
    with_margin = torch.where(cosines > -torch.cos(margin), with_margin, easy)
    is_positive = one_hot(labels, len(proxies)).to(cosines.dtype)
    logits = is_positive * with_margin + (1 - is_positive) * cosines
    return cross_entropy(64 * logits, labels)


FORMULAS: dict[str, Formula] = {
    "proxy_anchor": proxy_anchor,
    "proxy_nca": proxy_nca,
    "normalized_softmax": normalized_softmax,
    "cosface": cosface,
    "arcface": arcface,
}


class FormulaLoss(torch.nn.Module):
    """A formula with proxies to learn, as its paper's module would hold them."""

    def __init__(self, name: str, num_classes: int, embedding_size: int) -> None:
        super().__init__()
        self.formula = FORMULAS[name]
        self.proxies = torch.nn.Parameter(torch.randn(num_classes, embedding_size))

    def forward(self, embeddings: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        """The loss of a batch."""
        return self.formula(embeddings, self.proxies, labels)
