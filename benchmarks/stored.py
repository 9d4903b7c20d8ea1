"""What the folder of a data set holds after its runs: all that statistics and report need."""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import NoneType
from typing import Any

from .backbones import BackboneChoice
from .datasets.base import RetrievalData
from .files import NUMBER, DamagedFileError, read_json, write_whole
from .names import printable
from .run_config import RESULT_FILE

DATASET_FILE = "dataset.json"
IMAGES_FILE = "images.json"  # of runs that are never tested and appear in no report
CONCATENATED_PATTERN = "concatenated_seed*.json"
VALIDATED = "mean_average_precision_at_r_level0"

# what statistics and report need of the files; see benchmarks.files.mismatch
IMAGES = {"name": str, "level_names": [str], "class_names": [[str]], "untrained_name": str}
DATASET = {**IMAGES, "title": str, "untrained": {...: {...: NUMBER}}}
RESULT = {
    "config": {
        "loss": str,
        "loss_settings": dict,
        "seed": int,
        "fold": int,
        "training": {"epochs": int, "iterations_per_epoch": int},
    },
    "environment": {
        "versions": dict,
        "python": str,
        "machine": str,
        "device": str,
        "threads": int,
    },
    "seconds": NUMBER,
    "epoch_seconds": [NUMBER],
    "validation": {"epoch": [int], VALIDATED: [NUMBER], ...: list},
    "num_images": {"train": int, "val": int, "test": int, ...: int},
    "num_left_out": int,
    "best_epoch": int,
    "test": {...: NUMBER},
    "training_loss": {"~iteration~": [NUMBER], "total_loss": [NUMBER]},
}
CONCATENATED = {"loss": str, "seed": int, "folds": [int], "test": {...: NUMBER}}


@dataclass(frozen=True)
class StoredRuns:
    """The finished runs in the folder of a data set.

    Attributes:
        folder: of the data set, below ``--out``.
        dataset: its name.
        title: what people call it: the name of a folder of one's own, or else ``dataset``.
        level_names: what a class of each level is, finest first.
        class_names: for each level the names of its classes.
        untrained_name: what the embedding without training is.
        untrained: for each fold its metrics on the test classes.
        results: one per run, as ``result.json`` holds it, and its ``folder``.
        concatenated: one per loss and seed whose folds all ran, see ``benchmarks.concatenated``.
        damaged: for each file that is left out because it is damaged, a sentence that names it.
    """

    folder: Path
    dataset: str
    title: str
    level_names: tuple[str, ...]
    class_names: tuple[tuple[str, ...], ...]
    untrained_name: str
    untrained: tuple[dict[str, float], ...]
    results: tuple[dict[str, Any], ...]
    concatenated: tuple[dict[str, Any], ...]
    damaged: tuple[str, ...] = ()


def describe_dataset(
    folder: Path,
    data: RetrievalData,
    backbone: BackboneChoice,
    folds: Sequence[int],
    evaluate: Callable[[RetrievalData, int], dict[str, float]],
    title: str = "",
) -> None:
    """Write what the report says about the data set; folds that are there already are kept.

    Arguments:
        folder: of the data set, below ``--out``.
        data: the data set.
        backbone: the network that its images go through.
        folds: that are run.
        evaluate: the accuracy on the test classes of a fold without training.
        title: what people call the data set, by default its name.

    Raises:
        ValueError: see :func:`same_images`.
    """
    about, found = same_images(folder / DATASET_FILE, data, backbone)
    known = found["untrained"] if found else {}
    untrained = {str(fold): known.get(str(fold)) or evaluate(data, fold) for fold in folds}
    content = {**about, "title": title or data.name, "untrained": {**known, **untrained}}
    write_whole(folder / DATASET_FILE, json.dumps(content, indent=2))


def same_images(
    path: Path, data: RetrievalData, backbone: BackboneChoice, model: Path | None = None
) -> tuple[dict[str, Any], dict[str, Any] | None]:
    """What identifies the images of the runs in a folder, and what its file says of earlier runs.

    Arguments:
        path: of the file; there may be none yet.
        data: the data set.
        backbone: the network that its images go through.
        model: the folder that the user named, if this is not for runs but for training below it.

    Raises:
        ValueError: if the earlier runs are on other images or another backbone, since they must
            not stand in one table with those to come; a :class:`~benchmarks.files.DamagedFileError`
            if the file that says so is damaged.
    """
    about: dict[str, Any] = {
        "name": data.name,
        "level_names": data.level_names,
        "class_names": data.class_names,
        "num_images": len(data.labels),
        "num_left_out": len(data.left_out),
        "untrained_name": data.untrained_name,
        "backbone": backbone.to_dict(),
        "fingerprint": data.fingerprint(),
    }
    if not path.exists():
        return about, None
    found = read_json(path, DATASET if path.name == DATASET_FILE else IMAGES)
    plain = json.loads(json.dumps(about))
    del plain["num_left_out"]  # what is used is the same if the fingerprint is
    changed = [key for key in plain if found.get(key) != plain[key]]
    if changed:
        others = f"on other images, classes or another backbone ({', '.join(changed)} differ)"
        raise ValueError(
            f"the runs in {path.parent} are {others}: choose another --out"
            if model is None
            else f"{model} holds an unfinished training run {others}: delete that folder, or "
            "choose another --out"
        )
    return about, found


def read_stored(
    folder: Path, wanted: Callable[[dict[str, Any]], bool] = lambda config: True
) -> StoredRuns:
    """Read the finished runs of a data set.

    Arguments:
        folder: of the data set, below ``--out``.
        wanted: which runs, by their ``config``; all by default.

    A damaged file is left out with a warning that names it.

    Raises:
        ValueError: if there is no finished run; a :class:`~benchmarks.files.DamagedFileError` if
            the file that describes the data set is damaged.
    """
    if not (folder / DATASET_FILE).exists():
        raise ValueError(f"{folder} holds no runs: expected the folder of a data set below --out")
    about = read_json(folder / DATASET_FILE, DATASET)
    if len(about["class_names"]) != len(about["level_names"]):
        raise DamagedFileError(folder / DATASET_FILE, "its levels do not match its names")
    damaged: list[str] = []
    results = _read_all(sorted(folder.glob(f"*/*/{RESULT_FILE}")), _read_result, damaged)
    results = [result for result in results if wanted(result["config"])]
    paths = sorted(folder.glob(f"*/{CONCATENATED_PATTERN}"))
    concatenated = _read_all(paths, lambda path: read_json(path, CONCATENATED), damaged)
    for message in damaged:
        warnings.warn(message, stacklevel=2)
    if not results:
        raise ValueError(
            f"{folder} holds no finished run{''.join(f'; {message}' for message in damaged)}; "
            "`pml-hierarchical run` makes some"
        )
    configs = [result["config"] for result in results]
    folds = sorted({config["fold"] for config in configs})
    missing = [fold for fold in folds if str(fold) not in about["untrained"]]
    if missing:
        raise DamagedFileError(folder / DATASET_FILE, f"it does not have fold {missing[0]}")
    models = {(config["loss"], config["seed"], config["fold"]) for config in configs}
    return StoredRuns(
        folder=folder,
        dataset=printable(about["name"]),
        title=printable(about["title"]),
        level_names=tuple(map(printable, about["level_names"])),
        class_names=tuple(tuple(map(printable, names)) for names in about["class_names"]),
        untrained_name=printable(about["untrained_name"]),
        untrained=tuple(about["untrained"][str(fold)] for fold in folds),
        results=tuple(results),
        concatenated=tuple(
            c for c in concatenated if {(c["loss"], c["seed"], f) for f in c["folds"]} <= models
        ),
        damaged=tuple(damaged),
    )


def _read_all(
    paths: Sequence[Path], read: Callable[[Path], dict[str, Any]], damaged: list[str]
) -> list[dict[str, Any]]:
    """What can be read; a sentence on each file that cannot is added to ``damaged``."""
    contents = []
    for path in paths:
        try:
            contents.append(read(path))
        except DamagedFileError as error:
            damaged.append(f"{error}: it is left out. Delete it and run again")
    return contents


def _read_result(path: Path) -> dict[str, Any]:
    result = read_json(path, RESULT)
    config, validation, loss = result["config"], result["validation"], result["training_loss"]
    folder = (config["loss"].replace(":", "-"), f"seed{config['seed']}_fold{config['fold']}")
    if path.parts[-3:-1] != folder:
        raise DamagedFileError(path, f"it belongs to the run {'/'.join(folder)}")
    epochs = {len(values) for values in (result["epoch_seconds"], *validation.values())}
    if len(epochs) > 1 or len(loss["~iteration~"]) != len(loss["total_loss"]):
        raise DamagedFileError(path, "its lists are not of one length")
    if not isinstance(config["loss_settings"].get("warmup", 0), (*NUMBER, NoneType)):
        raise DamagedFileError(path, "its warmup is not a number")
    if config["training"]["iterations_per_epoch"] < 1:
        raise DamagedFileError(path, "its epochs have no iterations")
    return {**result, "folder": path.parent}
