"""A share of the classes for each step."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from pml_levels import CLASSES, KINDS, make, plain_sum, stored

from pml_hierarchical.losses.fast_path import FastPath, sample_classes

C, D, B = 40, 6, 10


@settings(max_examples=60)
@given(
    st.lists(st.integers(0, 29), min_size=1, max_size=40),
    st.floats(0.01, 1),
    st.integers(0, 10**6),
)
def test_all_classes_of_the_batch_and_no_more_than_asked_for(labels, share, seed):
    labels = torch.tensor(labels)
    classes, positions = sample_classes(labels, 30, share, seed)
    assert torch.equal(classes[positions], labels)
    assert torch.equal(classes, classes.unique())
    assert len(classes) == max(math.ceil(30 * share), min(30, len(labels)))
    again = sample_classes(labels, 30, share, seed)
    assert torch.equal(classes, again[0])


def losses_and_call(kind, share, step, sizes=(C, 5), **changes):
    levels, embeddings, labels = make(kind, sizes, B, D, **changes)
    weights = (1.0, 0.3)[: len(sizes)]

    def call():
        return FastPath(class_share=share, seed=4)(
            levels, stored(levels), embeddings, labels, weights, torch.tensor(step),
            plain_sum(levels, labels),
        )  # fmt: skip

    return levels, embeddings, labels, call


@pytest.mark.parametrize("sizes", [(C, 5), (40000, 5)], ids=["small", "blocks"])
@pytest.mark.parametrize("kind", KINDS)
def test_the_loss_of_the_classes_drawn(kind, sizes):
    """PML's own loss with their proxies alone; the coarse level has all its classes."""
    levels, embeddings, labels, call = losses_and_call(kind, 0.4, 7, sizes)
    total, losses = call()
    classes, positions = sample_classes(labels[0], sizes[0], 0.4, seed=4 + 7)
    assert len(classes) == 0.4 * sizes[0]
    theirs = CLASSES[kind](len(classes), D).double()
    name = "W" if hasattr(theirs, "W") else "proxies"
    dim = 1 if name == "W" else 0
    fine = getattr(levels[0], name)
    getattr(theirs, name).data = fine.detach().index_select(dim, classes)
    expected = [theirs(embeddings, positions), levels[1](embeddings, labels[1])]
    torch.testing.assert_close(losses, torch.stack(expected).detach())
    (expected[0] + 0.3 * expected[1]).backward()
    gradients = torch.autograd.grad(total, [embeddings, fine])
    torch.testing.assert_close(gradients[0], embeddings.grad)
    found = gradients[1].index_select(dim, classes)
    torch.testing.assert_close(found, getattr(theirs, name).grad)
    is_other = torch.ones(sizes[0], dtype=torch.bool).index_fill_(0, classes, False)
    assert not gradients[1].index_select(dim, is_other.nonzero().squeeze(1)).any()


@pytest.mark.parametrize("kind", KINDS)
def test_a_share_of_one_and_evaluation_are_the_loss_itself(kind):
    expected = losses_and_call(kind, 1.0, 0)[-1]()[0]
    levels, *_, call = losses_and_call(kind, 0.2, 0)
    assert not torch.equal(call()[0], expected)
    with torch.no_grad():
        assert torch.equal(call()[0], expected)
    levels[0].eval()
    assert torch.equal(call()[0], expected)


def test_every_step_draws_others():
    values = [losses_and_call("cosface", 0.3, step)[-1]()[0].item() for step in range(4)]
    assert len(set(values)) == 4


def test_gradients_of_gradients_are_an_error():
    _, embeddings, _, call = losses_and_call("cosface", 0.3, 0)
    with pytest.raises(RuntimeError, match="class_share is below 1"):
        torch.autograd.grad(call()[0], embeddings, create_graph=True)
