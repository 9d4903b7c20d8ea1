"""Compiled by inductor: gradients before and after the warm-up, against PML's losses."""

from __future__ import annotations

import copy
import shutil

import pytest
import torch
from bases import BASES

from pml_hierarchical import Hierarchy
from pml_hierarchical.losses import FastPath, HierarchicalProxyLoss

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


def test_a_share_of_the_classes_is_drawn_anew_in_each_step():
    """Without a graph break, and the same as without compilation."""
    losses = []
    for compiled in (False, True):
        torch.manual_seed(0)
        loss_func = HierarchicalProxyLoss(
            60,
            D,
            BASES["CosFaceLoss"].loss_class,
            Hierarchy([[c, c // 5] for c in range(60)]),
            warmup=0,
            recluster_every=None,
            engine=FastPath(class_share=0.3),
        )
        loss_func.recluster()
        embeddings, labels = torch.randn(B, D), torch.randint(60, (B,))
        for _ in range(2):
            loss_func(embeddings, labels)
        torch._dynamo.reset()
        called = torch.compile(loss_func, fullgraph=True) if compiled else loss_func
        losses.append([called(embeddings, labels).item() for _ in range(4)])
    assert losses[1] == pytest.approx(losses[0], rel=1e-5)
    assert len({round(value, 3) for value in losses[0]}) == 4


@pytest.mark.parametrize("calls_before", [0, 1])
def test_a_loaded_checkpoint_takes_effect(calls_before):
    """Nothing reads the buffers while the loss is compiled, so loading has to."""
    trained = HierarchicalProxyLoss(C, D, hierarchy=TREE, warmup=0)
    trained.recluster()
    loss_func = HierarchicalProxyLoss(C, D, hierarchy=TREE, warmup=100, recluster_every=None)
    embeddings, labels = torch.randn(B, D), torch.randint(C, (B,))
    torch._dynamo.reset()
    compiled = torch.compile(loss_func, fullgraph=True)
    for _ in range(calls_before):
        compiled(embeddings, labels)
    loss_func.load_state_dict(trained.state_dict())
    with torch.no_grad():
        expected = trained(embeddings, labels)
        fine_alone = trained.level_loss(0)(embeddings, labels)
    found = compiled(embeddings, labels).detach()
    torch.testing.assert_close(found, expected)
    assert abs(found - fine_alone) > 0.1


@pytest.mark.parametrize("is_training", [True, False])
def test_without_gradients(is_training):
    """As a loss on validation data, once the coarse levels take part."""
    loss_func = HierarchicalProxyLoss(C, D, hierarchy=TREE, recluster_every=None)
    loss_func.train(is_training).recluster()
    embeddings, labels = torch.randn(B, D), torch.randint(C, (B,))
    torch._dynamo.reset()
    with torch.no_grad():
        found = torch.compile(loss_func, fullgraph=True)(embeddings, labels)
        torch.testing.assert_close(found, loss_func(embeddings, labels))
