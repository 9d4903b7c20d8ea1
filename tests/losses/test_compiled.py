"""Compiled by inductor: gradients before and after the warm-up, against PML's losses."""

from __future__ import annotations

import copy
import shutil

import pytest
import torch
from bases import BASES

from pml_hierarchical import Hierarchy
from pml_hierarchical.losses import HierarchicalProxyLoss

C, D, B = 12, 6, 20
TREE = Hierarchy.from_parents([[0, 0, 0, 0, 1, 1, 2, 2, 2, 3, 3, 3]])

pytestmark = pytest.mark.skipif(
    not (shutil.which("g++") or shutil.which("clang++")), reason="inductor needs a compiler"
)


def gradients(loss, embeddings, levels, attribute):
    """Of the embeddings, and of the proxies of these levels."""
    assert loss.requires_grad
    return torch.autograd.grad(loss, [embeddings, *(getattr(one, attribute) for one in levels)])


@pytest.mark.parametrize(
    ("name", "engine", "autocast"),
    [
        ("SoftTripleLoss", None, False),
        ("SubCenterArcFaceLoss", None, False),
        ("P2SGradLoss", None, False),
        ("CosFaceLoss", "pml", False),
        ("NormalizedSoftmaxLoss", None, True),
    ],
)
def test_gradients(name, engine, autocast):
    base = BASES[name]
    loss_func = HierarchicalProxyLoss(
        C,
        D,
        base.loss_class,
        TREE,
        level_weights=(1.0, 0.4),
        warmup=100,
        recluster_every=None,
        engine=engine,
        **base.kwargs,
    )
    embeddings, labels = torch.randn(B, D, requires_grad=True), torch.randint(C, (B,))
    torch._dynamo.reset()
    compiled = torch.compile(loss_func, backend="inductor")
    close = {"rtol": 0.05, "atol": 0.02} if autocast else {"rtol": 1e-3, "atol": 1e-5}
    for weights in ((1.0,), (1.0, 0.4)):
        levels = [copy.deepcopy(loss_func.level_loss(level)) for level in range(len(weights))]
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=autocast):
            found = compiled(embeddings, labels)
            expected = sum(
                weight * level(embeddings, TREE.ancestors(labels, number))
                for number, (weight, level) in enumerate(zip(weights, levels, strict=True))
            )
        torch.testing.assert_close(found, expected, **close)
        wanted = gradients(expected, embeddings, levels, base.attribute)
        own = [loss_func.level_loss(level) for level in range(len(weights))]
        ours = gradients(found, embeddings, own, base.attribute)
        torch.testing.assert_close(ours, wanted, **close)
        loss_func.recluster()
