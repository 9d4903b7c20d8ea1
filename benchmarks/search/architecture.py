"""The suite's networks and transforms as plain values, which ``RetrievalModel`` builds again."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import torch
from torchvision import models, transforms

from pml_hierarchical.search.model import build

from ..backbones import EFFICIENTNET_LITE0_SIZE, GLYPH, BackboneChoice, find_backbone
from ..backbones.choice import EFFICIENTNET_LITE0_NAME, FROZEN, RANDOM
from ..backbones.timm_models import PREFIX as TIMM
from ..backbones.timm_models import find_settings
from ..backbones.torchvision_models import PREFIX as TORCHVISION
from ..backbones.torchvision_models import constructor_arguments, remove_head
from ..datasets import DATASETS
from ..models import GlyphTrunk

Part = dict[str, Any]
DRAWING_SIZE = 32
_ATTRIBUTES: dict[str, tuple[str, ...]] = {
    "Resize": ("size", "interpolation"),
    "CenterCrop": ("size",),
    "ToTensor": (),
    "Normalize": ("mean", "std"),
}


def part(builder: str, **arguments: Any) -> Part:
    """A layer, network or transform as plain values."""
    return {"builder": builder, "arguments": arguments}


def describe_trunk(choice: BackboneChoice) -> Part | list[Part]:
    """The network of a backbone without its weights.

    Arguments:
        choice: with a name other than ``"default"``.
    """
    source, _, model = choice.name.partition(":")
    if choice.name == GLYPH:
        return [_described_layer(layer) for layer in list(GlyphTrunk())[1:]]
    if choice.name == EFFICIENTNET_LITE0_NAME:
        lite0 = part(
            "efficientnet_lite_pytorch.EfficientNet.from_name",
            model_name="efficientnet-lite0",
            image_size=choice.crop or EFFICIENTNET_LITE0_SIZE,
        )
        return lite0 | {"replace": {"_fc": part("torch.nn.Identity")}}
    if source + ":" == TIMM:
        settings = find_settings(model)
        name = ".".join(filter(None, (settings.architecture, settings.tag)))
        return part("timm.create_model", model_name=name, num_classes=0)
    assert source + ":" == TORCHVISION
    (crop,) = (step for step in _steps(choice) if isinstance(step, transforms.CenterCrop))
    arguments = constructor_arguments(model, crop.size[0], RANDOM)
    with torch.device("meta"):
        network = models.get_model(model, weights=None, **arguments)
        head = remove_head(network)
    last = _described_layer(network.get_submodule(head))
    return part("torchvision.models.get_model", name=model, **arguments) | {"replace": {head: last}}


def describe_transform(choice: BackboneChoice, of_drawings: bool) -> list[Part]:
    """What a picture goes through before the network.

    A drawing, black on white as a person sees it, becomes 32 x 32 and white on black, as Omniglot
    is read. The inversion is part of the normalisation: ``((1 - x) - mean) / std`` is
    ``(x - (1 - mean)) / -std``.

    Arguments:
        choice: with a name other than ``"default"``.
        of_drawings: whether the data set has drawings.
    """
    if choice.name == GLYPH:
        steps = [part("torchvision.transforms.ToTensor"), _normalize([0.5], [0.5])]
    else:
        steps = [_described_transform(step) for step in _steps(choice)]
    if not of_drawings:
        return steps
    *others, last = steps
    mean, std = last["arguments"]["mean"], last["arguments"]["std"]
    return [
        part("torchvision.transforms.Grayscale", num_output_channels=len(mean)),
        part("torchvision.transforms.Resize", size=[DRAWING_SIZE] * 2, interpolation="box"),
        *others,
        _normalize([1 - value for value in mean], [-value for value in std]),
    ]


def has_drawings(dataset: str) -> bool:
    """Whether the pictures of a data set are drawings of 32 x 32, white on black in memory."""
    return DATASETS[dataset].default_backbone == GLYPH


def describe_linear(state: Mapping[str, torch.Tensor]) -> Part:
    """The linear layer that makes embeddings from features."""
    out_features, in_features = state["weight"].shape
    return part("torch.nn.Linear", in_features=in_features, out_features=out_features)


def renamed(architecture: Any, *states: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """The weights of the parts of a network by their names in the network that is built of them.

    Arguments:
        architecture: of the network.
        states: of its parts, in their order.

    Raises:
        ValueError: if they are not of such a network.
    """
    tensors = [item for state in states for item in state.items()]
    wanted = build(architecture).state_dict()
    found = dict(zip(wanted, (tensor for _, tensor in tensors), strict=False))
    same_names = all(
        new.rpartition(".")[2] == old.rpartition(".")[2]
        for new, (old, _) in zip(wanted, tensors, strict=False)
    )
    if len(tensors) != len(wanted) or not same_names:
        raise ValueError(
            f"the network has {len(wanted)} tensors, and its weights are {len(tensors)} with other "
            "names: they are from another network, or from another version of its package"
        )
    return found


def _steps(choice: BackboneChoice) -> list[Any]:
    """The transforms before a network, which are the same for all its weights."""
    choice = replace(choice, weights=RANDOM, trained=False, batch_norm=FROZEN, cut=None)
    compose = find_backbone(choice).transform
    assert isinstance(compose, transforms.Compose)
    return list(compose.transforms)


def _normalize(mean: list[float], std: list[float]) -> Part:
    return part("torchvision.transforms.Normalize", mean=mean, std=std)


def _described_transform(step: Any) -> Part:
    name = type(step).__name__
    arguments = {key: getattr(step, key) for key in _ATTRIBUTES[name]}
    if "interpolation" in arguments:
        arguments["interpolation"] = arguments["interpolation"].value
    if isinstance(arguments.get("size"), tuple):
        arguments["size"] = list(arguments["size"])
    return part(f"torchvision.transforms.{name}", **arguments)


def _described_layer(layer: torch.nn.Module) -> Part:
    """A layer of the glyph network, or what replaces a head."""
    name = f"torch.nn.{type(layer).__name__}"
    if isinstance(layer, torch.nn.Conv2d):
        keys = ("in_channels", "out_channels", "kernel_size", "stride", "padding")
        values = {key: getattr(layer, key) for key in keys}
        return part(name, **{k: list(v) if isinstance(v, tuple) else v for k, v in values.items()},
                    bias=layer.bias is not None)  # fmt: skip
    if isinstance(layer, torch.nn.BatchNorm2d):
        return part(name, num_features=layer.num_features)
    if isinstance(layer, torch.nn.AdaptiveAvgPool2d):
        return part(name, output_size=layer.output_size)
    return part(name)
