"""The four models of a loss side by side: the "concatenated" embeddings of the protocol.

Musgrave et al. 2020 report both: "separated" is the mean of the accuracies of the four models of
the folds, "concatenated" the accuracy of their L2-normalised embeddings side by side, which have
four times the size. They are different things and are never compared with one another.
"""

from __future__ import annotations

import json
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from .artifacts import TEST_FILE
from .datasets.base import NUM_FOLDS, RetrievalData
from .files import DamagedFileError, read_arrays, write_whole
from .run_config import RunConfig
from .training.session import accuracy_calculator

KINDS = {"test_indices": ("iu", 1), "test_embeddings": ("f", 2), "test_labels": ("iu", 2)}


def concatenate_folds(runs: Sequence[RunConfig], data: RetrievalData, out: Path) -> None:
    """Evaluate every loss and seed whose folds are all among ``runs``.

    What was evaluated before is kept, unless a run has been done again since.

    For each a file ``LOSS/concatenated_seed0.json`` has ``loss``, ``seed``, ``folds``,
    ``embedding_size`` and ``test``, with the keys of a run's ``test``.
    """
    by_model: dict[tuple[str, int], list[RunConfig]] = {}
    for config in runs:
        by_model.setdefault((config.loss.name, config.seed), []).append(config)
    for (loss, seed), folds in by_model.items():
        path = folds[0].folder(out).parent / f"concatenated_seed{seed}.json"
        folds = sorted(folds, key=lambda config: config.fold)
        files = [config.folder(out) / TEST_FILE for config in folds]
        if len(folds) < NUM_FOLDS or _is_newer(path, files):
            continue
        try:
            test = evaluate_concatenated(files, data)
        except (DamagedFileError, FileNotFoundError) as error:
            if isinstance(error, DamagedFileError):
                file, wrong = error.path, str(error)
            else:
                file, wrong = Path(error.filename), f"{error.filename} is missing"
            warnings.warn(
                f"{wrong}: the concatenated embeddings of {loss} are left out. Delete "
                f"{file.parent} to do this run again",
                stacklevel=2,
            )
            continue
        content: dict[str, Any] = {
            "loss": loss,
            "seed": seed,
            "folds": [config.fold for config in folds],
            "embedding_size": sum(config.settings.embedding_size for config in folds),
            "test": test,
        }
        write_whole(path, json.dumps(content, indent=2))


def evaluate_concatenated(files: Sequence[Path], data: RetrievalData) -> dict[str, float]:
    """The metrics of several models' embeddings of the same test images side by side.

    Raises:
        ValueError: if the models were tested on different images; a ``DamagedFileError`` if a file
            is damaged.
    """
    models = {path: read_arrays(path, KINDS) for path in files}
    queries = _side_by_side(models, "test", data)
    has_gallery = "gallery_indices" in next(iter(models.values()))
    references = _side_by_side(models, "gallery", data) if has_gallery else (None, None)
    accuracies: dict[str, float] = accuracy_calculator(torch.device("cpu")).get_accuracy(
        *queries, *references
    )
    return accuracies


def _is_newer(path: Path, files: Sequence[Path]) -> bool:
    return path.exists() and all(
        file.exists() and file.stat().st_mtime_ns <= path.stat().st_mtime_ns for file in files
    )


def _side_by_side(
    models: Mapping[Path, Mapping[str, np.ndarray]], part: str, data: RetrievalData
) -> tuple[torch.Tensor, torch.Tensor]:
    first, *_ = models
    indices = models[first][f"{part}_indices"]
    for path, model in models.items():
        if not np.array_equal(model[f"{part}_indices"], indices):
            raise ValueError(f"{path} holds other test images than {first}")
    embeddings = [
        torch.nn.functional.normalize(torch.from_numpy(model[f"{part}_embeddings"]))
        for model in models.values()
    ]
    return torch.cat(embeddings, dim=1), torch.from_numpy(data.labels[indices])
