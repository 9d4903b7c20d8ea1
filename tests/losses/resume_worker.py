"""The training runs of ``test_resume.py``: each runs in a process that the test may kill."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import torch
from pytorch_metric_learning import trainers
from pytorch_metric_learning.utils import logging_presets
from pytorch_metric_learning.utils.common_functions import EmbeddingDataset

from pml_hierarchical.accuracy import HierarchicalAccuracyCalculator
from pml_hierarchical.hooks import ReclusterHook
from pml_hierarchical.losses import HierarchicalProxyLoss
from pml_hierarchical.testers import HierarchicalTester

C, D, INPUTS, SAMPLES, BATCH = 12, 6, 8, 48, 8
EPOCHS, ITERATIONS = 4, SAMPLES // BATCH
# The tree is built after 8 iterations, anew after 13, after 18 (with a checkpoint, the end of the
# third epoch) and after 23.
WARMUP, EVERY = 8, 5

Report = Callable[[int, str], None]


def decay(step: int) -> float:
    return 0.5 / (1 + step)


#: name of a training to the settings of its loss
LOSSES: dict[str, dict[str, Any]] = {
    "trainer": {"num_superclasses": 3, "recluster_every": EVERY},
    "trainer with ReclusterHook": {"num_superclasses": 3, "recluster_every": None},
    "loop": {"num_superclasses": (5, 2), "recluster_every": EVERY, "level_weights": decay},
    "loop with fixed coarse proxies": {
        "num_superclasses": 3, "recluster_every": EVERY, "coarse_proxies": "fixed",
    },
}  # fmt: skip


def make_data() -> EmbeddingDataset:
    generator = torch.Generator().manual_seed(0)
    labels = torch.arange(SAMPLES) % C
    return EmbeddingDataset(torch.randn(SAMPLES, INPUTS, generator=generator), labels)


def make(name: str) -> tuple[torch.nn.Module, HierarchicalProxyLoss, dict[str, Any]]:
    torch.manual_seed(0)
    trunk = torch.nn.Sequential(torch.nn.Linear(INPUTS, D), torch.nn.BatchNorm1d(D))
    loss_func = HierarchicalProxyLoss(C, D, warmup=WARMUP, **LOSSES[name])
    optimizers = {
        "trunk_optimizer": torch.optim.Adam(trunk.parameters(), lr=0.02),
        "metric_loss_optimizer": torch.optim.Adam(loss_func.parameters(), lr=0.05),
    }
    return trunk, loss_func, optimizers


class EpochSampler(torch.utils.data.Sampler):
    """A permutation that depends on the number of the epoch alone."""

    def __init__(self) -> None:
        self.epoch = 1

    def __iter__(self) -> Iterator[int]:
        generator = torch.Generator().manual_seed(self.epoch)
        self.epoch += 1
        return iter(torch.randperm(SAMPLES, generator=generator).tolist())

    def __len__(self) -> int:
        return SAMPLES


# ---------------------------------------------------------------- the two runs
def train_with_pml(name: str, folder: Path, report: Report) -> dict[str, Any]:
    """PML's trainer; everything is saved and loaded by its ``HookContainer``."""
    trunk, loss_func, optimizers = make(name)
    dataset, sampler = make_data(), EpochSampler()
    record_keeper, _, _ = logging_presets.get_record_keeper(str(folder / "records"))
    hooks = logging_presets.get_hook_container(record_keeper)
    tester = HierarchicalTester(
        accuracy_calculator=HierarchicalAccuracyCalculator(
            include=("mean_average_precision_at_r",)
        ),
        end_of_testing_hook=hooks.end_of_testing_hook,
        dataloader_num_workers=0,
        progress_bar=False,
    )
    by_hook = LOSSES[name]["recluster_every"] is None
    scheduler = torch.optim.lr_scheduler.StepLR(optimizers["metric_loss_optimizer"], 7, gamma=0.5)
    trainer = trainers.MetricLossOnly(
        models={"trunk": trunk},
        optimizers=optimizers,
        batch_size=BATCH,
        loss_funcs={"metric_loss": loss_func},
        lr_schedulers={"metric_loss_scheduler_by_iteration": scheduler},
        dataset=dataset,
        sampler=sampler,
        iterations_per_epoch=ITERATIONS,
        dataloader_num_workers=0,
        data_device=torch.device("cpu"),
        end_of_iteration_hook=ReclusterHook(EVERY) if by_hook else None,
        end_of_epoch_hook=hooks.end_of_epoch_hook(tester, {"val": dataset}, str(folder / "models")),
    )
    optimizers["trunk_optimizer"].register_step_pre_hook(
        lambda *_: report(trainer.get_global_iteration() + 1, "step")
    )
    start_epoch = hooks.load_latest_saved_models(
        trainer, str(folder / "models"), device=torch.device("cpu")
    )
    sampler.epoch = start_epoch  # the sampler is not among what PML saves
    trainer.train(start_epoch, EPOCHS)
    return _state(start_epoch, trunk, loss_func, *optimizers.values(), scheduler)


def train_in_a_loop(name: str, folder: Path, report: Report) -> dict[str, Any]:
    """A loop by hand, with a checkpoint at the end of every epoch that is replaced at once."""
    trunk, loss_func, optimizers = make(name)
    parts = {"trunk": trunk, "loss": loss_func, **optimizers}
    dataset, sampler = make_data(), EpochSampler()
    checkpoint = folder / "checkpoint.pt"
    start_epoch = 1
    if checkpoint.exists():
        saved = torch.load(checkpoint)
        start_epoch = saved.pop("epoch") + 1
        for key, state in saved.items():
            parts[key].load_state_dict(state)
    sampler.epoch = start_epoch
    for epoch in range(start_epoch, EPOCHS + 1):
        loader = torch.utils.data.DataLoader(dataset, BATCH, sampler=sampler)
        for iteration, (inputs, labels) in enumerate(loader, 1 + (epoch - 1) * ITERATIONS):
            for optimizer in optimizers.values():
                optimizer.zero_grad()
            loss_func(trunk(inputs), labels).backward()
            report(iteration, "step")
            for optimizer in optimizers.values():
                optimizer.step()
        temporary = checkpoint.with_suffix(".tmp")
        states = {key: part.state_dict() for key, part in parts.items()}
        torch.save({"epoch": epoch, **states}, temporary)
        report(epoch * ITERATIONS, "save")
        os.replace(temporary, checkpoint)
    return _state(start_epoch, *parts.values())


# ---------------------------------------------------------------- reports to the test
def _state(start_epoch: int, *parts: Any) -> dict[str, Any]:
    """Where a training started, and every number it ends with, bit by bit."""
    return {"start_epoch": start_epoch, **_flat([part.state_dict() for part in parts], "")}


def _flat(value: Any, path: str) -> dict[str, Any]:
    if isinstance(value, torch.Tensor):
        return {path: (str(value.dtype), tuple(value.shape), value.numpy(force=True).tobytes())}
    if isinstance(value, dict | list | tuple):
        items = value.items() if isinstance(value, dict) else enumerate(value)
        return {k: v for key, item in items for k, v in _flat(item, f"{path}/{key}").items()}
    return {path: value}


def run(name: str, folder: str, kill_at: tuple[int, str] | None, connection: Connection) -> None:
    """Train; at ``kill_at``, an iteration and a place in it, tell the test and wait for the end."""
    torch.set_num_threads(1)

    def report(iteration: int, place: str) -> None:
        if (iteration, place) == kill_at:
            connection.send((iteration, place))
            connection.recv()  # nothing is ever sent

    train = train_with_pml if name.startswith("trainer") else train_in_a_loop
    connection.send(train(name, Path(folder), report))
