"""Small losses, PML's own as the control among them, and what two of them must have in common."""

from __future__ import annotations

import warnings
from functools import partial

import torch
from pytorch_metric_learning.losses import CosFaceLoss, ProxyAnchorLoss

from pml_hierarchical import Hierarchy
from pml_hierarchical.losses import HierarchicalProxyLoss

NUM_CLASSES, DIM, BATCH = 12, 8, 16
WARMUP, EVERY = 3, 4
TREE = Hierarchy.from_parents([[0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2, 2]])
COARSE_TREE = Hierarchy.from_parents([[0, 0, 0, 0, 0, 1, 1, 1, 1, 1, 1, 1]])

ours = partial(
    HierarchicalProxyLoss, NUM_CLASSES, DIM, warmup=WARMUP, recluster_every=EVERY, level_weights=0.5
)

#: the control first: what passes with it must pass with the others
LOSSES = {
    "PML": partial(ProxyAnchorLoss, NUM_CLASSES, DIM),
    "flat": partial(ours, num_superclasses=()),
    "discovered": partial(ours, num_superclasses=3),
    "three levels": partial(ours, num_superclasses=(5, 2)),
    "given": partial(ours, hierarchy=TREE),
    "mixed": partial(ours, hierarchy=COARSE_TREE, num_superclasses=5),
    "fixed": partial(ours, num_superclasses=3, coarse_proxies="fixed"),
    "live": partial(ours, num_superclasses=3, coarse_proxies="live"),
    "transposed": partial(ours, num_superclasses=3, base_loss=CosFaceLoss),
}

#: for tests that take long
SOME = ["PML", "discovered", "mixed", "fixed"]


def make(name: str, seed: int = 0):
    torch.manual_seed(seed)
    return LOSSES[name]()


class Net(torch.nn.Module):
    """A trunk and its loss in one module, as Hugging Face's trainer wants them."""

    def __init__(self, name: str, seed: int = 0) -> None:
        super().__init__()
        self.loss_func = make(name, seed)
        self.trunk = torch.nn.Linear(4, DIM)

    def forward(self, x, labels):
        embeddings = self.trunk(x)
        return {"loss": self.loss_func(embeddings, labels), "embeddings": embeddings}


def batches(count: int, dim: int = DIM, seed: int = 0):
    generator = torch.Generator().manual_seed(seed)
    for _ in range(count):
        labels = torch.randint(NUM_CLASSES, (BATCH,), generator=generator)
        yield torch.randn(BATCH, dim, generator=generator), labels


def train(loss, steps: int, seed: int = 0, after_step=lambda: None):
    """Plain SGD, without state of its own, on the proxies alone."""
    dtype = next(loss.parameters()).dtype
    optimizer = torch.optim.SGD(loss.parameters(), lr=0.5)
    loss.train()
    for embeddings, labels in batches(steps, seed=seed):
        optimizer.zero_grad()
        loss(embeddings.to(dtype), labels).backward()
        optimizer.step()
        after_step()
    return loss


def facts(loss) -> dict:
    """What a hierarchical loss says of itself; nothing for PML's."""
    if not isinstance(loss, HierarchicalProxyLoss):
        return {}
    tree = loss.hierarchy
    return {
        "step": loss.step,
        "num_updates": loss.num_updates,
        "is_active": loss.is_active,
        "tree": None if tree is None else tree.class_labels.tolist(),
    }


@torch.no_grad()
def value(loss):
    embeddings, labels = next(batches(1, seed=99))
    was_training = loss.training
    found = loss.eval()(embeddings.to(next(loss.parameters()).dtype), labels)
    loss.train(was_training)
    return found


def assert_same(one, other) -> None:
    """The same tensors, the same statements, and the same value of the loss."""
    first, second = one.state_dict(), other.state_dict()
    assert first.keys() == second.keys()
    for key in first:
        assert torch.equal(first[key], second[key]), key
        assert first[key].dtype == second[key].dtype, key
    assert facts(one) == facts(other)
    assert torch.equal(value(one), value(other))


def assert_trains_alike(one, other) -> None:
    """The same, now and after further training with further updates."""
    assert_same(one, other)
    train(one, 2 * EVERY, seed=5)
    train(other, 2 * EVERY, seed=5)
    assert_same(one, other)


def assert_usable(loss) -> None:
    """It can be trained on, is active then, and saved and loaded."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # where it says that it starts anew
        train(loss, 2 * EVERY, seed=7)
    assert value(loss).isfinite()
    if (known := facts(loss)) and len(loss.sizes) > 1:
        assert known["is_active"]
        assert Hierarchy(known["tree"]).sizes == loss.sizes


def assert_active_with_tree_of(copy, model) -> None:
    if isinstance(model, HierarchicalProxyLoss) and len(model.sizes) > 1:
        assert copy.is_active
        assert copy.hierarchy.class_labels.tolist() == model.hierarchy.class_labels.tolist()
        embeddings, _ = next(batches(1))
        assert copy.get_logits(embeddings, level=1).isfinite().all()
    assert value(copy).isfinite()
