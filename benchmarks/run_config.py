"""What identifies a run, and the folder that belongs to it."""

from __future__ import annotations

import json
import os
import platform
import shutil
import subprocess
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch

from .backbones import DEFAULT_BACKBONE, BackboneChoice
from .files import write_whole
from .losses import LossSpec
from .settings import TrainingSettings

CONFIG_FILE = "config.json"
RESULT_FILE = "result.json"
# what a result depends on: glyphs are drawn by pillow with matplotlib's fonts
_PACKAGES = (
    "pml-hierarchical",
    "pytorch-metric-learning",
    "torch",
    "torchvision",
    "timm",
    "faiss-cpu",
    "scikit-learn",
    "numpy",
    "pillow",
    "matplotlib",
)


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


def environment(device: torch.device) -> dict[str, Any]:
    """Where a run took place: versions, commit and machine."""
    return {
        "commit": commit_of(Path(__file__).parent),
        "versions": _versions(),
        "python": platform.python_version(),
        "machine": platform.machine(),
        "system": platform.platform(),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "device": str(device) if device.type == "cpu" else torch.cuda.get_device_name(device),
    }


def _versions() -> dict[str, str]:
    found = {}
    for package in _PACKAGES:
        with suppress(PackageNotFoundError):  # timm is there for those who want it
            found[package] = version(package)
    return found


def commit_of(folder: Path) -> str | None:
    """The commit of a checkout, with "-dirty" if it was changed since; ``None`` outside git.

    The settings that ``tune`` writes while it runs are no change: every result holds its own.
    """
    commit = _git(folder, "rev-parse", "--short=12", "HEAD")
    if commit is None:
        return None
    code = (":/", ":(top,exclude)benchmarks/tuned")
    changed = _git(folder, "status", "--porcelain", "--untracked-files=no", "--", *code)
    return f"{commit}-dirty" if changed else commit


def _git(folder: Path, *arguments: str) -> str | None:
    if shutil.which("git") is None:
        return None
    command = ["git", *arguments]
    found = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    return found.stdout.strip() if found.returncode == 0 else None
