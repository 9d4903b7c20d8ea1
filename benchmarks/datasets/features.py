"""Pictures as a backbone sees them: features of a frozen one, or crops for one that is trained."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import torch
from PIL import Image

from pml_hierarchical.search.pictures import READING_VERSION

from ..backbones import (
    EFFICIENTNET_LITE0,
    Backbone,
    Pictures,
    build_trunk,
    extract_features,
)
from ..backbones.extraction import build_frozen
from ..backbones.upper import build_upper
from ..cache import cached_arrays
from .activations import load_activations
from .base import LabelledImages, RetrievalData
from .broken import open_photograph
from .photographs import Photographs, usable

FILES_PER_BLOCK = 10_000  # kept on disk block by block: an interruption costs minutes, not hours
CPU_BATCH_SIZE, GPU_BATCH_SIZE = 8, 128


def _features(
    name: str,
    shown_in: dict[str, Any],
    pictures: Pictures,
    backbone: Backbone,
    device: torch.device | str,
    workers: int,
) -> np.ndarray:
    """The features of pictures, computed on first use; ``shown_in`` tells the pictures apart."""

    def compute() -> dict[str, np.ndarray]:
        network = build_frozen(backbone)
        size = _batch_size_on(device)
        return {"features": extract_features(pictures, network, size, device, workers)}

    key = {"backbone": backbone.name, "transform": repr(backbone.transform), **shown_in}
    return cached_arrays(name, key, compute)["features"]


def _batch_size_on(device: torch.device | str) -> int:
    """How many photographs are in memory and go through the network at a time."""
    return CPU_BATCH_SIZE if torch.device(device).type == "cpu" else GPU_BATCH_SIZE


def frozen_features(
    photographs: Photographs,
    backbone: Backbone,
    device: torch.device | str = "cpu",
    workers: int = 0,
) -> np.ndarray:
    """``float32`` of shape ``(N, features)``, computed on first use and cached block by block."""
    assert photographs.digests is not None
    features: np.ndarray | None = None
    for start in range(0, len(photographs.files), FILES_PER_BLOCK):
        files = photographs.files[start : start + FILES_PER_BLOCK]
        shown_in = _shown_in(photographs.digests[start : start + FILES_PER_BLOCK])
        pictures = Pictures(files, open_photograph, backbone.transform)
        block = _features(photographs.name, shown_in, pictures, backbone, device, workers)
        if features is None:
            features = np.empty((len(photographs.files), block.shape[1]), np.float32)
        features[start : start + len(block)] = block
    assert features is not None
    return features


def _shown_in(digests: np.ndarray) -> dict[str, Any]:
    """Tells photographs from others."""
    return {"files": hashlib.sha256(digests.tobytes()).hexdigest(), "reading": READING_VERSION}


def load_photographs(
    photographs: Photographs,
    skip_broken: bool = False,
    backbone: Backbone = EFFICIENTNET_LITE0,
    device: torch.device | str = "cpu",
    all_train: bool = False,
    workers: int = 0,
) -> RetrievalData:
    """The photographs as features of a frozen network, or for a network that is trained.

    Arguments:
        photographs: as the data set's lists say.
        skip_broken: see :func:`usable`.
        backbone: the network. EfficientNet-Lite0 takes about 30 ms an image on one CPU core.
        device: where features are computed. Those of one device serve the others, too.
        all_train: whether the photographs of the test classes are trained on, too; it matters for
            a network with a cut.
        workers: processes that load the photographs for it; 0 for none but this one.

    Returns:
        ``inputs`` of shape ``(N, features)``, ``float32``: not normalised, the network's own. With
        a network that is trained ``inputs`` are the photographs, opened when asked for, and the
        features are those of its start: what it is compared with. With a cut they are the
        activations in front of it.

    Raises:
        OSError: see :func:`usable`; also if weights cannot be downloaded.
        ValueError: if weights or photographs do not fit the network.
    """
    photographs = usable(photographs, skip_broken)
    assert photographs.digests is not None
    trained = _to_be_trained(
        photographs,
        backbone,
        partial(Pictures, photographs.files, open_photograph),
        _shown_in(photographs.digests),
        all_train,
        device,
        workers,
    )
    features = frozen_features(photographs, backbone, device, workers)
    data = RetrievalData(
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
        content=photographs.content,
    )
    return replace(data, **trained)


def see_drawings(
    data: RetrievalData,
    backbone: Backbone,
    device: torch.device | str = "cpu",
    all_train: bool = False,
    workers: int = 0,
) -> RetrievalData:
    """Drawings in memory as a network for photographs sees them: enlarged, in three equal channels.

    Arguments:
        data: its ``inputs`` are ``uint8`` of shape ``(N, 1, height, width)``.
        backbone: the network.
        device, all_train, workers: see :func:`load_photographs`.

    Returns:
        See :func:`load_photographs`. For a network that is trained, ``untrained`` stays.

    Raises:
        OSError, ValueError: see :func:`load_photographs`.
    """
    assert isinstance(data.inputs, torch.Tensor)
    drawings = data.inputs[:, 0].numpy()
    pictures = partial(Pictures, drawings, open_drawing)
    content = hashlib.sha256(drawings.tobytes()).hexdigest()
    data = replace(data, content=content)
    if backbone.trained:
        shown_in = {"drawings": content}
        trained = _to_be_trained(data, backbone, pictures, shown_in, all_train, device, workers)
        return replace(data, **trained)
    features = _features(
        f"{data.name}-features",
        {"drawings": content},
        pictures(backbone.transform),
        backbone,
        device,
        workers,
    )
    return replace(
        data,
        inputs=torch.from_numpy(features),
        untrained=features,
        untrained_name="frozen features",
    )


def open_drawing(drawing: np.ndarray) -> Image.Image:
    """A drawing, ``uint8`` of shape ``(height, width)``, in RGB."""
    return Image.fromarray(drawing).convert("RGB")


def _to_be_trained(
    images: LabelledImages,
    backbone: Backbone,
    pictures: partial[Pictures],
    shown_in: dict[str, Any],
    all_train: bool,
    device: torch.device | str,
    workers: int,
) -> dict[str, Any]:
    """The attributes of a data set that a network is trained on; none for a frozen one."""
    if not backbone.trained:
        return {}
    if backbone.cut is None:
        inputs: Any = pictures(backbone.transform)
        training: Any = pictures(backbone.training_transform or backbone.transform)
        build = partial(build_trunk, backbone)
    else:
        size = _batch_size_on(device)
        inputs, training = load_activations(
            images, backbone, pictures, shown_in, all_train, size, device, workers
        )
        build = partial(build_upper, backbone)
    return {"inputs": inputs, "training_inputs": training, "build_trunk": build}
