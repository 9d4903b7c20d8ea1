"""P2SGrad, which takes unit vectors alone, with superclasses whose classes point apart."""

import pytest
import torch

from pml_hierarchical import Hierarchy, losses
from pml_hierarchical.losses import HierarchicalProxyLoss

TREE = Hierarchy.from_parents([[0, 0, 1, 1]])


@pytest.mark.parametrize("coarse_proxies", ["fixed", "live", "learned"])
@pytest.mark.parametrize("distance", [1e-3, 1e-6, 1e-9, 0])
def test_the_coarse_proxy_is_the_direction_of_the_mean(distance, coarse_proxies):
    """The loss is that of the paper, a mean squared error of cosines."""
    torch.manual_seed(0)
    loss_func = HierarchicalProxyLoss(
        4, 3, losses.P2SGradLoss, TREE, warmup=0, coarse_proxies=coarse_proxies
    ).double()
    weight = loss_func.level_loss(0).weight.data
    weight[:, 0] = torch.tensor([1.0, 0, 0])
    weight[:, 1] = torch.tensor([-1.0, distance, 0])
    weight.div_(weight.norm(dim=0))
    embeddings = torch.randn(8, 3, dtype=torch.float64, requires_grad=True)
    labels = torch.arange(8) % 4
    loss = loss_func(embeddings, labels)
    loss.backward()
    assert embeddings.grad.isfinite().all()
    assert all(p.grad.isfinite().all() for p in loss_func.parameters())
    if distance == 0:  # of no direction: any will do
        assert loss.isfinite()
        return
    unit = weight.double()
    directions = torch.stack([unit[:, :2].sum(1), unit[:, 2:].sum(1)], dim=1)
    directions = directions / directions.norm(dim=0)
    cosines = embeddings.detach() @ directions / embeddings.detach().norm(dim=1, keepdim=True)
    expected = (cosines - torch.eye(2, dtype=torch.float64)[labels // 2]).square().mean()
    torch.testing.assert_close(loss_func.loss_level1, expected, rtol=1e-4, atol=1e-5)
