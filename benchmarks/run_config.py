"""What identifies a run, and the folder that belongs to it."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from .backbones import DEFAULT_BACKBONE, BackboneChoice
from .files import DamagedFileError, read_json, write_whole
from .losses import LossSpec
from .settings import TrainingSettings

CONFIG_FILE = "config.json"
RESULT_FILE = "result.json"
#: what a run's settings say about its network, if that is not the default
OF_NETWORK = ("backbone", "workers")


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
        workers: how many processes load images for it; 0 for none but the training process.
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

    @property
    def first_selectable_epoch(self) -> int:
        """The first epoch, from 1, whose model may be selected."""
        warmup = self.loss.hpl_arguments.get("warmup", 0) if self.loss.hierarchy else 0
        return self.settings.first_selectable_epoch(warmup)

    def check(self) -> None:
        """Refuse a warm-up that leaves nothing of the training.

        Raises:
            ValueError: if no epoch would see a superclass.
        """
        warmup = self.loss.hpl_arguments.get("warmup", 0) if self.loss.hierarchy else 0
        if warmup and warmup >= self.settings.iterations:
            raise ValueError(
                f"{self.loss.name} has a warm-up of {warmup} training steps, and the training has "
                f"{self.settings.iterations}: choose more epochs or a shorter warm-up"
            )

    def folder(self, out: Path) -> Path:
        """The folder of this run; a colon is not allowed in names of files everywhere."""
        loss = self.loss.name.replace(":", "-")
        return out / self.dataset / loss / f"seed{self.seed}_fold{self.fold}"

    def to_dict(self) -> dict[str, Any]:
        """Everything that decides the outcome, as plain values."""
        settings = asdict(self.settings)
        # what concerns this loss is among its settings, and the length is given by the epochs
        for name in ("losses", "trainings", "short_epochs", "upper_blocks"):
            del settings[name]
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
        # only what differs from the default: most runs have no such choice
        chosen: dict[str, Any] = {}
        if self.backbone != DEFAULT_BACKBONE:
            chosen["backbone"] = self.backbone.to_dict()
        if self.workers:  # each process draws its own random crops
            chosen["workers"] = self.workers
        return chosen


def iterations_of(configs: Iterable[RunConfig]) -> int:
    """How many training iterations some runs have together."""
    return sum(config.settings.iterations for config in configs)


def read_result(config: RunConfig, out: Path) -> dict[str, Any] | None:
    """The result of a finished run, or ``None`` if it is not finished.

    Raises:
        ValueError: if the folder holds the result of other settings, or a broken one.
    """
    path = config.folder(out) / RESULT_FILE
    if not path.exists():
        return None
    try:
        result: dict[str, Any] = read_json(path, {"config": dict})
    except DamagedFileError as error:
        raise ValueError(f"{error}. Delete {path.parent} to do the run again") from error
    wanted = json.loads(json.dumps(config.to_dict()))
    if result["config"] != wanted:
        raise ValueError(
            f"{path.parent} holds a run with other settings "
            f"({differences(result['config'], wanted)}). Choose another --out, or delete that "
            "folder."
        )
    return result


def differences(there: Mapping[str, Any], wanted: Mapping[str, Any]) -> str:
    """What differs between two configurations as plain values.

    Example:
        >>> differences({"seed": 0, "training": {"epochs": 4}}, {"training": {"epochs": 5}})
        'seed: 0 there, not asked for; training.epochs: 4 there, 5 asked for'
    """
    flat, asked = flattened(there), flattened(wanted)
    return "; ".join(
        f"{name}: {f'{flat[name]} there' if name in flat else 'not there'}, "
        f"{f'{asked[name]} asked for' if name in asked else 'not asked for'}"
        for name in dict.fromkeys((*flat, *asked))
        if name not in flat or name not in asked or flat[name] != asked[name]
    )


def flattened(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested values by names such as ``training.epochs``."""
    found: dict[str, Any] = {}
    for key, value in values.items():
        inner = isinstance(value, Mapping) and value
        found |= flattened(value, f"{prefix}{key}.") if inner else {f"{prefix}{key}": value}
    return found


def write_result(folder: Path, result: dict[str, Any]) -> None:
    """Write the file that marks a run as finished, whole or not at all."""
    write_whole(folder / RESULT_FILE, json.dumps(result, indent=2))
