"""A loss and the hierarchical ones on it share their training until the end of the warm-up."""

from __future__ import annotations

import json
import warnings
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from filelock import FileLock

from ..datasets.base import RetrievalData
from ..progress import RunProgress
from ..run_config import RunConfig
from .checkpoints import read_checkpoint, remove_checkpoints, write_checkpoint
from .session import Session
from .validation import train_and_validate

FILE = "warmup.pt"
NAME = "warmup"  # after the name of the flat loss, for the folder


def shared_epochs(config: RunConfig) -> int:
    """How many whole epochs a run trains as its flat loss does: those of the common warm-up, or
    none for a hierarchical loss whose own is shorter.
    """
    settings = config.settings
    common = int(round(settings.warmup * settings.epochs, 6))
    if config.loss.hierarchy is None:
        return common
    own = config.loss.hpl_arguments.get("warmup", 0)
    return common if own >= common * settings.iterations_per_epoch else 0


def train_after_warmup(
    config: RunConfig,
    data: RetrievalData,
    out: Path,
    device: torch.device,
    progress: RunProgress,
) -> dict[str, Any]:
    """As :func:`~benchmarks.training.train_and_validate`, from the end of the common warm-up on.

    The warm-up of a flat loss, seed and fold is trained by the first run that needs it, and kept in
    a folder of its own. That saves time, and the runs of a pair differ only in what their losses
    do after it.
    """
    epochs = shared_epochs(config)
    start = warmup_of(config, epochs, data, out, device, progress) if epochs else None
    return train_and_validate(config, data, out, device, progress, start=start)


def warmup_of(
    config: RunConfig,
    epochs: int,
    data: RetrievalData,
    out: Path,
    device: torch.device,
    progress: RunProgress,
) -> dict[str, Any]:
    """The checkpoint of the first epochs of the flat loss; trained if there is none yet.

    If another process is training it, this one waits.
    """
    flat = replace(config, loss=config.loss.flat())
    named = replace(flat, loss=replace(flat.loss, name=f"{flat.loss.name}:{NAME}"))
    folder = named.folder(out)
    wanted = json.loads(json.dumps(flat.to_dict()))
    folder.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(folder.with_suffix(".lock")):
        found = _stored_warmup(folder / FILE)
        if found is not None and found["config"] == wanted and found["epoch"] == epochs:
            progress.advance(epochs * config.settings.iterations_per_epoch)
            return found
        _train_warmup(flat, epochs, data, folder, device, progress)
    return read_checkpoint(folder / FILE)


def _stored_warmup(path: Path) -> dict[str, Any] | None:
    if not path.exists():
        return None
    try:
        return read_checkpoint(path)
    except OSError as error:
        warnings.warn(f"{error}; this warm-up is trained again", stacklevel=2)
        return None


def _train_warmup(
    flat: RunConfig,
    epochs: int,
    data: RetrievalData,
    folder: Path,
    device: torch.device,
    progress: RunProgress,
) -> None:
    def ends(history: Sequence[float]) -> bool:
        return len(history) >= epochs

    session = Session(flat, data, folder, device, progress, ends)
    session.train()
    session.close()
    write_checkpoint(session, folder / FILE, validation=session.validation_history())
    remove_checkpoints(folder)
