"""One run: a loss trained by PML's trainer, selected on validation, evaluated on unseen classes."""

from __future__ import annotations

import json
import random
import shutil
import time
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
from pytorch_metric_learning.samplers import MPerClassSampler
from pytorch_metric_learning.trainers import MetricLossOnly
from pytorch_metric_learning.utils import logging_presets
from pytorch_metric_learning.utils.inference import FaissKNN
from torch.utils.data import Dataset

from pml_hierarchical import Hierarchy
from pml_hierarchical.accuracy import HierarchicalAccuracyCalculator
from pml_hierarchical.testers import HierarchicalTester

from .datasets.base import RetrievalData, Split
from .models import build_models
from .progress import SuiteProgress
from .run_config import CONFIG_FILE, RunConfig, environment, write_result

METRICS = ("precision_at_1", "r_precision", "mean_average_precision_at_r")
NUM_NEIGHBOURS = 5
PROXY_GRADIENT_LIMIT = 10.0  # as Proxy-Anchor's authors clip; the others never reach it


class Images(Dataset):
    """Rows of a data set with their labels, for PML's trainers and testers."""

    def __init__(self, inputs: torch.Tensor, labels: np.ndarray) -> None:
        self.inputs = inputs
        self.labels = torch.as_tensor(labels)

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int) -> tuple[torch.Tensor, torch.Tensor]:
        return self.inputs[index], self.labels[index]


def seed_everything(seed: int) -> None:
    """Seed the random numbers of Python, NumPy (PML's samplers) and PyTorch."""
    random.seed(seed)
    np.random.seed(seed)  # noqa: NPY002  PML draws from NumPy's global generator
    torch.manual_seed(seed)


def training_tree(labels: np.ndarray) -> tuple[np.ndarray, Hierarchy]:
    """Number the classes that occur without gaps; return the fine labels and the tree."""
    columns = [np.unique(column, return_inverse=True)[1].reshape(-1) for column in labels.T]
    # A level that says nothing more than the one below it (every superclass holds one training
    # class, or all hold the same) cannot be a level of its own.
    kept = [columns[0]]
    for column in columns[1:]:
        if 1 < column.max() + 1 < kept[-1].max() + 1:
            kept.append(column)
    return columns[0], Hierarchy.from_labels(np.stack(kept, axis=1))


S = TypeVar("S", bound="Session")


def train_session(
    session_class: type[S],
    config: RunConfig,
    data: RetrievalData,
    out: Path,
    device: torch.device,
    progress: SuiteProgress,
) -> tuple[S, float]:
    """Train one run in a folder of its own, which holds its settings from the start.

    Whatever an interrupted run left in the folder is removed first.

    Returns:
        The session, and how many seconds training and validation took.
    """
    folder = config.folder(out)
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    (folder / CONFIG_FILE).write_text(json.dumps(config.to_dict(), indent=2))
    seed_everything(config.seed)
    start = time.perf_counter()
    session = session_class(config, data, data.split(config.fold), folder, device, progress)
    session.trainer.train(num_epochs=config.settings.epochs)
    return session, time.perf_counter() - start


def train(
    config: RunConfig,
    data: RetrievalData,
    out: Path,
    device: torch.device,
    progress: SuiteProgress,
) -> dict[str, Any]:
    """Train and evaluate one run in a folder of its own, and write its result there.

    Returns:
        The result: what :func:`~benchmarks.run_config.read_result` reads from the folder.
    """
    session, seconds = train_session(Session, config, data, out, device, progress)
    progress.describe(config.name, "testing")
    result = {
        "config": config.to_dict(),
        "environment": environment(device),
        "seconds": seconds,
        "num_images": {
            part: len(indices)
            for part, indices in vars(session.split).items()
            if indices is not None
        },
        "num_left_out": len(data.left_out),
        **session.test(),
    }
    write_result(session.folder, result)
    return result


def evaluate_untrained(data: RetrievalData, fold: int) -> dict[str, float]:
    """The metrics of the embedding that needs no training, on the test classes."""
    split = data.split(fold)

    def rows(part: np.ndarray) -> tuple[torch.Tensor, torch.Tensor]:
        embeddings = torch.nn.functional.normalize(torch.from_numpy(data.untrained[part]))
        return embeddings, torch.from_numpy(data.labels[part])

    searched = (None, None) if split.gallery is None else rows(split.gallery)
    calculator = _calculator(torch.device("cpu"))
    accuracies: dict[str, float] = calculator.get_accuracy(*rows(split.test), *searched)
    return accuracies


def _calculator(device: torch.device) -> HierarchicalAccuracyCalculator:
    return HierarchicalAccuracyCalculator(include=METRICS, device=device, progress_bar=False)


class Session:
    """The objects of PML that one run puts together."""

    def __init__(
        self,
        config: RunConfig,
        data: RetrievalData,
        split: Split,
        folder: Path,
        device: torch.device,
        progress: SuiteProgress,
    ) -> None:
        settings = config.settings
        self.config, self.data, self.split = config, data, split
        self.folder, self.device, self.progress = folder, device, progress
        self.record_keeper, _, self.tensorboard = logging_presets.get_record_keeper(
            str(folder / "records"), str(folder / "tensorboard")
        )
        self.hooks = logging_presets.get_hook_container(
            self.record_keeper, primary_metric="mean_average_precision_at_r", log_freq=10
        )
        self.tester = HierarchicalTester(
            batch_size=512,
            dataloader_num_workers=0,
            data_device=device,
            label_hierarchy_level="all",
            primary_level=0,
            progress_bar=False,
            accuracy_calculator=_calculator(device),
            end_of_testing_hook=self.hooks.end_of_testing_hook,
        )
        labels, tree = training_tree(data.labels[split.train])
        loss = config.loss.build(tree.num_classes, settings.embedding_size, tree, config.seed)
        models = build_models(data.inputs[split.train], settings.embedding_size)
        modules = {**models, "metric_loss": loss}
        optimizers = {
            f"{name}_optimizer": torch.optim.AdamW(
                module.to(device).parameters(),
                lr=config.loss.proxy_learning_rate if module is loss else settings.learning_rate,
                weight_decay=0.0 if module is loss else settings.weight_decay,
            )
            for name, module in modules.items()
            if any(True for _ in module.parameters())
        }
        iterations = settings.epochs * settings.iterations_per_epoch
        self.trainer = MetricLossOnly(
            models=models,
            optimizers=optimizers,
            batch_size=settings.batch_size,
            loss_funcs={"metric_loss": loss},
            dataset=Images(data.inputs[split.train], labels),
            mining_funcs={"tuple_miner": config.loss.miner()} if config.loss.miner else {},
            iterations_per_epoch=settings.iterations_per_epoch,
            data_device=device,
            sampler=MPerClassSampler(
                labels,
                settings.samples_per_class,
                settings.batch_size,
                settings.batch_size * settings.iterations_per_epoch,
            ),
            lr_schedulers={
                name.replace("_optimizer", "_scheduler_by_iteration"): (
                    torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, iterations)
                )
                for name, optimizer in optimizers.items()
            },
            gradient_clippers=(
                {"metric_loss_grad_clipper": partial(_clip, loss)}
                if "metric_loss_optimizer" in optimizers
                else {}
            ),
            dataloader_num_workers=0,
            end_of_iteration_hook=self._end_of_iteration,
            end_of_epoch_hook=self._end_of_epoch,
        )
        self._validate = self.hooks.end_of_epoch_hook(
            self.tester, self._images("val"), str(folder / "models")
        )

    def _images(self, part: str) -> dict[str, Images]:
        indices = getattr(self.split, part)
        return {part: Images(self.data.inputs[indices], self.data.labels[indices])}

    def _end_of_iteration(self, trainer: Any) -> None:
        if trainer.iteration == 0:
            epoch = f"epoch {trainer.epoch}/{self.config.settings.epochs}"
            self.progress.describe(self.config.name, epoch)
        self.hooks.end_of_iteration_hook(trainer)
        self.progress.advance()

    def _end_of_epoch(self, trainer: Any) -> Any:
        self.progress.describe(self.config.name, "validating")
        return self._validate(trainer)

    def test(self) -> dict[str, Any]:
        """Evaluate the best epoch on the test classes; keep some retrievals for the report."""
        models = self.trainer.models
        best = self.hooks.load_latest_saved_models(
            self.trainer, str(self.folder / "models"), self.device, best=True
        )
        searched = "test" if self.split.gallery is None else "gallery"
        images = {**self._images("test"), **self._images(searched)}
        accuracies = self.tester.test(
            images, best - 1, models["trunk"], models["embedder"], [("test", [searched])]
        )
        self.record_keeper.save_records()
        self.tensorboard.close()
        embeddings, references = (
            self.tester.get_all_embeddings(images[part], models["trunk"], models["embedder"])[0]
            for part in ("test", searched)
        )
        _, neighbours = FaissKNN()(embeddings, NUM_NEIGHBOURS, references, searched == "test")
        np.savez(
            self.folder / "retrievals.npz",
            queries=self.split.test,
            neighbours=getattr(self.split, searched)[neighbours.cpu().numpy()],
        )
        history = self.hooks.get_accuracy_history(self.tester, "val", return_all_metrics=True)
        return {
            "best_epoch": best - 1,
            "test": {k: v for k, v in accuracies["test"].items() if k != "epoch"},
            "validation": {k: v for k, v in history.items() if not k.startswith("best")},
            "training_loss": self.hooks.get_loss_history(),
        }


def _clip(loss: torch.nn.Module) -> None:
    torch.nn.utils.clip_grad_value_(loss.parameters(), PROXY_GRADIENT_LIMIT)
