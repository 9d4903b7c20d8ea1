"""From a person's choice to the network."""

from __future__ import annotations

from dataclasses import replace
from difflib import get_close_matches

import torch

from .backbone import Backbone
from .blocks import blocks_of, listed, possible_blocks
from .choice import DEFAULT, EFFICIENTNET_LITE0_NAME, FROZEN, GLYPH, RANDOM, BackboneChoice
from .cut import split_at
from .lite0 import find_lite0
from .timm_models import PREFIX as TIMM
from .timm_models import find_timm
from .torchvision_models import PREFIX as TORCHVISION
from .torchvision_models import find_torchvision, torchvision_names


def find_backbone(choice: BackboneChoice, flip: bool = True) -> Backbone:
    """The network, its transforms and weights; nothing is downloaded or built yet.

    Pictures are cropped to 227 as in the paper. Exceptions: EfficientNet-Lite0 takes 160, and
    networks that are made for one size (vision transformers) that size.

    Arguments:
        choice: ``"default"`` is EfficientNet-Lite0. ``"glyph"`` is none of these: see
            :func:`benchmarks.models.build_models`.
        flip: whether pictures may be mirrored in training.

    Raises:
        FileNotFoundError: if a file of weights is not there.
        ValueError: for an unknown network (with the nearest names), a missing ``timm``, weights
            that do not exist, or a crop that the network does not take.
    """
    source, colon, model = choice.name.partition(":")
    if choice.name in (DEFAULT, EFFICIENTNET_LITE0_NAME):
        backbone = find_lite0(choice, flip)
    elif source + colon == TORCHVISION:
        backbone = find_torchvision(choice, model, flip)
    elif source + colon == TIMM:
        backbone = find_timm(choice, model, flip)
    else:
        raise _unknown(choice.name)
    return replace(
        backbone,
        trained=choice.trained,
        frozen_batch_norm=choice.batch_norm == FROZEN,
        cut=choice.cut if backbone.cut is None else backbone.cut,
        views=choice.views,
    )


def check_cut(choice: BackboneChoice) -> None:
    """Check that a network has the block of a choice and can be cut there, without its weights.

    Raises:
        ValueError: with the blocks that there are, or with the reason.
    """
    plain = replace(choice, weights=RANDOM, trained=False, batch_norm=FROZEN, cut=None)
    block = find_backbone(choice).cut
    if block is None:
        return
    with torch.random.fork_rng(devices=[]):
        network = find_backbone(plain).build()
    if block not in blocks_of(network):
        possible = listed(possible_blocks(network)) or "none: its blocks cannot be traced"
        raise ValueError(
            f"--train-from {choice.cut}: {choice.name} has no such block. Training can start from "
            f"{possible}"
        )
    split_at(network, block)


def _unknown(name: str) -> ValueError:
    full_names = {model: TORCHVISION + model for model in torchvision_names()}
    full_names |= {own: own for own in (DEFAULT, GLYPH, EFFICIENTNET_LITE0_NAME)}
    matches = get_close_matches(name.partition(":")[2] or name, full_names, n=1)
    meant = f" Did you mean {full_names[matches[0]]!r}?" if matches else ""
    return ValueError(
        f"unknown backbone {name!r}.{meant} Known: {DEFAULT}, {GLYPH}, {EFFICIENTNET_LITE0_NAME}, "
        f"{TORCHVISION}MODEL, {TIMM}MODEL"
    )
