"""What counts as a training step where a loss is called more often than the optimizer steps."""

import copy
import pickle

import pytest
import torch
from torch.utils.checkpoint import checkpoint

from pml_hierarchical.losses import HierarchicalProxyLoss

C, D, B = 12, 6, 10


def make(**kwargs):
    torch.manual_seed(0)
    loss_func = HierarchicalProxyLoss(C, D, num_superclasses=3, warmup=2, **kwargs)
    return loss_func, torch.optim.SGD(loss_func.parameters(), lr=0.1)


def batches(count):
    generator = torch.Generator().manual_seed(1)
    for _ in range(count):
        embeddings = torch.randn(B, D, generator=generator, requires_grad=True)
        yield embeddings, torch.randint(C, (B,), generator=generator)


def accumulate(loss_func, optimizer, embeddings, labels):
    for half in (slice(0, 5), slice(5, None)):
        loss_func(embeddings[half], labels[half]).backward()


def checkpointed(loss_func, optimizer, embeddings, labels):
    checkpoint(loss_func, embeddings, labels, use_reentrant=False).backward()


def sharpness_aware(loss_func, optimizer, embeddings, labels):
    """SAM (Foret et al., ICLR 2021): the gradient at a point uphill."""
    proxies = loss_func.proxies
    (uphill,) = torch.autograd.grad(loss_func(embeddings, labels), proxies)
    before = proxies.detach().clone()
    with torch.no_grad():
        proxies.add_(0.05 * uphill / uphill.norm())
    loss_func(embeddings, labels).backward()
    with torch.no_grad():
        proxies.copy_(before)


WAYS = [accumulate, checkpointed, sharpness_aware]


@pytest.mark.parametrize("way", WAYS)
def test_optimizer_steps_are_counted(way):
    loss_func, optimizer = make(recluster_every=3)
    loss_func.count_steps_of(optimizer)
    seen = []
    for embeddings, labels in batches(7):
        optimizer.zero_grad()
        way(loss_func, optimizer, embeddings, labels)
        optimizer.step()
        seen.append((loss_func.step, loss_func.num_updates))
    # an update comes with the first call after the step that it is due at
    assert seen == [(1, 0), (2, 0), (3, 1), (4, 1), (5, 1), (6, 2), (7, 2)]


@pytest.mark.parametrize("way", WAYS)
def test_without_it_every_call_counts(way):
    """The control: otherwise these are two steps each."""
    loss_func, optimizer = make(recluster_every=100)
    for embeddings, labels in batches(1):
        way(loss_func, optimizer, embeddings, labels)
    assert loss_func.step == 2


def test_gradients_of_a_checkpointed_loss_are_those_without():
    """While the hierarchy is active, and an update would come between a forward and its twin."""
    found = []
    for way in (checkpointed, lambda loss_func, _, *inputs: loss_func(*inputs).backward()):
        loss_func, optimizer = make(recluster_every=1)
        loss_func.count_steps_of(optimizer)
        for embeddings, labels in batches(5):
            optimizer.zero_grad()
            way(loss_func, optimizer, embeddings, labels)
            optimizer.step()
        assert loss_func.is_active
        found.append([embeddings.grad, loss_func.proxies.grad, loss_func.proxies.detach()])
    torch.testing.assert_close(*found)


def test_the_last_optimizer_counts():
    """Also if it is the same one again, as in a function that is called for every epoch."""
    loss_func, optimizer = make()
    other = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=0.1)
    seen = []
    for counted in (optimizer, optimizer, other):
        loss_func.count_steps_of(counted)
        for each in (optimizer, other, other):
            each.step()
        seen.append(loss_func.step)
    assert seen == [1, 2, 4]
    assert pickle.loads(pickle.dumps(loss_func)).step == 4


def test_a_pickled_loss_counts_again():
    """Its calls, because hooks of an optimizer are not pickled, until it is told to count steps."""
    loss_func, optimizer = make()
    loss_func.count_steps_of(optimizer)
    restored = pickle.loads(pickle.dumps(loss_func))
    for embeddings, labels in batches(3):
        restored(embeddings, labels).backward()
    assert restored.step == 3
    assert restored.is_active
    other = torch.optim.SGD(restored.parameters(), lr=0.1)
    restored.count_steps_of(other)
    for embeddings, labels in batches(2):
        restored(embeddings, labels).backward()
    other.step()
    assert (restored.step, loss_func.step) == (4, 0)


def test_a_copy_does_not_count():
    loss_func, optimizer = make()
    loss_func.count_steps_of(optimizer)
    twin = copy.deepcopy(loss_func)
    for embeddings, labels in batches(1):
        loss_func(embeddings, labels).backward()
    optimizer.step()
    assert (loss_func.step, twin.step) == (1, 0)
