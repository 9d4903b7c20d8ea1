"""State that somebody else writes in ways that autograd does not count as a new version."""

from __future__ import annotations

import copy

import pytest
import torch

from pml_hierarchical.losses import HierarchicalProxyLoss

C, D = 10, 8
X, Y = torch.randn(16, D, generator=torch.Generator().manual_seed(0)), torch.arange(16) % C


def by_data(target, source):
    target.data.copy_(source.data)


def by_numpy(target, source):
    target.detach().numpy()[...] = source.detach().numpy()


def by_new_data(target, source):
    target.data = source.data.clone()


@pytest.mark.parametrize("write", [by_data, by_numpy, by_new_data])
def test_the_state_is_what_the_buffers_hold(write):
    trained = HierarchicalProxyLoss(C, D, num_superclasses=3, warmup=0)
    other = copy.deepcopy(trained).eval()
    with torch.no_grad():
        other(X, Y)  # has read its state
    for _ in range(5):
        trained(X, Y).backward()
    tensors = [[*one.parameters(), *one.buffers()] for one in (other, trained)]
    for target, source in zip(*tensors, strict=True):
        write(target, source)
    assert (other.is_active, other.step) == (True, 5)
    assert torch.equal(other.class_labels, trained.class_labels)
    with torch.no_grad():
        assert torch.equal(other(X, Y), trained.eval()(X, Y))
