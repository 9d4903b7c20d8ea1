"""What the folder of a data set holds after its runs: all that statistics and report need."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .backbones import BackboneChoice
from .datasets.base import RetrievalData
from .files import write_whole
from .run_config import RESULT_FILE

DATASET_FILE = "dataset.json"
CONCATENATED_PATTERN = "concatenated_seed*.json"


@dataclass(frozen=True)
class StoredRuns:
    """The finished runs in the folder of a data set.

    Attributes:
        folder: of the data set, below ``--out``.
        dataset: its name.
        level_names: what a class of each level is, finest first.
        class_names: for each level the names of its classes.
        untrained_name: what the embedding without training is.
        untrained: for each fold its metrics on the test classes.
        results: one per run, as ``result.json`` holds it, and its ``folder``.
        concatenated: one per loss and seed whose folds all ran, see ``benchmarks.concatenated``.
    """

    folder: Path
    dataset: str
    level_names: tuple[str, ...]
    class_names: tuple[tuple[str, ...], ...]
    untrained_name: str
    untrained: tuple[dict[str, float], ...]
    results: tuple[dict[str, Any], ...]
    concatenated: tuple[dict[str, Any], ...]


def describe_dataset(
    folder: Path,
    data: RetrievalData,
    backbone: BackboneChoice,
    folds: Sequence[int],
    evaluate: Callable[[RetrievalData, int], dict[str, float]],
) -> None:
    """Write what the report says of the data set; folds that are there already are kept.

    Raises:
        ValueError: if the folder holds runs on other images or another backbone, which must not
            stand in one table with those to come.
    """
    path = folder / DATASET_FILE
    about: dict[str, Any] = {
        "name": data.name,
        "level_names": data.level_names,
        "class_names": data.class_names,
        "num_images": len(data.labels),
        "num_left_out": len(data.left_out),
        "untrained_name": data.untrained_name,
        "backbone": backbone.to_dict(),
    }
    known: dict[str, Any] = {}
    if path.exists():
        found = _read(path)
        known = found["untrained"]
        plain = json.loads(json.dumps(about))
        changed = [key for key in plain if found.get(key) != plain[key]]
        if changed:
            raise ValueError(
                f"the runs in {folder} are on other images, classes or another backbone "
                f"({', '.join(changed)} differ): choose another --out"
            )
    untrained = {str(fold): known.get(str(fold)) or evaluate(data, fold) for fold in folds}
    write_whole(path, json.dumps({**about, "untrained": {**known, **untrained}}, indent=2))


def read_stored(
    folder: Path, wanted: Callable[[dict[str, Any]], bool] = lambda config: True
) -> StoredRuns:
    """Read the finished runs of a data set.

    Arguments:
        folder: of the data set, below ``--out``.
        wanted: which runs, by their ``config``; all by default.

    Raises:
        ValueError: if there is no finished run, or a file is broken.
    """
    if not (folder / DATASET_FILE).exists():
        raise ValueError(f"{folder} holds no runs: expected the folder of a data set below --out")
    about = _read(folder / DATASET_FILE)
    results = [
        {**_read(path), "folder": path.parent} for path in sorted(folder.glob(f"*/*/{RESULT_FILE}"))
    ]
    results = [result for result in results if wanted(result["config"])]
    if not results:
        raise ValueError(f"{folder} holds no finished run; `python -m benchmarks run` makes some")
    configs = [result["config"] for result in results]
    folds = sorted({config["fold"] for config in configs})
    models = {(config["loss"], config["seed"], config["fold"]) for config in configs}
    concatenated = [_read(path) for path in sorted(folder.glob(f"*/{CONCATENATED_PATTERN}"))]
    return StoredRuns(
        folder=folder,
        dataset=about["name"],
        level_names=tuple(about["level_names"]),
        class_names=tuple(tuple(names) for names in about["class_names"]),
        untrained_name=about["untrained_name"],
        untrained=tuple(about["untrained"][str(fold)] for fold in folds),
        results=tuple(results),
        concatenated=tuple(
            c for c in concatenated if {(c["loss"], c["seed"], f) for f in c["folds"]} <= models
        ),
    )


def _read(path: Path) -> dict[str, Any]:
    try:
        content: dict[str, Any] = json.loads(path.read_text())
    except ValueError as error:
        raise ValueError(f"{path} is broken ({error}); delete it and run again") from error
    return content
