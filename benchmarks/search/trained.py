"""The model of a finished run, built again from the files in its folder."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from pml_hierarchical import Hierarchy
from pml_hierarchical.core.level_losses import layout_of
from pml_hierarchical.losses import HierarchicalProxyLoss
from pml_hierarchical.search import RetrievalModel

from ..backbones import DEFAULT, BackboneChoice, find_backbone
from ..backbones.extraction import build_frozen
from ..datasets import DATASETS
from ..files import read_json
from ..losses import LossSpec, find_loss
from ..run_config import RESULT_FILE
from ..training.checkpoints import BEST, read_checkpoint
from ..training.tree import read_classes
from .architecture import (
    describe_linear,
    describe_transform,
    describe_trunk,
    has_drawings,
    renamed,
)

RESULT = {
    "config": {
        "dataset": str,
        "loss": str,
        "loss_settings": dict,
        "seed": int,
        "training": {"embedding_size": int},
    },
    "test": dict,
    "best_epoch": int,
}


def model_of_run(folder: Path) -> RetrievalModel:
    """The best model of a finished run.

    Arguments:
        folder: of the run, such as ``runs/glyphs/hpl-proxy_anchor/seed0_fold0``.

    Raises:
        FileNotFoundError: if it is not a finished run's folder, or a file of it is missing.
        OSError: if the checkpoint is damaged, or weights of a frozen network are not there.
        ValueError: if a file is damaged, or the network cannot be described.
    """
    if not (folder / RESULT_FILE).is_file() or not (folder / BEST).is_file():
        raise FileNotFoundError(
            f"{folder} is not the folder of a finished run, which has {RESULT_FILE} and {BEST}: "
            "give one such as runs/DATASET/LOSS/seed0_fold0"
        )
    result = read_json(folder / RESULT_FILE, RESULT)
    config, checkpoint = result["config"], read_checkpoint(folder / BEST)
    if config["dataset"] not in DATASETS:
        raise ValueError(
            f"{folder} belongs to a data set {config['dataset']!r}, which is not known here"
        )
    tree, spec = read_classes(folder), _spec(config)
    loss = spec.build(tree.num_classes, config["training"]["embedding_size"], tree, config["seed"])
    try:
        loss.load_state_dict(checkpoint["loss_funcs"]["metric_loss"])
    except (RuntimeError, ValueError) as error:
        raise ValueError(f"{folder}: the loss does not fit its settings ({error})") from error
    about = {**config, "test": result["test"], "best_epoch": result["best_epoch"]}
    return trained_model(
        config["dataset"],
        BackboneChoice(**config.get("backbone", {})),
        checkpoint["models"],
        spec,
        loss,
        tree,
        about,
    )


def trained_model(
    dataset: str,
    backbone: BackboneChoice,
    states: Mapping[str, Mapping[str, torch.Tensor]],
    spec: LossSpec,
    loss: torch.nn.Module,
    tree: Hierarchy,
    about: Any,
    class_means: torch.Tensor | None = None,
) -> RetrievalModel:
    """What a training run leaves, put together.

    Arguments:
        dataset: a name in ``DATASETS``.
        backbone: the network of its pictures.
        states: state dicts of ``trunk`` (empty for frozen features, the part above a cut) and
            ``embedder``.
        spec: of the loss.
        loss: as trained.
        tree: the given tree of the trained classes, with names.
        about: plain values for people.
        class_means: stand for the classes, ``(C, embedding_size)``; by default the proxies of the
            loss, if it has any.

    Raises:
        OSError: if the weights of a frozen network are not there.
        ValueError: if the states do not fit the network.
    """
    choice = backbone
    if choice.name == DEFAULT:
        choice = replace(choice, name=DATASETS[dataset].default_backbone)
    architecture = [describe_trunk(choice), describe_linear(states["embedder"])]
    trunk = _whole_trunk(choice, states["trunk"])
    proxies = class_means
    if proxies is None and spec.has_proxies:
        proxies = class_vectors(loss, tree.num_classes)
    return RetrievalModel(
        architecture,
        describe_transform(choice, has_drawings(dataset)),
        () if proxies is None else tree.names[0],  # type: ignore[index, arg-type]
        () if proxies is None else proxies,
        None if proxies is None else tree_to_search(loss, tree),
        renamed(architecture, trunk, states["embedder"]),
        about,
    )


def _whole_trunk(
    choice: BackboneChoice, trained: Mapping[str, torch.Tensor]
) -> Mapping[str, torch.Tensor]:
    """The weights of a network that was trained as a whole, above a cut, or not at all."""
    if trained and choice.cut is None:
        return trained
    whole: dict[str, torch.Tensor] = build_frozen(find_backbone(choice)).state_dict()
    upper = {key.removeprefix("network."): tensor for key, tensor in trained.items()}
    unknown = [key for key in upper if key not in whole]
    if unknown:
        raise ValueError(
            f"the trained part has weights {unknown[0]!r}, which {choice.name} does not have: they "
            "are from another network, or from another version of its package"
        )
    return whole | upper


def class_vectors(loss: torch.nn.Module, num_classes: int) -> torch.Tensor:
    """A vector for each class of a proxy loss, ``(num_classes, embedding_size)``."""
    if isinstance(loss, HierarchicalProxyLoss):
        return loss.class_vectors()
    layout = layout_of(type(loss)).of(loss, num_classes)
    return layout.class_vectors(getattr(loss, layout.attribute))


def tree_to_search(loss: torch.nn.Module, tree: Hierarchy) -> Hierarchy | None:
    """The tree of a hierarchical loss, or for a flat one the given tree, if it has superclasses.

    The levels that were given have the names of ``tree``; discovered ones have none.
    """
    if not isinstance(loss, HierarchicalProxyLoss) or loss.hierarchy is None:
        return tree if tree.num_levels > 1 else None
    found, given = loss.hierarchy.class_labels, tree.class_labels
    levels = [
        [level for level in range(tree.num_levels) if np.array_equal(given[:, level], column)]
        for column in found.T
    ]
    return Hierarchy(
        found, [tree.names[same[0]] if same and tree.names else None for same in levels]
    )


def _spec(config: dict[str, Any]) -> LossSpec:
    settings = {k: v for k, v in config["loss_settings"].items() if k != "clusterer"}
    return find_loss(config["loss"]).with_settings(settings)
