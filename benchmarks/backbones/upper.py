"""The two parts of a network with a cut, with its weights."""

from __future__ import annotations

import torch
from PIL import Image
from torch import nn

from .backbone import Backbone
from .cut import check_split, split_at
from .extraction import START_SEED
from .trunk import Trunk, build_network


def build_parts(backbone: Backbone) -> tuple[nn.Module, nn.Module, int]:
    """The frozen part below the cut, the part above it, and how many features the latter gives.

    They are the same every time, even if the network starts at random, so that activations of the
    lower part can be kept. The global random numbers stay as they are.

    Raises:
        OSError, ValueError: see :func:`~benchmarks.backbones.trunk.build_network`; a
            ``ValueError`` also if the network cannot be cut there.
    """
    assert backbone.cut is not None
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(START_SEED)
        network, out_features = build_network(backbone)
        lower, upper = split_at(network, backbone.cut)
        noise = torch.rand(3, *backbone.transform(Image.new("RGB", (64, 64))).shape)
        check_split(network.eval(), lower.eval(), upper.eval(), noise, backbone.cut)
    return lower, upper, out_features


def build_upper(backbone: Backbone) -> Trunk:
    """The part above the cut, to be trained on activations in front of it.

    Raises:
        OSError, ValueError: see :func:`build_parts`.
    """
    _, upper, out_features = build_parts(backbone)
    upper = upper.to(memory_format=torch.channels_last)  # halves a training step on a CPU
    return Trunk(upper, out_features, backbone.frozen_batch_norm)
