"""The features of pictures from a network that is not trained."""

from __future__ import annotations

import numpy as np
import torch
from torch import nn
from torch.utils.data import DataLoader, Dataset
from tqdm import tqdm

from .backbone import Backbone
from .trunk import build_network

START_SEED = 0  # of networks that start at random, so that features can be kept and continued


def extract_features(
    images: Dataset[torch.Tensor],
    model: nn.Module,
    batch_size: int = 8,
    device: torch.device | str = "cpu",
    workers: int = 0,
) -> np.ndarray:
    """The features of every image, in order, with a progress bar.

    Arguments:
        images: items are ``float32`` tensors of shape ``(3, height, width)``, all of one shape.
        model: maps a batch of them to ``(B, features)``. It is moved to ``device`` and put into
            eval mode.
        batch_size: on a CPU small batches are up to twice as fast as large ones, since what the
            layers pass on stays in its cache.
        device: where the model runs.
        workers: processes that load the images; 0 for none but this one.

    Returns:
        ``float32`` of shape ``(N, features)``.
    """
    model = model.to(device).eval()
    batches = DataLoader(images, batch_size=batch_size, num_workers=workers)
    features: np.ndarray | None = None
    done = 0
    with (
        torch.no_grad(),
        tqdm(desc="frozen features", unit="image", total=len(images)) as bar,  # type: ignore[arg-type]
    ):
        for batch in batches:
            part = model(batch.to(device)).float().cpu().numpy()
            if features is None:
                features = np.empty((len(images), part.shape[1]), np.float32)  # type: ignore[arg-type]
            features[done : done + len(part)] = part
            done += len(part)
            bar.update(len(part))
    if features is None:
        raise ValueError("there are no images to compute the features of")
    return features


def build_frozen(backbone: Backbone) -> nn.Module:
    """A network for features: the same every time, even if it starts at random.

    The global random numbers stay as they are.

    Raises:
        OSError, ValueError: see :func:`~benchmarks.backbones.trunk.build_network`.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(START_SEED)
        return build_network(backbone)[0]
