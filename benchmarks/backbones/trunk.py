"""A backbone that is trained."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from PIL import Image
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from .backbone import Backbone


class Trunk(nn.Module):
    """A network without head, whose batch normalisation may stay as it is.

    Arguments:
        network: maps ``(B, 3, height, width)`` to ``(B, features)``.
        out_features: how many.
        frozen_batch_norm: its batch normalisation keeps its statistics, even after ``train()``, and
            its scales and shifts get no gradient.
    """

    def __init__(self, network: nn.Module, out_features: int, frozen_batch_norm: bool) -> None:
        super().__init__()
        self.network = network
        self.out_features = out_features
        self.frozen_batch_norm = frozen_batch_norm
        if frozen_batch_norm:
            for layer in batch_norms(network):
                layer.requires_grad_(False)
        self.train()

    def forward(self, pictures: torch.Tensor) -> torch.Tensor:
        features: torch.Tensor = self.network(pictures)
        return features

    def train(self, mode: bool = True) -> Trunk:
        """As for any module, except what is frozen: PML's trainers call this before every epoch."""
        super().train(mode)
        if self.frozen_batch_norm:
            for layer in batch_norms(self.network):
                layer.eval()
        return self


def batch_norms(network: nn.Module) -> Iterator[_BatchNorm]:
    """Every layer of batch normalisation, in any number of dimensions."""
    return (module for module in network.modules() if isinstance(module, _BatchNorm))


def build_network(backbone: Backbone) -> tuple[nn.Module, int]:
    """A backbone's network in eval mode, and how many features it gives for a picture.

    Raises:
        OSError: if its weights cannot be downloaded.
        ValueError: if its weights do not fit, or the network does not take what the transform
            makes of a picture.
    """
    network = backbone.build().eval()
    pictures = backbone.transform(Image.new("RGB", (64, 64)))[None]
    shape = "x".join(map(str, pictures.shape[1:]))
    try:
        with torch.no_grad():
            features = network(pictures)
    except (RuntimeError, ValueError, AssertionError) as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise ValueError(
            f"the backbone {backbone.name} does not take pictures of {shape} ({reason}): choose "
            "another --crop"
        ) from error
    if not torch.is_tensor(features) or features.ndim != 2:
        got = tuple(features.shape) if torch.is_tensor(features) else type(features).__name__
        raise ValueError(f"the backbone {backbone.name} gives no vector per picture, but {got}")
    return network, features.shape[1]


def build_trunk(backbone: Backbone) -> Trunk:
    """The network of a backbone, to be trained; a random start draws from the global generator.

    Raises:
        OSError, ValueError: see :func:`build_network`.
    """
    network, out_features = build_network(backbone)
    return Trunk(network, out_features, backbone.frozen_batch_norm)
