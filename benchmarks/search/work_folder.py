"""The folder in which a model is trained, and which is removed in the end."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ..files import LEFTOVERS, read_json
from ..locking import only_one_in
from ..run_config import CONFIG_FILE, RunConfig, differences
from ..stored import IMAGES_FILE
from ..training.checkpoints import LAST
from .all_classes import other_settings

WORK_FOLDER = ".training"  # in the model folder; nobody keeps pictures under such a name
_OURS = (IMAGES_FILE, ".lock")


def session_folder(out: Path, config: RunConfig) -> Path:
    """The folder of a training run in the work folder of a model."""
    return out / WORK_FOLDER / config.loss.name.replace(":", "-")


@contextmanager
def only_one_training_in(out: Path) -> Iterator[None]:
    """Hold the work folder of a model; after an error, no empty folder of the model is left."""
    is_new = not out.exists()
    try:
        with only_one_in(out / WORK_FOLDER):
            yield
    except BaseException:
        if is_new and out.is_dir() and not any(out.iterdir()):
            out.rmdir()
        raise


def check_work_folder(out: Path, config: RunConfig, pictures: Path | None) -> None:
    """Refuse a work folder in which something would be lost.

    Arguments:
        out: of the model.
        config: what is trained.
        pictures: the folder of the data set; ``None`` if it has none.

    Raises:
        FileExistsError: if it holds files that no training put there, or another unfinished run.
        ValueError: if it holds the pictures, or lies among them.
    """
    work = out / WORK_FOLDER
    if pictures is not None:
        place, folder = work.resolve(), pictures.resolve()
        if folder.is_relative_to(place) or place.is_relative_to(folder):
            raise ValueError(
                f"--out {out} must not be in the folder of the pictures, {pictures}, nor the "
                "pictures in it: choose another --out, such as a folder beside them"
            )
    if work.exists() and not work.is_dir():
        raise _unknown(work, work)
    for found in sorted(work.iterdir()) if work.exists() else ():
        if found.name not in _OURS and not found.match(LEFTOVERS):
            _check_training(work, found, config, session_folder(out, config))


def _check_training(work: Path, found: Path, config: RunConfig, folder: Path) -> None:
    if not found.is_dir() or (any(found.iterdir()) and not (found / CONFIG_FILE).is_file()):
        raise _unknown(work, found)
    if not (found / LAST).exists():  # no epoch of it is finished
        return
    there = read_json(found / CONFIG_FILE, {"loss": str})
    wanted = json.loads(json.dumps(config.to_dict()))
    if found != folder or there != wanted:
        raise other_settings(work, differences(there, wanted))


def _unknown(work: Path, found: Path) -> FileExistsError:
    return FileExistsError(
        f"{work} is where the model is trained, and is removed in the end, but {found} is not "
        "part of a training run: move it, or choose another --out"
    )
