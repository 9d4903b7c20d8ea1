"""Whether a loss can be trained as it was asked for, found out before any training."""

from __future__ import annotations

import math

import torch

from pml_hierarchical import Hierarchy

from .losses import LossSpec
from .run_config import RunConfig


def check_loss(run: RunConfig, tree: Hierarchy) -> None:
    """Build a loss and compute it once: most of PML's classes do not check values when built.

    Arguments:
        run: with the loss and the size of its batches.
        tree: of the classes that are trained on.

    Raises:
        ValueError: with the loss and what it says; or if there is one class alone.
    """
    if tree.num_classes < 2:
        raise ValueError("there is one class to train on, and training needs two: add classes")
    check_tree(run.loss, tree)
    if not run.loss.has_proxies and run.settings.samples_per_class < 2:
        raise ValueError(
            f"{run.loss.name} compares images of the same class, and with samples_per_class="
            f"{run.settings.samples_per_class} no batch has two: set it to at least 2"
        )
    # what follows draws the same numbers as without it, and no step of the training is counted
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        try:
            value = _computed_once(run, tree)
        except Exception as error:  # what the losses of PML raise is not documented
            raise ValueError(f"the settings of {run.loss.name}: {error}") from error
    if not math.isfinite(value):
        raise ValueError(f"the settings of {run.loss.name} make a loss of {value}")


def check_tree(loss: LossSpec, tree: Hierarchy) -> None:
    """Refuse a hierarchical loss that would have only the fine level.

    Arguments:
        loss: of any kind.
        tree: of the classes that are trained on.

    Raises:
        ValueError: with a loss that can be trained on them.
    """
    if loss.hierarchy in ("given", "mixed") and tree.num_levels == 1:
        raise ValueError(
            f"{loss.name} needs superclasses, and the classes that are trained on have none (or "
            f"each superclass holds one class, or one holds all): use hpl:{loss.base}"
        )
    wanted = loss.hpl_arguments.get("num_superclasses")
    if loss.hierarchy == "discovered" and wanted in (None, "auto") and tree.num_classes < 3:
        raise ValueError(
            f"{loss.name} discovers superclasses of 3 classes or more, and "
            f"{tree.num_classes} are trained on: add classes, or use {loss.base}"
        )


def _computed_once(run: RunConfig, tree: Hierarchy) -> float:
    """The loss of a batch of random embeddings."""
    settings = run.settings
    loss = run.loss.build(tree.num_classes, settings.embedding_size, tree, run.seed)
    miner = run.loss.build_miner()
    classes = settings.images_per_batch(tree.num_classes) // settings.samples_per_class
    labels = torch.arange(classes).repeat_interleave(settings.samples_per_class)
    embeddings = torch.randn(len(labels), settings.embedding_size)
    mined = () if miner is None else (miner(embeddings, labels),)
    return float(loss(embeddings, labels, *mined))
