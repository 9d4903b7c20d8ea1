"""The networks of ``timm``, without their heads."""

from __future__ import annotations

import importlib
from difflib import get_close_matches
from functools import partial
from typing import Any

from torch import nn
from torchvision.transforms import InterpolationMode

from .backbone import Backbone
from .choice import PRETRAINED, RANDOM, BackboneChoice
from .preparation import CROP, Preparation
from .weights import download_error, load_weights, weights_name

PREFIX = "timm:"
INTERPOLATIONS = {"bilinear": InterpolationMode.BILINEAR, "bicubic": InterpolationMode.BICUBIC}


def _timm() -> Any:
    """The package, which nothing else here needs.

    Raises:
        ValueError: if it is not installed.
    """
    try:
        return importlib.import_module("timm")
    except ImportError as error:
        raise ValueError(
            f"the backbones {PREFIX}MODEL need the package timm ({error}): pip install timm"
        ) from error


def find_settings(model: str) -> Any:
    """What timm knows about a model: its input, and where its weights are.

    Raises:
        ValueError: for an unknown model or tag.
    """
    timm = _timm()
    architecture, _, tag = model.partition(".")
    if not timm.is_model(architecture):
        matches = get_close_matches(architecture, timm.list_models(), n=3)
        meant = f" Did you mean {', '.join(matches)}?" if matches else ""
        raise ValueError(f"timm has no network {architecture!r}.{meant} All: timm.list_models()")
    tags = [name.partition(".")[2] for name in timm.list_pretrained(f"{architecture}.*")]
    if tag and tag not in tags:
        raise ValueError(
            f"timm's {architecture} has no weights {tag!r}. It has {', '.join(tags) or 'none'}"
        )
    return timm.get_pretrained_cfg(model)


def find_timm(choice: BackboneChoice, model: str, flip: bool) -> Backbone:
    """A network of timm; nothing is downloaded or built yet.

    Arguments:
        choice: its weights and crop.
        model: its name in timm, with a tag or without.
        flip: see :class:`Preparation`.

    Raises:
        FileNotFoundError: if the file of the weights is not there.
        ValueError: if timm is missing, for an unknown model or tag, one without weights, or a size
            that it does not take.
    """
    settings = find_settings(model)
    if choice.weights == PRETRAINED and not settings.has_weights:
        raise ValueError(
            f"timm has no weights for {model}: --weights FILE or --weights {RANDOM} (at random)"
        )
    preparation = Preparation(
        _size(choice, model, settings),
        tuple(settings.mean),
        tuple(settings.std),
        INTERPOLATIONS[settings.interpolation],
        flip,
    )
    weights = weights_name(choice.weights, settings.tag or settings.hf_hub_id or PRETRAINED)
    return Backbone(
        name=f"{PREFIX}{settings.architecture}/{weights}",
        transform=preparation.evaluation(),
        build=partial(build_timm, model, choice.weights),
        training_transform=preparation.training(),
    )


def _size(choice: BackboneChoice, model: str, settings: Any) -> int:
    channels, height, width = settings.input_size
    if channels != 3 or height != width:
        raise ValueError(f"{model} takes {channels} x {height} x {width}, not square RGB pictures")
    if not settings.fixed_input_size:
        return CROP if choice.crop is None else choice.crop
    if choice.crop not in (None, height):
        raise ValueError(f"{model} takes pictures of {height} only: leave --crop {choice.crop} out")
    return int(height)


def build_timm(model: str, weights: str) -> nn.Module:
    """A network without its head; it maps ``(B, 3, size, size)`` to ``(B, features)``.

    Arguments:
        model: its name in timm.
        weights: as in :class:`~benchmarks.backbones.BackboneChoice`.

    Raises:
        OSError: if the weights cannot be downloaded.
        ValueError: if a file of weights does not fit.
    """
    timm = _timm()
    try:
        network: nn.Module = timm.create_model(
            model, pretrained=weights == PRETRAINED, num_classes=0
        )
    except Exception as error:  # the hub's client has errors of its own
        if weights != PRETRAINED:
            raise
        settings = find_settings(model)
        source = f"huggingface.co/{settings.hf_hub_id}" if settings.hf_hub_id else settings.url
        remedy = "copy the folder of the Hugging Face cache (HF_HOME)"
        raise download_error(PREFIX + model, source, remedy, error) from error
    if weights in (PRETRAINED, RANDOM):
        return network
    head = find_settings(model).classifier or ()
    return load_weights(network, weights, (head,) if isinstance(head, str) else tuple(head))
