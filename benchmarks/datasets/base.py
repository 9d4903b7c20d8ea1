"""What every data set gives to the benchmark, and how its classes are split."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from PIL import Image

NUM_FOLDS = 4


@dataclass(frozen=True)
class RetrievalData:
    """A data set in memory.

    Attributes:
        name: as in ``--dataset``.
        inputs: what the network sees, one row per image: ``uint8`` pictures of shape
            ``(N, channels, height, width)``, or ``float32`` features of shape ``(N, features)``.
        labels: ``int64`` of shape ``(N, levels)``, column 0 the finest, every level numbered
            without gaps.
        level_names: what a class of each level is, e.g. ``("character", "letter", "script")``.
        class_names: for each level the names of its classes.
        untrained: ``float32`` of shape ``(N, features)``, the embedding that needs no training.
        untrained_name: how the row of ``untrained`` is called in the tables, e.g. "raw pixels".
        picture: the picture of image ``i``, for a person to look at.
    """

    name: str
    inputs: torch.Tensor
    labels: np.ndarray
    level_names: tuple[str, ...]
    class_names: tuple[tuple[str, ...], ...]
    untrained: np.ndarray
    untrained_name: str
    picture: Callable[[int], Image.Image]


@dataclass(frozen=True)
class Split:
    """Indices of the images that train, validate and test. No two parts share a fine class."""

    train: np.ndarray
    val: np.ndarray
    test: np.ndarray


def split_by_class(labels: np.ndarray, fold: int, order_seed: int = 0) -> Split:
    """Cut the fine classes into a training half and a test half, and the former into 4 folds.

    This is the protocol of "A Metric Learning Reality Check" (Musgrave et al., ECCV 2020):
    fold ``fold`` validates and the other three train, while the test half is the same for all
    folds. The classes are shuffled once (by ``order_seed``, never by the training seed), because
    the numbering of the data sets here follows their trees: halves in order would test on other
    superclasses than were trained on.

    Arguments:
        labels: integers of shape ``(N, levels)``; column 0 decides.
        fold: which of the 4 folds of the training half validates.
    """
    if not 0 <= fold < NUM_FOLDS:
        raise ValueError(f"fold must be in 0..{NUM_FOLDS - 1}, got {fold}")
    classes = np.random.default_rng(order_seed).permutation(np.unique(labels[:, 0]))
    half = (len(classes) + 1) // 2
    folds = np.array_split(classes[:half], NUM_FOLDS)
    training = np.concatenate([f for i, f in enumerate(folds) if i != fold])

    def images_of(part: np.ndarray) -> np.ndarray:
        return np.flatnonzero(np.isin(labels[:, 0], part))

    return Split(images_of(training), images_of(folds[fold]), images_of(classes[half:]))
