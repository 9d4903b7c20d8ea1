"""The objects of PML that one run puts together, and how they train."""

from __future__ import annotations

import json
import shutil
import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from pytorch_metric_learning.utils import logging_presets

from pml_hierarchical.accuracy import HierarchicalAccuracyCalculator
from pml_hierarchical.losses import HierarchicalProxyLoss
from pml_hierarchical.testers import HierarchicalTester

from ..backbones import LabelledPictures
from ..datasets.base import RetrievalData
from ..distributed import from_first
from ..files import write_whole
from ..progress import RunProgress
from ..run_config import CONFIG_FILE, RunConfig, differences
from .building import build_trainer
from .checkpoints import (
    BEST,
    LAST,
    begin_with,
    read_checkpoint,
    restore,
    unpack_folders,
    write_checkpoint,
)
from .seeding import seed_everything

METRIC_NAMES = {  # of each level
    "precision_at_1": "P@1",
    "r_precision": "RP",
    "mean_average_precision_at_r": "MAP@R",
}
# one value for all levels; the severity is a number of levels, the others are shares
HIERARCHY_NAMES = {
    "hierarchical_average_precision": "H-AP",
    "average_set_intersection": "ASI",
    "mistake_severity": "severity ↓",
}
_TESTED_AT_A_TIME, _TESTED_BY_TRUNK = 512, 64  # images; of a trunk with large feature maps
PRIMARY_METRIC = "mean_average_precision_at_r"
OBJECTIVE = f"{PRIMARY_METRIC}_level0"

# From the validation MAP@R of the epochs so far to whether training should end.
Stop = Callable[[Sequence[float]], bool]


def accuracy_calculator(device: torch.device) -> HierarchicalAccuracyCalculator:
    """What all accuracies of the benchmark are computed with."""
    return HierarchicalAccuracyCalculator(
        include=(*METRIC_NAMES, *HIERARCHY_NAMES), device=device, progress_bar=False
    )


def evaluate_untrained(data: RetrievalData, fold: int) -> dict[str, float]:
    """The metrics of the embedding that needs no training, on the test classes."""
    split = data.split(fold)

    def rows(part: np.ndarray) -> tuple[torch.Tensor, torch.Tensor]:
        embeddings = torch.nn.functional.normalize(torch.from_numpy(data.untrained[part]))
        return embeddings, torch.from_numpy(data.labels[part])

    searched = (None, None) if split.gallery is None else rows(split.gallery)
    calculator = accuracy_calculator(torch.device("cpu"))
    accuracies: dict[str, float] = calculator.get_accuracy(*rows(split.test), *searched)
    return accuracies


def best_epoch(history: Mapping[str, Sequence[Any]], first: int) -> int | None:
    """The epoch with the highest validation MAP@R, the earliest if there are several.

    Arguments:
        history: as :meth:`Session.validation_history` returns it.
        first: the first epoch that may be selected.
    """
    values = dict(zip(history["epoch"], history[OBJECTIVE], strict=True))
    return max((epoch for epoch in values if epoch >= first), key=values.__getitem__, default=None)


def selected(result: Mapping[str, Any], key: str = OBJECTIVE) -> float:
    """A validation metric of a run's selected epoch; of its last one if it ended before any.

    Arguments:
        result: with ``validation`` and ``best_epoch``.
        key: of the metric, such as ``"precision_at_1_level0"``.
    """
    history, epoch = result["validation"], result["best_epoch"]
    value = history[key][-1 if epoch is None else history["epoch"].index(epoch)]
    return float("nan") if value is None else float(value)  # what a database makes of NaN


class Session:
    """One run, from its folder to its best model.

    An interrupted run continues after the last epoch that it finished, with the same numbers
    as if it had not been.

    Attributes:
        finished_epochs: how many epochs were trained and validated.
        stopped_early: whether ``stop`` ended the training before its last epoch.
        epoch_seconds: since the start of the training until the end of each epoch's validation.
        update_seconds: what each update of a hierarchical loss's superclasses took.
        update_superclasses: after each update the superclass of each class, ``(levels above the
            finest, C)``; empty for a loss that discovers none.
        earlier: the validation of the epochs that were trained in another run.

    Arguments:
        config: what is trained.
        data: the data set.
        folder: of this run; made if it does not exist.
        device: where the network is trained.
        progress: where iterations are counted.
        stop: ends the training early.
        start: a checkpoint of the flat loss's training, with its validation, to begin from.
    """

    def __init__(
        self,
        config: RunConfig,
        data: RetrievalData,
        folder: Path,
        device: torch.device,
        progress: RunProgress,
        stop: Stop | None = None,
        start: Mapping[str, Any] | None = None,
    ) -> None:
        self._stop = stop
        self.config, self.data, self.split = config, data, data.split(config.fold)
        self.folder, self.device, self.progress = folder, device, progress
        checkpoint = from_first(self._open_folder())
        seed_everything(config.seed)
        self.record_keeper, _, self.tensorboard = logging_presets.get_record_keeper(
            str(folder / "records"), str(folder / "tensorboard")
        )
        self.hooks = logging_presets.get_hook_container(
            self.record_keeper, primary_metric=PRIMARY_METRIC, save_models=False, log_freq=10
        )
        self.tester = HierarchicalTester(
            batch_size=_TESTED_AT_A_TIME if data.build_trunk is None else _TESTED_BY_TRUNK,
            dataloader_num_workers=config.workers,
            data_device=device,
            label_hierarchy_level="all",
            primary_level=0,
            progress_bar=False,
            accuracy_calculator=accuracy_calculator(device),
            end_of_testing_hook=self.hooks.end_of_testing_hook,
        )
        self.trainer = build_trainer(
            config, data, device, self._end_of_iteration, self._end_of_epoch
        )
        self._validate = self.hooks.end_of_epoch_hook(
            self.tester,
            self.images("val"),
            str(folder / "records"),
        )
        self.finished_epochs = 0
        self.stopped_early = False
        self.epoch_seconds: list[float] = []
        self.update_seconds: list[float] = []
        self.update_superclasses: list[torch.Tensor] = []
        self.earlier: dict[str, list[Any]] = {}
        if checkpoint is not None:
            self._go_on(checkpoint)
        elif start is not None:
            self._begin_with(start)

    @property
    def loss(self) -> torch.nn.Module:
        """The loss that is trained."""
        loss: torch.nn.Module = self.trainer.loss_funcs["metric_loss"]
        return loss

    def images(self, part: str) -> dict[str, LabelledPictures]:
        """A part of the split ("train", "val", "test", "gallery"), as PML's testers take it."""
        return {part: self.data.images(getattr(self.split, part))}

    def train(self) -> None:
        """Train the epochs that are left."""
        self._since = time.perf_counter() - (self.epoch_seconds[-1] if self.epoch_seconds else 0)
        if not self.stopped_early:
            self.trainer.train(self.finished_epochs + 1, self.config.settings.epochs)

    def best_epoch(self) -> int | None:
        """The epoch with the best validation MAP@R at the finest level, of those that may be
        selected; ``None`` before the first of them.
        """
        return best_epoch(self.validation_history(), self.config.first_selectable_epoch)

    def load_best(self) -> int:
        """Take the models and the loss of the best epoch; returns its number."""
        try:
            checkpoint = read_checkpoint(self.folder / BEST)
        except OSError as error:
            raise OSError(f"{error}. Delete {self.folder} to do this run again") from error
        restore(self.trainer, checkpoint, to_go_on=False)
        return int(checkpoint["epoch"])

    def validation_history(self) -> dict[str, list[Any]]:
        """The validation metrics of every epoch."""
        history = self.hooks.get_accuracy_history(self.tester, "val", return_all_metrics=True)
        return {
            key: [*self.earlier.get(key, ()), *value]
            for key, value in history.items()
            if not key.startswith("best")
        }

    def close(self) -> None:
        """Write what is not written yet."""
        self.record_keeper.save_records()
        self.tensorboard.close()

    def _open_folder(self) -> dict[str, Any] | None:
        """An empty folder, or one with the records as they were at the checkpoint it returns."""
        checkpoint = None
        if (self.folder / LAST).exists():
            try:
                checkpoint = read_checkpoint(self.folder / LAST)
            except OSError as error:
                warnings.warn(f"{error}; {self.config.name} starts again", stacklevel=3)
        wanted = json.loads(json.dumps(self.config.to_dict()))
        if checkpoint is not None and checkpoint["config"] == wanted:
            unpack_folders(self.folder, checkpoint["folders"])
            return checkpoint
        if checkpoint is not None:
            self.start_again(differences(checkpoint["config"], wanted))
        shutil.rmtree(self.folder, ignore_errors=True)
        self.folder.mkdir(parents=True)
        write_whole(self.folder / CONFIG_FILE, json.dumps(wanted, indent=2))
        return None

    def start_again(self, different: str) -> None:
        """Say that an unfinished run in the folder is not continued.

        Arguments:
            different: which of its settings differ.
        """
        warnings.warn(
            f"{self.folder} holds an unfinished run with other settings ({different}), which is "
            f"removed; {self.config.name} starts again",
            stacklevel=4,
        )

    def _begin_with(self, checkpoint: Mapping[str, Any]) -> None:
        begin_with(self.trainer, checkpoint)
        self.finished_epochs = checkpoint["epoch"]
        self.epoch_seconds = list(checkpoint["epoch_seconds"])
        self.earlier = {key: list(values) for key, values in checkpoint["validation"].items()}

    def _go_on(self, checkpoint: dict[str, Any]) -> None:
        restore(self.trainer, checkpoint, to_go_on=True)
        self.earlier = checkpoint.get("earlier", {})
        self.finished_epochs = checkpoint["epoch"]
        self.stopped_early = checkpoint["stopped_early"]
        self.epoch_seconds = checkpoint["epoch_seconds"]
        self.update_seconds = checkpoint["update_seconds"]
        self.update_superclasses = [*checkpoint.get("update_superclasses", ())]
        # the history is looked up by this name, which otherwise the first validation sets
        self.tester.reference_split_names["val"] = ["val"]
        self.progress.advance(self.finished_epochs * self.config.settings.iterations_per_epoch)

    def _end_of_iteration(self, trainer: Any) -> None:
        if trainer.iteration == 0:
            epoch = f"epoch {trainer.epoch}/{self.config.settings.epochs}"
            self.progress.describe(self.config.name, epoch)
        self.hooks.end_of_iteration_hook(trainer)
        self._note_update()
        self.progress.advance()

    def _note_update(self) -> None:
        # an iteration is one training step, in which there is at most one update
        loss = self.loss
        if (
            isinstance(loss, HierarchicalProxyLoss)
            and len(loss.sizes) > 1
            and loss.num_updates > len(self.update_seconds)
        ):
            self.update_seconds.append(loss.update_seconds)
            if not all(loss.is_given):
                dtype = torch.int16 if loss.sizes[1] < 2**15 else torch.int32
                self.update_superclasses.append(loss.class_labels.T[1:].to("cpu", dtype))

    def validate(self, trainer: Any) -> None:
        """Evaluate the models on the validation classes."""
        self.progress.describe(self.config.name, "validating")
        self._validate(trainer)

    def _check_weights(self, trainer: Any) -> None:
        """End training that has diverged, before its embeddings are refused one by one."""
        weights = (one for model in trainer.models.values() for one in model.parameters())
        if not all(one.isfinite().all() for one in weights):
            raise ValueError(
                f"the training has diverged: after epoch {trainer.epoch} the network has weights "
                "that are NaN or infinite. Try a smaller learning_rate (now "
                f"{self.config.settings.learning_rate:g}), or a smaller scale of the loss"
            )

    def _end_of_epoch(self, trainer: Any) -> bool:
        self._check_weights(trainer)
        self.validate(trainer)
        self.finished_epochs = trainer.epoch
        self.stopped_early = (
            self._stop is not None
            and trainer.epoch < self.config.settings.epochs
            and self._stop(self.validation_history()[OBJECTIVE])
        )
        self.epoch_seconds.append(time.perf_counter() - self._since)
        self.tensorboard.flush()
        # The best first: a checkpoint whose best model is not there yet is never seen.
        for name in (BEST, LAST) if self.best_epoch() == trainer.epoch else (LAST,):
            write_checkpoint(self, self.folder / name)
        return not self.stopped_early
