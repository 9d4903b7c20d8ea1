"""The fast path inside HierarchicalProxyLoss against the same loss on PML's own."""

import pytest
import torch
from pml_levels import CLASSES, KINDS
from torch.nn import Parameter

from pml_hierarchical import Hierarchy
from pml_hierarchical.losses import HierarchicalProxyLoss
from pml_hierarchical.losses.fast_path import FastPath

C, D, B = 20, 5, 8
TREE = Hierarchy.from_parents([[i // 4 for i in range(C)], [0, 0, 1, 1, 1]])
MANY = Hierarchy.from_parents([[i // 500 for i in range(20_000)], [i // 10 for i in range(40)]])


def make(kind, engine, **kwargs):
    torch.manual_seed(1)
    settings = {"hierarchy": TREE, "level_weights": (1, 0.5, 0.2), "warmup": 0, **kwargs}
    return HierarchicalProxyLoss(C, D, CLASSES[kind], engine=engine, **settings).double()


def batch():
    torch.manual_seed(2)
    return torch.randn(B, D, dtype=torch.float64, requires_grad=True), torch.randint(C, (B,))


@pytest.mark.parametrize("coarse_proxies", ["fixed", "live", "learned"])
@pytest.mark.parametrize("kind", KINDS)
def test_same_training_as_by_pml(kind, coarse_proxies):
    """Values, levels, and proxies after steps with a gradient penalty."""
    found = []
    for engine in (None, "pml"):
        loss_func = make(kind, engine, coarse_proxies=coarse_proxies)
        optimizer = torch.optim.SGD(loss_func.parameters(), lr=0.01)
        embeddings, labels = batch()
        for _ in range(3):
            loss = loss_func(embeddings, labels)
            (gradient,) = torch.autograd.grad(loss, embeddings, create_graph=True)
            optimizer.zero_grad()
            (loss + 0.1 * gradient.square().sum()).backward()
            optimizer.step()
        levels = [getattr(loss_func, f"loss_level{level}") for level in range(3)]
        found.append([loss.detach(), *levels, *loss_func.state_dict().values()])
    for one, expected in zip(*found, strict=True):
        torch.testing.assert_close(one, expected, rtol=1e-7, atol=1e-9)


@pytest.mark.parametrize("kind", KINDS)
def test_hessian(kind):
    embeddings, labels = batch()

    def hessian(loss_func):
        return torch.autograd.functional.hessian(lambda one: loss_func(one, labels), embeddings)

    found, expected = (hessian(make(kind, engine)) for engine in (None, "pml"))
    torch.testing.assert_close(found, expected, rtol=1e-7, atol=1e-7)
    assert expected.abs().max() > 0


LEARNED = {
    "proxy_anchor": ["margin", "alpha"],
    "proxy_nca": ["softmax_scale"],
    "normalized_softmax": ["temperature"],
    "cosface": ["margin", "scale"],
    "arcface": ["scale"],  # its margin goes through numpy in PML, which cannot learn it
}


@pytest.mark.parametrize(("kind", "name"), [(k, n) for k, names in LEARNED.items() for n in names])
def test_learned_settings_get_the_gradient_of_pml(kind, name):
    """A parameter in the place of a number, shared by all levels."""
    embeddings, labels = batch()
    found = []
    for engine in (None, "pml"):
        loss_func = make(kind, engine)
        value = Parameter(torch.tensor(float(getattr(loss_func.level_loss(0), name))))
        for level in range(3):
            loss = loss_func.level_loss(level)
            delattr(loss, name)
            setattr(loss, name, value)
        found.append(torch.autograd.grad(loss_func(embeddings, labels), [value, embeddings]))
    assert found[1][0] != 0
    torch.testing.assert_close(found[0], found[1])


def test_what_an_engine_can_be():
    assert make("cosface", None).engine == FastPath()
    assert make("cosface", FastPath(save_memory=True)).engine.save_memory
    assert make("cosface", "pml").engine is None
    for wrong in ("fast", False, 3):
        with pytest.raises(ValueError, match="engine must be a FastPath"):
            make("cosface", wrong)


@pytest.mark.parametrize("kind", KINDS)
def test_same_value_and_gradients_for_many_classes(kind):
    """A block of classes at a time, and the labels of three levels as the loss looks them up."""
    found = []
    for engine in (None, "pml"):
        torch.manual_seed(1)
        loss_func = HierarchicalProxyLoss(
            20_000, D, CLASSES[kind], hierarchy=MANY, warmup=0, engine=engine
        ).double()
        embeddings, labels = batch()
        loss = loss_func(embeddings, 900 * labels)
        found.append([loss, *torch.autograd.grad(loss, [embeddings, *loss_func.parameters()])])
    torch.testing.assert_close(*found)
