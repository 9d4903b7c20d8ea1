"""Train with a hierarchical proxy loss on several processes.

torchrun --nproc-per-node 2 examples/train_distributed.py

It runs on GPUs, one per process, if there are enough, otherwise on the CPU. The result is that of a
single process with the same batches, except for rounding.
"""

from __future__ import annotations

import os

import torch
import torch.distributed as dist
from pytorch_metric_learning.utils.common_functions import EmbeddingDataset
from pytorch_metric_learning.utils.distributed import DistributedLossWrapper
from torch.nn.parallel import DistributedDataParallel
from torch.utils.data import DataLoader, DistributedSampler

from pml_hierarchical.accuracy import HierarchicalAccuracyCalculator
from pml_hierarchical.losses import HierarchicalProxyLoss

NUM_SUPERCLASSES, NUM_CLASSES, SAMPLES_PER_CLASS = 8, 32, 20
INPUT_SIZE, SIGNAL_SIZE, EMBEDDING_SIZE = 48, 12, 16
BATCH_SIZE, EPOCHS = 64, 8


def make_data() -> tuple[EmbeddingDataset, EmbeddingDataset]:
    """Training classes and other classes of the same superclasses to test with.

    A sample is the sum of its superclass's centre, its class's offset and noise, most of it in
    directions without signal. Its labels are its class and its superclass, the finest first.
    """
    generator = torch.Generator().manual_seed(0)
    classes = torch.arange(2 * NUM_CLASSES).repeat_interleave(SAMPLES_PER_CLASS)
    labels = torch.stack([classes % NUM_CLASSES, classes % NUM_SUPERCLASSES], dim=1)
    centres = torch.randn(NUM_SUPERCLASSES, SIGNAL_SIZE, generator=generator)
    offsets = torch.randn(2 * NUM_CLASSES, SIGNAL_SIZE, generator=generator)
    inputs = 1.5 * torch.randn(len(classes), INPUT_SIZE, generator=generator)
    inputs[:, :SIGNAL_SIZE] *= 0.4
    inputs[:, :SIGNAL_SIZE] += centres[labels[:, 1]] + offsets[classes]
    is_train = classes < NUM_CLASSES
    train_set = EmbeddingDataset(inputs[is_train], labels[is_train])
    return train_set, EmbeddingDataset(inputs[~is_train], labels[~is_train])


def make_trunk() -> torch.nn.Module:
    """A small network, in place of your own."""
    first, last = torch.nn.Linear(INPUT_SIZE, 64), torch.nn.Linear(64, EMBEDDING_SIZE)
    return torch.nn.Sequential(first, torch.nn.ReLU(), last)


@torch.no_grad()
def evaluate(trunk: torch.nn.Module, dataset: EmbeddingDataset, device: torch.device) -> str:
    """MAP@R at every level."""
    trunk.eval()
    embeddings = torch.nn.functional.normalize(trunk(dataset.embeddings.to(device)))
    trunk.train()
    calculator = HierarchicalAccuracyCalculator(include=("mean_average_precision_at_r",))
    found = calculator.get_accuracy(embeddings, dataset.labels)
    values = [found[f"mean_average_precision_at_r_level{level}"] for level in range(2)]
    return "MAP@R of classes {:.4f}, of superclasses {:.4f}".format(*values)


def main() -> None:
    """Train and print; started once per process by torchrun."""
    local_rank, world_size = int(os.environ["LOCAL_RANK"]), int(os.environ["WORLD_SIZE"])
    on_gpu = torch.cuda.device_count() >= int(os.environ["LOCAL_WORLD_SIZE"])
    device = torch.device("cuda", local_rank) if on_gpu else torch.device("cpu")
    if on_gpu:
        torch.cuda.set_device(device)
    dist.init_process_group("nccl" if on_gpu else "gloo")
    torch.manual_seed(0)

    train_set, test_set = make_data()
    sampler = DistributedSampler(train_set, seed=0)
    loader = DataLoader(train_set, BATCH_SIZE // world_size, sampler=sampler, drop_last=True)

    trunk = make_trunk().to(device)
    tree = {"num_superclasses": NUM_SUPERCLASSES, "warmup": 2, "recluster_every": len(loader)}
    loss_func = HierarchicalProxyLoss(NUM_CLASSES, EMBEDDING_SIZE, **tree).to(device)
    # Every process computes the loss of the whole batch. A process's gradient of the trunk comes
    # from its own samples, and DDP averages where it should add: DistributedLossWrapper multiplies
    # the loss by the number of processes. The proxies have the gradient of the whole batch in
    # every process already, so the factor is divided out. (It matters for SGD and for clipping.)
    for proxies in loss_func.parameters():
        proxies.register_hook(lambda gradient: gradient / world_size)
    # DDP starts all processes from the proxies of the first, which the common hierarchy needs.
    distributed_trunk = DistributedDataParallel(trunk)
    distributed_loss = DistributedDataParallel(DistributedLossWrapper(loss_func))
    groups = [
        {"params": trunk.parameters(), "lr": 0.02},
        {"params": loss_func.parameters(), "lr": 0.1},  # proxies learn faster than the trunk
    ]
    optimizer = torch.optim.SGD(groups, momentum=0.9)

    if dist.get_rank() == 0:
        print(f"epoch 0: {evaluate(trunk, test_set, device)}", flush=True)
    for epoch in range(1, EPOCHS + 1):
        sampler.set_epoch(epoch)  # without it, every epoch has the same batches
        total = 0.0
        for inputs, labels in loader:
            loss = distributed_loss(distributed_trunk(inputs.to(device)), labels[:, 0].to(device))
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            total += loss.item() / world_size  # the same in every process: of the whole batch
        if dist.get_rank() == 0:  # the others wait at their next exchange of gradients
            print(
                f"epoch {epoch}: loss {total / len(loader):.4f}, "
                f"{evaluate(trunk, test_set, device)}, moved {loss_func.share_moved:.0%}",
                flush=True,
            )
    dist.destroy_process_group()


if __name__ == "__main__":
    main()
