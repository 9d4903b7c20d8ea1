import pytest
import torch
from pytorch_metric_learning import trainers
from pytorch_metric_learning.utils import common_functions as c_f

from pml_hierarchical import losses
from pml_hierarchical.hooks import ReclusterHook

C, D = 10, 4


def make_trainer(loss_func, hook, iterations=7):
    torch.manual_seed(0)
    dataset = c_f.EmbeddingDataset(torch.randn(80, D), torch.arange(80) % C)
    trunk = torch.nn.Linear(D, D)
    return trainers.MetricLossOnly(
        models={"trunk": trunk},
        optimizers={
            "trunk_optimizer": torch.optim.SGD(trunk.parameters(), lr=0.1),
            "metric_loss_optimizer": torch.optim.SGD(loss_func.parameters(), lr=0.1),
        },
        batch_size=8,
        loss_funcs={"metric_loss": loss_func},
        dataset=dataset,
        iterations_per_epoch=iterations,
        dataloader_num_workers=0,
        end_of_iteration_hook=hook,
    )


def test_updates_after_the_warm_up_and_every_so_many_iterations():
    loss_func = losses.HierarchicalProxyLoss(C, D, warmup=2, recluster_every=None)
    updates = []
    hook = ReclusterHook(3, lambda trainer: updates.append(loss_func.num_updates))
    make_trainer(loss_func, hook).train(num_epochs=2)
    assert updates == [0, 1, 1, 1, 2, 2, 2, 3, 3, 3, 4, 4, 4, 5]


def test_equals_the_schedule_of_the_loss_itself():
    def train(loss_func, hook):
        make_trainer(loss_func, hook).train(num_epochs=2)
        return loss_func.proxies

    torch.manual_seed(1)
    by_hook = losses.HierarchicalProxyLoss(C, D, warmup=2, recluster_every=None)
    torch.manual_seed(1)
    by_itself = losses.HierarchicalProxyLoss(C, D, warmup=2, recluster_every=3)
    assert torch.equal(train(by_hook, ReclusterHook(3)), train(by_itself, None))


def test_finds_the_loss_inside_wrappers():
    loss_func = losses.HierarchicalProxyLoss(C, D, warmup=0, recluster_every=None)
    both = losses.MultipleLosses([loss_func, losses.ContrastiveLoss()])
    loss_func.recluster()
    make_trainer(both, ReclusterHook(1), iterations=2).train()
    assert loss_func.num_updates == 3


def test_what_cannot_work_is_said():
    with pytest.raises(ValueError, match="at least 1 iteration, got 0"):
        ReclusterHook(0)
    with pytest.raises(ValueError, match=r"needs a HierarchicalProxyLoss.*ProxyAnchorLoss"):
        make_trainer(losses.ProxyAnchorLoss(C, D), ReclusterHook(5)).train()
    own_schedule = losses.HierarchicalProxyLoss(C, D, recluster_every=5, warmup=0)
    with pytest.raises(ValueError, match="recluster_every=None"):
        make_trainer(own_schedule, ReclusterHook(5)).train()
