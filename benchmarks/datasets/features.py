"""Photographs as features of a frozen network."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch.utils.data import Dataset

from benchmarks.backbones import EFFICIENTNET_LITE0, Backbone, extract_features
from benchmarks.cache import cached_arrays, fingerprint
from benchmarks.datasets.base import RetrievalData
from benchmarks.datasets.broken import open_photograph
from benchmarks.datasets.photographs import Photographs, usable

FILES_PER_BLOCK = 10_000  # kept on disk block by block: an interruption costs minutes, not hours


class _Images(Dataset[torch.Tensor]):
    def __init__(self, files: Sequence[Path], backbone: Backbone) -> None:
        self.files = files
        self.backbone = backbone

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, i: int) -> torch.Tensor:
        return self.backbone.transform(open_photograph(self.files[i]))


def frozen_features(
    photographs: Photographs, backbone: Backbone, batch_size: int, cache_dir: Path | None
) -> np.ndarray:
    """``float32`` of shape ``(N, features)``, computed on first use and cached block by block."""
    features: np.ndarray | None = None
    for start in range(0, len(photographs.files), FILES_PER_BLOCK):
        files = photographs.files[start : start + FILES_PER_BLOCK]
        key = {
            "backbone": backbone.name,
            "transform": repr(backbone.transform),
            "files": fingerprint(files, photographs.root, photographs.changing),
        }

        def compute(files: Sequence[Path] = files) -> dict[str, np.ndarray]:
            images = _Images(files, backbone)
            return {"features": extract_features(images, backbone.build(), batch_size)}

        block = cached_arrays(photographs.name, key, compute, cache_dir)["features"]
        if features is None:
            features = np.empty((len(photographs.files), block.shape[1]), np.float32)
        features[start : start + len(block)] = block
    assert features is not None
    return features


def load_photographs(
    photographs: Photographs,
    skip_broken: bool = False,
    cache_dir: Path | None = None,
    backbone: Backbone = EFFICIENTNET_LITE0,
    batch_size: int = 8,
) -> RetrievalData:
    """The photographs as features of a frozen network.

    Arguments:
        photographs: as the data set's lists say.
        skip_broken: see :func:`usable`.
        cache_dir: where features are kept; ``benchmarks.cache.cache_directory()`` by default.
        backbone: the network. EfficientNet-Lite0 takes about 30 ms an image on one CPU core.
        batch_size: photographs that are in memory and go through the network at a time.

    Returns:
        ``inputs`` of shape ``(N, features)``, ``float32``: not normalised, the network's own.

    Raises:
        OSError: see :func:`usable`.
    """
    photographs = usable(photographs, skip_broken, cache_dir)
    features = frozen_features(photographs, backbone, batch_size, cache_dir)
    return RetrievalData(
        name=photographs.name,
        inputs=torch.from_numpy(features),
        labels=photographs.labels,
        level_names=photographs.level_names,
        class_names=photographs.class_names,
        untrained=features,
        untrained_name="frozen features",
        picture=photographs.picture,
        test_half=photographs.test_half,
        gallery=photographs.gallery,
        left_out=photographs.left_out,
    )
