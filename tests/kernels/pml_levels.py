"""PML's losses, one for each level, and the same by the kernels."""

from __future__ import annotations

import torch
from pytorch_metric_learning import losses as pml

from pml_hierarchical.kernels import AllLevels
from pml_hierarchical.losses.fast_path import settings_of

CLASSES = {
    "proxy_anchor": pml.ProxyAnchorLoss,
    "proxy_nca": pml.ProxyNCALoss,
    "normalized_softmax": pml.NormalizedSoftmaxLoss,
    "cosface": pml.CosFaceLoss,
    "arcface": pml.ArcFaceLoss,
}
KINDS = sorted(CLASSES)
SOFTMAX = [kind for kind in KINDS if kind != "proxy_anchor"]
TOLERANCES = {torch.float64: 1e-10, torch.float32: 1e-5}
WEIGHTS = (1.0, 0.3, 0.7)


def name_of(loss):
    return "W" if hasattr(loss, "W") else "proxies"


def stored(levels):
    """The proxies of each level, as its loss stores them."""
    return [getattr(loss, name_of(loss)) for loss in levels]


def make(kind, sizes, batch_size=16, embedding_size=8, dtype=torch.float64, seed=0, **kwargs):
    """Losses, embeddings and labels."""
    torch.manual_seed(seed)
    levels = [CLASSES[kind](num_classes=c, embedding_size=embedding_size, **kwargs) for c in sizes]
    levels = [level.to(dtype) for level in levels]
    embeddings = torch.randn(batch_size, embedding_size, dtype=dtype, requires_grad=True)
    labels = torch.stack([torch.randint(size, (batch_size,)) for size in sizes])
    return levels, embeddings, labels


def plain_sum(levels, labels, weights=WEIGHTS):
    """The weighted sum by PML's losses, as a function of embeddings and proxies."""

    def plain(embeddings, proxies):
        return sum(
            weight * torch.func.functional_call(loss, {name_of(loss): one}, (embeddings, classes))
            for loss, one, classes, weight in zip(levels, proxies, labels, weights, strict=False)
        )

    return plain


def reference(levels, embeddings, labels, weights=WEIGHTS):
    """The loss of each level, and the gradients of embeddings and proxies."""
    losses = [level(embeddings, classes) for level, classes in zip(levels, labels, strict=True)]
    total = sum(weight * loss for weight, loss in zip(weights, losses, strict=False))
    return torch.stack(losses).detach(), torch.autograd.grad(total, [embeddings, *stored(levels)])


def kernels(levels, embeddings, labels, weights=WEIGHTS, proxies=None, plain=None, **changes):
    """The total, and the losses of the levels; ``changes`` are settings of the kernels."""
    proxies = stored(levels) if proxies is None else proxies
    settings = settings_of(levels, weights[: len(levels)])
    sizes = tuple(one.shape[settings.class_dim] for one in proxies)
    settings = settings._replace(**{"sizes": sizes, **changes})
    needs = tuple(torch.is_grad_enabled() and one.requires_grad for one in (embeddings, *proxies))
    return AllLevels.apply(settings, needs, plain, None, embeddings, labels, *proxies)


def rows(loss):
    """A view of the proxies of shape ``(classes, embedding_size)``."""
    return loss.W.t() if hasattr(loss, "W") else loss.proxies
