"""The test of a trained run, and what is kept from it for the report."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch

from pml_hierarchical.losses.processes import num_processes

from ..artifacts import TEST_FILE, keep_retrievals, keep_tree
from ..datasets.base import RetrievalData
from ..environment import environment
from ..files import write_arrays
from ..progress import RunProgress
from ..run_config import RunConfig, write_result
from .checkpoints import LAST
from .session import Session
from .tree import write_classes


def train(
    config: RunConfig,
    data: RetrievalData,
    out: Path,
    device: torch.device,
    progress: RunProgress,
) -> dict[str, Any]:
    """Train and evaluate one run in a folder of its own, and write its result there.

    Returns:
        The result: what :func:`~benchmarks.run_config.read_result` reads from the folder.
    """
    session = Session(config, data, config.folder(out), device, progress)
    session.train()
    progress.describe(config.name, "testing")
    best_epoch = session.load_best()
    accuracies = test(session, best_epoch)
    write_classes(session.folder, data, session.split.train)
    session.close()
    result = {
        **common_results(session),
        "num_images": {
            part: len(indices)
            for part, indices in vars(session.split).items()
            if indices is not None
        },
        "num_left_out": len(data.left_out),
        "best_epoch": best_epoch,
        "test": accuracies,
        "training_loss": session.hooks.get_loss_history(),
    }
    # it belongs to the model that was here before
    (session.folder.parent / f"concatenated_seed{config.seed}.json").unlink(missing_ok=True)
    write_result(session.folder, result)
    # best.pt is the model; a finished run does not go on
    (session.folder / LAST).unlink(missing_ok=True)
    return result


def common_results(session: Session) -> dict[str, Any]:
    """What every run keeps: its settings, where it took place, how long, and how it validated."""
    return {
        "config": session.config.to_dict(),
        "environment": {**environment(session.device), "processes": num_processes()},
        "seconds": session.epoch_seconds[-1],
        "epoch_seconds": session.epoch_seconds,
        "stopped_early": session.stopped_early,
        "validation": session.validation_history(),
    }


def test(session: Session, epoch: int) -> dict[str, float]:
    """Evaluate the models on the test classes; keep embeddings, some retrievals and the tree.

    Returns:
        The metrics, e.g. ``precision_at_1_level0``.
    """
    models, split = session.trainer.models, session.split
    searched = "test" if split.gallery is None else "gallery"
    images = {**session.images("test"), **session.images(searched)}
    accuracies = session.tester.test(
        images, epoch, models["trunk"], models["embedder"], [("test", [searched])]
    )
    arrays: dict[str, np.ndarray] = {}
    for part, dataset in images.items():
        embeddings, _ = session.tester.get_all_embeddings(
            dataset, models["trunk"], models["embedder"]
        )
        arrays[f"{part}_embeddings"] = embeddings.cpu().numpy()
        arrays[f"{part}_indices"] = getattr(split, part)
        arrays[f"{part}_labels"] = session.data.labels[getattr(split, part)]
    write_arrays(session.folder / TEST_FILE, arrays)
    keep_retrievals(session.data, arrays, session.folder)
    keep_tree(session.data, split.train, session.loss, session.folder, session.update_superclasses)
    return {key: value for key, value in accuracies["test"].items() if key != "epoch"}
