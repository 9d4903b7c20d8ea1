"""How much the kernels hold at once."""

from itertools import pairwise

import pytest
import torch
from pml_levels import KINDS, SOFTMAX, kernels, make, stored
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from pml_hierarchical.kernels.columns import Columns

C, D, B = 9000, 4, 128


class LargestTensor(TorchDispatchMode):
    """Bytes of the largest memory that an operation gave out."""

    nbytes = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        found = func(*args, **(kwargs or {}))
        for one in tree_leaves(found):
            if isinstance(one, torch.Tensor):
                self.nbytes = max(self.nbytes, one.untyped_storage().nbytes())
        return found


def step(kind, **changes):
    levels, embeddings, labels = make(kind, (C, 5), B, D, torch.float32)
    with LargestTensor() as largest:
        loss, _ = kernels(levels, embeddings, labels, **changes)
        loss.backward()
    return loss, embeddings.grad, stored(levels)[0].grad, largest.nbytes


@pytest.mark.parametrize("kind", KINDS)
def test_same_loss_in_less_memory(kind):
    *saved, bytes_saved = step(kind, save_memory=True)
    *kept, bytes_kept = step(kind)
    for one, other in zip(saved, kept, strict=True):
        torch.testing.assert_close(one, other)
    matrix = 4 * B * C
    assert bytes_saved < matrix / 4  # a block, or the gradient of the proxies
    assert (bytes_kept >= matrix) == (kind in SOFTMAX)


@pytest.mark.parametrize("kind", KINDS)
def test_a_block_is_as_wide_as_asked_for(kind):
    *_, found = step(kind, save_memory=True, block_size=300)
    assert 4 * B * 250 < found < 4 * B * 310


def test_default_width_fits_the_cache():
    wide = Columns([torch.zeros(9000, 4)], torch.zeros(1, 128, dtype=torch.long))
    assert [block.stop - block.start for block in wide.blocks] == [1800] * 5  # at most 2048
    edges = [(block.start, block.stop) for block in wide.blocks]
    assert edges[0][0] == 0
    assert edges[-1][1] == 9000
    assert all(before[1] == after[0] for before, after in pairwise(edges))
