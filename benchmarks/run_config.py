"""What identifies a run, and the folder that belongs to it."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from .backbones import DEFAULT_BACKBONE, BackboneChoice
from .files import write_whole
from .losses import LossSpec
from .settings import TrainingSettings

CONFIG_FILE = "config.json"
RESULT_FILE = "result.json"


@dataclass(frozen=True)
class RunConfig:
    """One loss, trained once on one fold of a data set.

    Attributes:
        dataset: a name in ``DATASETS``.
        loss: what is trained, with all its settings.
        seed: of the training.
        fold: which part of the training classes validates.
        settings: of the training.
        skip_broken: whether missing and broken images are left out.
        backbone: the network that the images go through.
        workers: how many processes load images for it; 0 for none but the training's own.
    """

    dataset: str
    loss: LossSpec
    seed: int
    fold: int
    settings: TrainingSettings
    skip_broken: bool = False
    backbone: BackboneChoice = DEFAULT_BACKBONE
    workers: int = 0

    @property
    def name(self) -> str:
        """The run within its data set, for people."""
        return f"{self.loss.name}, seed {self.seed}, fold {self.fold}"

    def folder(self, out: Path) -> Path:
        """The folder of this run; a colon is not allowed in names of files everywhere."""
        loss = self.loss.name.replace(":", "-")
        return out / self.dataset / loss / f"seed{self.seed}_fold{self.fold}"

    def to_dict(self) -> dict[str, Any]:
        """All that decides the outcome, as plain values."""
        settings = asdict(self.settings)
        del settings["losses"]  # what concerns this loss is among its settings
        return {
            "dataset": self.dataset,
            "loss": self.loss.name,
            "loss_settings": self.loss.settings(),
            "seed": self.seed,
            "fold": self.fold,
            "training": settings,
            "skip_broken": self.skip_broken,
            **self._of_network(),
        }

    def _of_network(self) -> dict[str, Any]:
        # left out where they are as ever: the results of before there was a choice are still good
        chosen: dict[str, Any] = {}
        if self.backbone != DEFAULT_BACKBONE:
            chosen["backbone"] = self.backbone.to_dict()
        if self.workers:  # each draws random crops of its own
            chosen["workers"] = self.workers
        return chosen


def iterations_of(configs: Iterable[RunConfig]) -> int:
    """How many training iterations some runs have together."""
    return sum(c.settings.epochs * c.settings.iterations_per_epoch for c in configs)


def read_result(config: RunConfig, out: Path) -> dict[str, Any] | None:
    """The result of a finished run, or ``None`` if it is not finished.

    Raises:
        ValueError: if the folder holds the result of other settings, or a broken one.
    """
    path = config.folder(out) / RESULT_FILE
    if not path.exists():
        return None
    try:
        result: dict[str, Any] = json.loads(path.read_text())
    except ValueError as error:
        raise ValueError(
            f"{path} is not what a run wrote ({error}). Delete {path.parent} to do the run again"
        ) from error
    wanted = json.loads(json.dumps(config.to_dict()))
    if result["config"] != wanted:
        different = [
            f"{key}: {result['config'].get(key)} there, {wanted[key]} asked for"
            for key in wanted
            if result["config"].get(key) != wanted[key]
        ]
        raise ValueError(
            f"{path.parent} holds a run with other settings ({'; '.join(different)}). Choose "
            "another --out, or delete that folder."
        )
    return result


def write_result(folder: Path, result: dict[str, Any]) -> None:
    """Write the file that marks a run as finished, whole or not at all."""
    write_whole(folder / RESULT_FILE, json.dumps(result, indent=2))
