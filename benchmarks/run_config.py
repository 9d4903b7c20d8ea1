"""What identifies a run, and the folder that belongs to it."""

from __future__ import annotations

import json
import os
import platform
import shutil
import subprocess
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

from .losses import LossSpec
from .settings import TrainingSettings

CONFIG_FILE = "config.json"
RESULT_FILE = "result.json"
_PACKAGES = ("torch", "pytorch-metric-learning", "faiss-cpu", "numpy", "pml-hierarchical")


@dataclass(frozen=True)
class RunConfig:
    """One loss, trained once on one fold of a data set."""

    dataset: str
    loss: LossSpec
    seed: int
    fold: int
    settings: TrainingSettings

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
        }


def read_result(config: RunConfig, out: Path) -> dict[str, Any] | None:
    """The result of a finished run, or ``None`` if it is not finished.

    Raises:
        ValueError: if the folder holds the result of other settings.
    """
    path = config.folder(out) / RESULT_FILE
    if not path.exists():
        return None
    result: dict[str, Any] = json.loads(path.read_text())
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
    temporary = folder / f"{RESULT_FILE}.tmp"
    temporary.write_text(json.dumps(result, indent=2))
    os.replace(temporary, folder / RESULT_FILE)


def environment(device: torch.device) -> dict[str, Any]:
    """Where a run took place: versions, commit and machine."""
    return {
        "commit": _commit(),
        "versions": {package: version(package) for package in _PACKAGES},
        "python": platform.python_version(),
        "machine": platform.machine(),
        "threads": torch.get_num_threads(),
        "device": str(device) if device.type == "cpu" else torch.cuda.get_device_name(device),
    }


def _commit() -> str | None:
    if shutil.which("git") is None:
        return None
    command = ["git", "describe", "--always", "--dirty", "--abbrev=12"]
    found = subprocess.run(
        command, cwd=Path(__file__).parent, capture_output=True, text=True, check=False
    )
    return found.stdout.strip() or None
