"""What a run keeps after every epoch, so that an interrupted one ends with the same numbers."""

from __future__ import annotations

import io
import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from pml_hierarchical.losses import HierarchicalProxyLoss

from ..files import NUMBER, DamagedFileError, check_members, mismatch, write_whole
from ..tensor_files import read_tensors
from .seeding import random_state, restore_random_state

if TYPE_CHECKING:
    from .session import Session

LAST, BEST = "last.pt", "best.pt"
RECORD_FOLDERS = ("records", "tensorboard")
TRAINED = ("models", "loss_funcs", "optimizers", "lr_schedulers")

# what a checkpoint holds; see benchmarks.files.mismatch
CONTENT = {
    "epoch": int,
    "stopped_early": bool,
    "epoch_seconds": [NUMBER],
    "update_seconds": list,
    "config": dict,
    **{name: {...: dict} for name in TRAINED},
    "sampler": [int],
    "random": {"python": tuple, "numpy": tuple, "torch": torch.Tensor, "cuda": list},
    "folders": {...: torch.Tensor},
}


def write_checkpoint(session: Session, path: Path, **more: Any) -> None:
    """Write everything that the rest of the training depends on, whole or not at all.

    It holds only tensors and plain values, so that it can be read without running code.

    The records are part of it: PML's record keeper appends to its files, and after a crash they
    may hold the rows of an epoch that is trained again.

    Arguments:
        session: the training.
        path: of the file.
        more: tensors and plain values that are written as well.
    """
    trainer = session.trainer
    random = random_state()
    kind, numbers, *rest = random["numpy"]
    content = {
        "epoch": session.finished_epochs,
        "stopped_early": session.stopped_early,
        "epoch_seconds": list(session.epoch_seconds),
        "update_seconds": list(session.update_seconds),
        "earlier": session.earlier,
        **_superclasses(session.update_superclasses),
        "config": json.loads(json.dumps(session.config.to_dict())),
        **{
            name: {key: value.state_dict() for key, value in getattr(trainer, name).items()}
            for name in TRAINED
        },
        # PML's sampler shuffles its classes in place: their order is part of what comes next
        "sampler": np.asarray(trainer.sampler.labels).tolist(),
        "random": {**random, "numpy": (kind, numbers.tolist(), *rest)},
        "folders": pack_folders(session.folder) if path.name == LAST else {},
        **more,
    }
    buffer = io.BytesIO()  # torch.save into a full disk raises a RuntimeError that names no file
    torch.save(content, buffer)
    write_whole(path, buffer.getvalue())


def read_checkpoint(path: Path) -> dict[str, Any]:
    """What was written to ``path``.

    The checksums in the file are compared, and nothing but tensors and plain values is read.

    Raises:
        OSError: if the file is not there, is damaged, or is not a checkpoint.
    """
    try:
        check_members(path)
        content: dict[str, Any] = read_tensors(path)
        found = mismatch(content, CONTENT)
    except DamagedFileError as error:
        found = error.reason
    except (OSError, ValueError) as error:
        found = str(error)
    if found:
        raise OSError(f"the checkpoint {path} cannot be read ({found.splitlines()[0]})")
    return content


def restore(trainer: Any, checkpoint: dict[str, Any], to_go_on: bool) -> None:
    """Put a checkpoint's models and loss into the trainer; and the rest, if training continues.

    Raises:
        OSError: if it does not fit.
    """
    try:
        for name in TRAINED if to_go_on else TRAINED[:2]:
            for key, value in getattr(trainer, name).items():
                value.load_state_dict(checkpoint[name][key])
        if to_go_on:
            trainer.sampler.labels = checkpoint["sampler"]
            restore_random_state(checkpoint["random"])
    except (LookupError, RuntimeError, TypeError, ValueError) as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise OSError(f"a checkpoint does not fit its run ({reason}): delete its folder") from error


def begin_with(trainer: Any, checkpoint: Mapping[str, Any]) -> None:
    """Continue the training of a flat loss; the loss of the trainer may build on it.

    Its fine proxies come first in the optimizer, as the flat loss's do; the rest of its parameters
    are new.
    """
    for name, model in trainer.models.items():
        model.load_state_dict(checkpoint["models"][name])
    loss = trainer.loss_funcs["metric_loss"]
    flat = dict(checkpoint["loss_funcs"]["metric_loss"])
    found = loss.load_state_dict(flat, strict=False)
    if found.unexpected_keys:
        raise ValueError(f"the checkpoint of the flat loss has {found.unexpected_keys[0]}")
    if isinstance(loss, HierarchicalProxyLoss):
        loss.superclasses.steps.fill_(checkpoint["epoch"] * trainer.iterations_per_epoch)
    for name, optimizer in trainer.optimizers.items():
        _continue(optimizer, checkpoint["optimizers"][name])
    for name, scheduler in trainer.lr_schedulers.items():
        own = scheduler.state_dict()
        rates = [group["lr"] for group in scheduler.optimizer.param_groups]
        kept = {"base_lrs": own["base_lrs"], "_last_lr": rates}
        scheduler.load_state_dict({**checkpoint["lr_schedulers"][name], **kept})
    trainer.sampler.labels = checkpoint["sampler"]
    restore_random_state(checkpoint["random"])


def _continue(optimizer: torch.optim.Optimizer, flat: Mapping[str, Any]) -> None:
    """Take over the statistics, and how far the learning rate has fallen."""
    own, (group,) = optimizer.state_dict(), flat["param_groups"]
    share = group["lr"] / group["initial_lr"]
    for one in own["param_groups"]:
        one["lr"] = share * one["initial_lr"]
    optimizer.load_state_dict({**own, "state": flat["state"]})


def remove_checkpoints(folder: Path) -> None:
    """Remove what only an interrupted run needs."""
    for name in (LAST, BEST):
        (folder / name).unlink(missing_ok=True)


def _superclasses(updates: list[torch.Tensor]) -> dict[str, torch.Tensor]:
    return {"update_superclasses": torch.stack(updates)} if updates else {}


def pack_folders(folder: Path) -> dict[str, torch.Tensor]:
    """The bytes of the files of the records by their paths in the run's folder, ``uint8``."""
    return {
        file.relative_to(folder).as_posix(): torch.from_numpy(np.fromfile(file, np.uint8))
        for name in RECORD_FOLDERS
        for file in sorted((folder / name).rglob("*"))
        if file.is_file()
    }


def unpack_folders(folder: Path, files: dict[str, torch.Tensor]) -> None:
    """The records as they were when they were packed.

    Raises:
        OSError: if a path leads out of the folders of the records; nothing is written then.
    """
    for name in RECORD_FOLDERS:
        if (folder / name).is_symlink():
            (folder / name).unlink()
        shutil.rmtree(folder / name, ignore_errors=True)
    inside = [folder.resolve() / name for name in RECORD_FOLDERS]
    for relative in files:
        path = (folder / relative).resolve()
        if not any(place in path.parents for place in inside):
            raise OSError(f"a checkpoint in {folder} has a record outside of it: {relative!r}")
    for relative, content in files.items():
        path = folder / relative
        path.parent.mkdir(parents=True, exist_ok=True)
        content.numpy().tofile(path)
