"""``save_memory``: the same loss without anything of the size of batch x classes."""

import pytest
import torch
from bases import BASES
from pytorch_metric_learning import reducers
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from pml_hierarchical.losses import HierarchicalProxyLoss

C, D, B = 9000, 4, 128
FAST = ("ProxyAnchorLoss", "ProxyNCALoss", "NormalizedSoftmaxLoss", "ArcFaceLoss", "CosFaceLoss")


class LargestTensor(TorchDispatchMode):
    """Bytes of the largest memory that an operation gave out."""

    nbytes = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        found = func(*args, **(kwargs or {}))
        for one in tree_leaves(found):
            if isinstance(one, torch.Tensor):
                self.nbytes = max(self.nbytes, one.untyped_storage().nbytes())
        return found


def step(name, **kwargs):
    torch.manual_seed(1)
    loss_func = HierarchicalProxyLoss(
        C, D, BASES[name].loss_class, num_superclasses=5, recluster_every=None, **kwargs
    )
    loss_func.schedule.count_update()  # the coarse levels take part, wherever their proxies are
    loss_func.class_labels = torch.arange(C).unsqueeze(1) % torch.tensor([C, 5])
    embeddings, labels = torch.randn(B, D, requires_grad=True), torch.randint(C, (B,))
    with LargestTensor() as largest:
        loss = loss_func(embeddings, labels)
        loss.backward()
    return loss, embeddings.grad, next(loss_func.parameters()).grad, largest.nbytes


@pytest.mark.parametrize("name", FAST)
def test_same_loss_in_less_memory(name):
    *saved, bytes_saved = step(name, save_memory=True)
    *kept, bytes_kept = step(name)
    for one, other in zip(saved, kept, strict=True):
        torch.testing.assert_close(one, other)
    matrix = 4 * B * C
    assert bytes_saved < matrix / 4  # a block, or the gradient of the proxies
    assert name == "ProxyAnchorLoss" or bytes_kept >= matrix


@pytest.mark.parametrize(
    ("kwargs", "error", "message"),
    [
        ({"save_memory": 1}, TypeError, "save_memory must be True or False, got 1"),
        ({"save_memory": True, "num_superclasses": ()}, ValueError, "two or more levels"),
        ({"save_memory": True, "fast_path": False}, ValueError, "needs the fast path"),
    ],
)
def test_where_it_would_do_nothing(kwargs, error, message):
    with pytest.raises(error, match=message):
        HierarchicalProxyLoss(10, 4, **kwargs)


def test_no_silent_use_of_memory():
    loss_func = HierarchicalProxyLoss(10, 4, reducer=reducers.SumReducer(), save_memory=True)
    batch = torch.randn(6, 4), torch.arange(6)
    with pytest.raises(ValueError, match=r"save_memory=True need the fast path"):
        loss_func(*batch)
    assert loss_func.eval()(*batch).isfinite()
