"""The classification networks of torchvision, without their heads."""

from __future__ import annotations

from difflib import get_close_matches
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torchvision import models

from .backbone import Backbone
from .choice import PRETRAINED, RANDOM, BackboneChoice
from .preparation import CROP, Preparation
from .weights import download_error, load_weights, weights_name

PREFIX = "torchvision:"
NUM_CLASSES = 1000
ONE_SIZE = ("vit_", "maxvit_")  # their positional parameters are made for one size of pictures
AUXILIARY = ("AuxLogits", "aux1", "aux2")  # further heads of the Inceptions, in their files only


def torchvision_names() -> list[str]:
    """The names of the classification networks."""
    return list(models.list_models(module=models))


def find_torchvision(choice: BackboneChoice, model: str, flip: bool) -> Backbone:
    """A network of torchvision; nothing is downloaded or built yet.

    Arguments:
        choice: its weights and crop.
        model: its name in torchvision.
        flip: see :class:`Preparation`.

    Raises:
        FileNotFoundError: if the file of the weights is not there.
        ValueError: for an unknown model, or a size that it does not take.
    """
    if model not in torchvision_names():
        matches = get_close_matches(model, torchvision_names(), n=3)
        meant = f" Did you mean {', '.join(matches)}?" if matches else ""
        raise ValueError(
            f"torchvision has no classification network {model!r}.{meant} All of them: "
            "torchvision.models.list_models(module=torchvision.models)"
        )
    pretrained = models.get_model_weights(model).DEFAULT
    theirs = pretrained.transforms()
    size = CROP if choice.crop is None else choice.crop
    if model.startswith(ONE_SIZE):
        own = theirs.crop_size[0]
        if choice.crop not in (None, own):
            raise ValueError(f"{model} takes pictures of {own} only: leave --crop {size} out")
        size = own
    preparation = Preparation(
        size, tuple(theirs.mean), tuple(theirs.std), theirs.interpolation, flip
    )
    # the name of the file, resnet50-11ad3fa6.pth, has a part of its checksum
    weights = weights_name(choice.weights, Path(pretrained.url).stem)
    return Backbone(
        name=f"{PREFIX}{model}/{weights}",
        transform=preparation.evaluation(),
        build=partial(build_torchvision, model, choice.weights, size),
        training_transform=preparation.training(),
    )


def build_torchvision(model: str, weights: str, size: int) -> nn.Module:
    """A network without its head; it maps ``(B, 3, size, size)`` to ``(B, features)``.

    Layers between the pooling and the last one (dropout; two linear layers in VGG) are kept.

    Arguments:
        model: its name in torchvision.
        weights: as in :class:`~benchmarks.backbones.BackboneChoice`.
        size: of the pictures.

    Raises:
        OSError: if the weights cannot be downloaded.
        ValueError: if a file of weights does not fit.
    """
    arguments = constructor_arguments(model, size, weights)
    if weights != PRETRAINED:
        network = models.get_model(model, weights=None, **arguments)
    else:
        network = _download(model, arguments)
    head = remove_head(network)
    if weights in (PRETRAINED, RANDOM):
        return network
    return load_weights(network, weights, (head, *AUXILIARY))


def constructor_arguments(model: str, size: int, weights: str) -> dict[str, Any]:
    """What the constructor of a network is given besides its weights.

    Arguments:
        model: its name in torchvision.
        size: of the pictures.
        weights: as in :class:`~benchmarks.backbones.BackboneChoice`.
    """
    arguments: dict[str, Any] = {"image_size": size} if model.startswith("vit_") else {}
    if model in ("googlenet", "inception_v3"):
        # their pretrained weights expect another normalisation, which they then do themselves
        arguments = {"aux_logits": False, "transform_input": True}
        if weights != PRETRAINED:
            # torchvision's own start is slow and announced to change: PyTorch's is used instead
            arguments["init_weights"] = False
    return arguments


def remove_head(network: nn.Module) -> str:
    """Replace the last layer, which gives the 1,000 classes, with one that passes its input on.

    It is the last linear layer in all families but SqueezeNet, where a convolution gives one map
    for each class.

    Returns:
        The name of what was replaced.
    """
    if isinstance(network, models.SqueezeNet):
        network.classifier = nn.AdaptiveAvgPool2d(1)  # the network flattens by itself
        return "classifier"
    name, last = [m for m in network.named_modules() if isinstance(m[1], nn.Linear)][-1]
    assert last.out_features == NUM_CLASSES, name
    network.set_submodule(name, nn.Identity())
    return name


def _download(model: str, arguments: dict[str, Any]) -> nn.Module:
    pretrained = models.get_model_weights(model).DEFAULT
    try:
        return models.get_model(model, weights=pretrained, **arguments)
    # no network (OSError), a file cut short (RuntimeError: invalid hash value)
    except (OSError, RuntimeError) as error:
        folder = Path(torch.hub.get_dir()) / "checkpoints"
        raise download_error(
            PREFIX + model, pretrained.url, f"put them into {folder}", error
        ) from error
