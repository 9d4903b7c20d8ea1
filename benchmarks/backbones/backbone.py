"""A network together with what pictures go through before it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from PIL import Image
from torch import nn

from .choice import VIEWS

Transform = Callable[[Image.Image], torch.Tensor]


@dataclass(frozen=True)
class Backbone:
    """A network that turns pictures into features, and what the pictures go through before it.

    Attributes:
        name: of the architecture and its weights; features are cached under it.
        transform: from an RGB picture to the ``float32`` tensor that the network takes.
        build: loads the network, which maps ``(B, 3, height, width)`` to ``(B, features)``. It is
            called only when features are not cached yet, or to train the network.
        training_transform: the same with random crops, for a network that is trained;
            ``transform`` by default.
        trained: whether the network is trained. If not, its features are computed once.
        frozen_batch_norm: whether a trained network keeps its batch normalisation as it is.
        cut: the name of the module that is the first to be trained; ``None`` for the whole network.
        views: how many random crops of each picture a network with a cut is trained on.
    """

    name: str
    transform: Transform
    build: Callable[[], nn.Module]
    training_transform: Transform | None = None
    trained: bool = False
    frozen_batch_norm: bool = True
    cut: str | None = None
    views: int = VIEWS
