"""The processes of the tests of DistributedDataParallel: ``ddp_worker.py OUT``."""

from __future__ import annotations

import itertools

import torch
import torch.distributed as dist
from bases import BASES
from forked import run_in_processes
from pytorch_metric_learning.reducers import DoNothingReducer
from pytorch_metric_learning.utils.distributed import DistributedLossWrapper
from torch.nn.parallel import DistributedDataParallel

from pml_hierarchical.losses import HierarchicalProxyLoss

C, D, BATCH, STEPS = 16, 8, 24, 9
#: learned coarse proxies start as equal sub-centers there, among which rounding chooses the nearest
FIXED = {"SubCenterArcFaceLoss": {"coarse_proxies": "fixed"}}


def make(name, **kwargs):
    torch.manual_seed(3)
    base = BASES[name]
    trunk = torch.nn.Linear(5, D)
    settings = {"num_superclasses": (6, 2), "warmup": 2, "recluster_every": 3, **base.kwargs}
    settings |= {**FIXED.get(name, {}), **kwargs}
    loss_func = HierarchicalProxyLoss(C, D, base_loss=base.loss_class, **settings)
    return trunk, loss_func


def batches():
    generator = torch.Generator().manual_seed(7)
    for _ in range(STEPS):
        labels = torch.randint(C, (BATCH,), generator=generator)
        yield torch.randn(BATCH, 5, generator=generator), labels


def train(trunk, loss_func, rank=0, world_size=1, after_step=lambda: None):
    """SGD, so that a gradient of another size is another result."""
    parameters = [*trunk.parameters(), *loss_func.parameters()]
    optimizer = torch.optim.SGD(parameters, lr=0.02, momentum=0.9)
    for inputs, labels in batches():
        part = slice(rank * BATCH // world_size, (rank + 1) * BATCH // world_size)
        optimizer.zero_grad()
        loss_func(trunk(inputs[part]), labels[part]).backward()
        optimizer.step()
        after_step()


def train_distributed(name, rank, world_size, **kwargs):
    trunk, loss_func = make(name, **kwargs)
    # DistributedLossWrapper multiplies by the number of processes, for the average that DDP takes
    # of the trunk's gradients; but the proxies see the whole batch in every process.
    for parameter in loss_func.parameters():
        parameter.register_hook(lambda gradient: gradient / world_size)
    equal = []

    def compare():
        found = [torch.empty_like(loss_func.class_labels) for _ in range(world_size)]
        dist.all_gather(found, loss_func.class_labels)
        equal.append(all(torch.equal(other, found[0]) for other in found))

    wrapped = DistributedDataParallel(DistributedLossWrapper(loss_func))
    train(DistributedDataParallel(trunk), wrapped, rank, world_size, compare)
    return {
        "equal": equal,
        "trunk": trunk.state_dict(),
        "loss": loss_func.state_dict(),
        "num_updates": loss_func.num_updates,
    }


def train_on_elements():
    """Every level's elements, during and after the warm-up of two steps; the numbers of levels."""
    _, loss_func = make("NormalizedSoftmaxLoss", reducer=DoNothingReducer())
    wrapped, found = DistributedDataParallel(loss_func), []
    for _, labels in itertools.islice(batches(), 4):
        elements = wrapped(torch.randn(BATCH, D), labels)
        sum(info["losses"].mean() for info in elements.values()).backward()
        found.append(len(elements))
    return found


def run(folder, rank, world_size):
    """Everything, in one process of several."""
    results = {name: train_distributed(name, rank, world_size) for name in BASES}
    results["fixed"] = train_distributed(
        "ProxyAnchorLoss", rank, world_size, coarse_proxies="fixed"
    )
    results["one level"] = train_distributed(
        "ProxyAnchorLoss", rank, world_size, num_superclasses=()
    )
    results["of elements"] = train_on_elements()
    _, apart = make("ProxyAnchorLoss")
    with torch.no_grad():
        apart.proxies += rank
    try:
        apart.recluster()
    except RuntimeError as error:
        results["apart"] = str(error)
    return results


if __name__ == "__main__":
    run_in_processes(run)
