"""What is measured: HPL, PML's losses, and the matrix products that no loss can do without."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from pytorch_metric_learning import losses as pml_losses

from pml_hierarchical import Hierarchy
from pml_hierarchical.core import hierarchical_proxy_loss as core
from pml_hierarchical.losses import FastPath, HierarchicalProxyLoss

from .formulas import FormulaLoss
from .measuring import Step
from .options import COMPILED

LOSSES = {
    "proxy_anchor": pml_losses.ProxyAnchorLoss,
    "proxy_nca": pml_losses.ProxyNCALoss,
    "normalized_softmax": pml_losses.NormalizedSoftmaxLoss,
    "cosface": pml_losses.CosFaceLoss,
    "arcface": pml_losses.ArcFaceLoss,
}
COARSE_WEIGHT = 0.3
CASE = ("loss", "classes", "embedding_size", "batch_size", "levels")


def hierarchical(
    name: str,
    sizes: Sequence[int],
    embedding_size: int,
    is_active: bool = True,
    is_given: bool = True,
    loss_class: type[core.HierarchicalProxyLoss] = HierarchicalProxyLoss,
    **settings: Any,
) -> Any:
    """HPL with a given tree or one to discover, after its warm-up or before.

    With one level it is PML's loss, which has no ``settings``.
    """
    if len(sizes) == 1:
        settings = {}
    else:  # the weight and the scale that the other sides have at every level
        settings = {"level_weights": COARSE_WEIGHT, "coarse_scale": 1} | settings
    settings |= {"recluster_every": None, "warmup": 10**9}
    if is_given:
        parents = [np.arange(below) % size for below, size in itertools.pairwise(sizes)]
        tree = Hierarchy.from_parents(parents) if parents else Hierarchy.flat(sizes[0])
        settings["hierarchy"] = tree
    else:
        settings["num_superclasses"] = sizes[1:]
    loss = loss_class(sizes[0], embedding_size, LOSSES[name], **settings)
    if is_given and is_active:
        loss.recluster()
    return loss


class PMLLevels(torch.nn.Module):
    """The same in terms of PML: the sum of a loss per level, each with proxies that are learned."""

    def __init__(self, name: str, sizes: Sequence[int], embedding_size: int) -> None:
        super().__init__()
        self.losses = torch.nn.ModuleList(LOSSES[name](size, embedding_size) for size in sizes)
        self.sizes = sizes

    def forward(self, embeddings: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        total = self.losses[0](embeddings, labels)
        for loss, size in zip(self.losses[1:], self.sizes[1:], strict=True):
            labels = labels % size
            total = total + COARSE_WEIGHT * loss(embeddings, labels)
        return total


def make_steps(
    case: tuple[str, int, int, int, int], sides: Sequence[str], device: str
) -> dict[str, Step]:
    """A forward and backward pass of each side, on the same batch; a case is as in the table."""
    name, classes, embedding_size, batch_size, levels = case
    sizes = level_sizes(classes, levels)
    embeddings = torch.randn(batch_size, embedding_size, device=device, requires_grad=True)
    labels = torch.randint(classes, (batch_size,), device=device)
    makers: dict[str, Callable[[], torch.nn.Module]] = {
        "formula": lambda: FormulaLoss(name, classes, embedding_size),
        "pml": lambda: LOSSES[name](classes, embedding_size),
        "pml_levels": lambda: PMLLevels(name, sizes, embedding_size),
        COMPILED: lambda: _compiled(PMLLevels(name, sizes, embedding_size)),
        "core": lambda: hierarchical(
            name, sizes, embedding_size, loss_class=core.HierarchicalProxyLoss
        ),
        "ours_flat": lambda: hierarchical(name, sizes, embedding_size, is_active=False),
        "ours": lambda: hierarchical(name, sizes, embedding_size),
        "ours_saving": lambda: hierarchical(
            name, sizes, embedding_size, engine=FastPath(save_memory=True)
        ),
        "ours_share": lambda: hierarchical(
            name, sizes, embedding_size, engine=FastPath(class_share=0.1)
        ),
    }
    steps: dict[str, Step] = {}
    for side in sides:
        if side == "products":
            steps[side] = _products(embeddings.detach(), classes)
        else:
            steps[side] = training_step(makers[side]().to(device), embeddings, labels)
    return steps


def _compiled(loss: torch.nn.Module) -> torch.nn.Module:
    loss.compile(dynamic=False)
    return loss


def level_sizes(classes: int, levels: int) -> list[int]:
    """``[C, sqrt(C), ...]``: 11318, 106, 10."""
    sizes = [classes]
    while len(sizes) < levels:
        sizes.append(max(2, round(sizes[-1] ** 0.5)))
    return sizes


def training_step(loss: torch.nn.Module, embeddings: torch.Tensor, labels: torch.Tensor) -> Step:
    """A forward and backward pass."""
    leaves = [embeddings, *loss.parameters()]

    def step() -> None:
        for leaf in leaves:  # as an optimizer does; a module would look for them at every step
            leaf.grad = None
        loss(embeddings, labels).backward()

    return step


def _products(embeddings: torch.Tensor, classes: int) -> Step:
    """What no loss of this kind can do without; into memory that is there already."""
    proxies = torch.randn(classes, embeddings.shape[1], device=embeddings.device)
    cosines = torch.empty(len(embeddings), classes, device=embeddings.device)
    gradients = torch.empty_like(embeddings), torch.empty_like(proxies)

    def step() -> None:
        torch.mm(embeddings, proxies.t(), out=cosines)
        torch.mm(cosines, proxies, out=gradients[0])
        torch.mm(cosines.t(), embeddings, out=gradients[1])

    return step
