"""A training step on a GPU never waits for it: no value of a tensor comes back to Python."""

import pytest
import torch
from pml_levels import KINDS, kernels, make, plain_sum, stored
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from pml_hierarchical.kernels import autograd
from pml_hierarchical.losses.fast_path import FastPath

WAITING = {
    "_local_scalar_dense", "nonzero", "equal", "is_nonzero", "masked_select", "unique", "_unique2",
    "unique_dim", "unique_consecutive", "bincount", "item",
}  # fmt: skip


class NoWaiting(TorchDispatchMode):
    """Fails where a GPU would have to be waited for."""

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        name = func.overloadpacket.__name__
        dtypes = [getattr(one, "dtype", None) for one in tree_leaves(args[1:])]
        waits = name in WAITING or (name.startswith("index") and torch.bool in dtypes)
        assert not waits, f"{name} waits for the device"
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize(
    "wait",
    [
        lambda one: one.sum().item(),
        lambda one: one[one > 1],
        lambda one: bool(one[0]),
        lambda one: one.nonzero(),
        lambda one: torch.nn.functional.one_hot(one.long()),
    ],
)
def test_the_check_finds_what_waits(wait):
    tensor = torch.arange(3.0)
    with NoWaiting(), pytest.raises(AssertionError, match="waits for the device"):
        wait(tensor)


@pytest.mark.parametrize("save_memory", [False, True])
@pytest.mark.parametrize("block_size", [0, 6])
@pytest.mark.parametrize("kind", KINDS)
def test_no_value_is_read(kind, block_size, save_memory, monkeypatch):
    levels, embeddings, labels = make(kind, (40, 7, 2), dtype=torch.float32)
    # on the CPU, where it costs nothing, the factor of the gradient is read
    monkeypatch.setattr(autograd, "_is_one", lambda factor: False)
    with NoWaiting():
        total, _ = kernels(
            levels, embeddings, labels, block_size=block_size, save_memory=save_memory
        )
        total.backward()
    assert embeddings.grad.isfinite().all()


@pytest.mark.parametrize("class_share", [1.0, 0.5])
@pytest.mark.parametrize("kind", KINDS)
def test_no_value_is_read_by_the_fast_path(kind, class_share, monkeypatch):
    levels, embeddings, labels = make(kind, (40, 7), dtype=torch.float32)
    monkeypatch.setattr(autograd, "_is_one", lambda factor: False)
    with NoWaiting():
        found = FastPath(class_share=class_share)(
            levels, stored(levels), embeddings, labels, (1.0, 0.3), torch.tensor(3),
            plain_sum(levels, labels),
        )  # fmt: skip
        found[0].backward()
    assert embeddings.grad.isfinite().all()


@pytest.mark.parametrize("block_size", [0, 6])
@pytest.mark.parametrize("kind", KINDS)
def test_a_device_without_values(kind, block_size):
    """Tensors on the meta device have none: reading one is an error."""
    levels, embeddings, labels = make(kind, (40, 7, 2), dtype=torch.float32)
    levels = [level.to("meta") for level in levels]
    embeddings = embeddings.detach().to("meta").requires_grad_()
    total, losses = kernels(levels, embeddings, labels.to("meta"), block_size=block_size)
    total.backward()
    assert losses.shape == (3,)
    for leaf in (embeddings, *stored(levels)):
        assert leaf.grad.shape == leaf.shape
