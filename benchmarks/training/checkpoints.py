"""What a run keeps after every epoch, so that an interrupted one goes on as if it had not been."""

from __future__ import annotations

import io
import json
import pickle
import shutil
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from ..files import write_whole
from .seeding import random_state, restore_random_state

if TYPE_CHECKING:
    from .session import Session

LAST, BEST = "last.pt", "best.pt"
RECORD_FOLDERS = ("records", "tensorboard")


def write_checkpoint(session: Session, path: Path) -> None:
    """Write all that the rest of the training depends on, whole or not at all.

    The records are part of it: PML's record keeper appends to its files, and after a crash they
    may hold the rows of an epoch that is trained again.
    """
    trainer = session.trainer
    content = {
        "epoch": session.finished_epochs,
        "stopped_early": session.stopped_early,
        "epoch_seconds": list(session.epoch_seconds),
        "update_seconds": list(session.update_seconds),
        "config": json.loads(json.dumps(session.config.to_dict())),
        **{
            name: {key: value.state_dict() for key, value in getattr(trainer, name).items()}
            for name in ("models", "loss_funcs", "optimizers", "lr_schedulers")
        },
        # PML's sampler shuffles its classes in place: their order is part of what comes next
        "sampler": list(trainer.sampler.labels),
        "random": random_state(),
        "folders": pack_folders(session.folder) if path.name == LAST else {},
    }
    buffer = io.BytesIO()  # torch.save into a full disk raises a RuntimeError that names no file
    torch.save(content, buffer)
    write_whole(path, buffer.getvalue())


def read_checkpoint(path: Path) -> dict[str, Any]:
    """What was written to ``path``.

    Raises:
        OSError: if the file is not there or cannot be read.
    """
    try:
        # the files are our own, and the generators' states are not plain tensors
        content: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=False)
        return content
    # what torch and zipfile raise for files that are cut short, overwritten or not theirs
    except (RuntimeError, EOFError, pickle.UnpicklingError, zipfile.BadZipFile, KeyError) as error:
        reason = str(error).splitlines()[0]
        raise OSError(f"the checkpoint {path} cannot be read ({reason})") from error


def restore(trainer: Any, checkpoint: dict[str, Any], to_go_on: bool) -> None:
    """Put a checkpoint's models and loss into the trainer; for going on, the rest as well."""
    names = ["models", "loss_funcs"]
    if to_go_on:
        names += ["optimizers", "lr_schedulers"]
    for name in names:
        for key, value in getattr(trainer, name).items():
            value.load_state_dict(checkpoint[name][key])
    if to_go_on:
        trainer.sampler.labels = checkpoint["sampler"]
        restore_random_state(checkpoint["random"])


def remove_checkpoints(folder: Path) -> None:
    """Remove what only a run that goes on needs."""
    for name in (LAST, BEST):
        (folder / name).unlink(missing_ok=True)


def pack_folders(folder: Path) -> dict[str, bytes]:
    """The files of the records by their paths in the run's folder."""
    return {
        file.relative_to(folder).as_posix(): file.read_bytes()
        for name in RECORD_FOLDERS
        for file in sorted((folder / name).rglob("*"))
        if file.is_file()
    }


def unpack_folders(folder: Path, files: dict[str, bytes]) -> None:
    """The records as they were when they were packed."""
    for name in RECORD_FOLDERS:
        shutil.rmtree(folder / name, ignore_errors=True)
    for relative, content in files.items():
        path = folder / relative
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
