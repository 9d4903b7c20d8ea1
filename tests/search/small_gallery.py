"""A small model without training, and pictures in folders that are named after its classes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from PIL import Image

from pml_hierarchical import Hierarchy
from pml_hierarchical.search import RetrievalModel

COLOURS = {
    "fruit/apple": (200, 20, 20),
    "fruit/pear": (120, 200, 20),
    "dairy/milk": (235, 235, 245),
    "dairy/butter": (240, 220, 90),
}
TRANSFORM = [
    {"builder": "torchvision.transforms.Resize", "arguments": {"size": [4, 4]}},
    {"builder": "torchvision.transforms.ToTensor"},
    {"builder": "torchvision.transforms.Normalize", "arguments": {"mean": [0.5], "std": [0.5]}},
]


def make_model(seed: int = 0, size: int = 6) -> RetrievalModel:
    """A linear network whose proxies are the embeddings of pictures of one colour."""
    torch.manual_seed(seed)
    arguments = {"in_features": 48, "out_features": size}
    layers = [
        {"builder": "torch.nn.Flatten"},
        {"builder": "torch.nn.Linear", "arguments": arguments},
    ]
    weights = {"1.weight": torch.randn(size, 48), "1.bias": torch.randn(size)}
    plain = RetrievalModel(layers, TRANSFORM, weights=weights)
    proxies = plain.embed([Image.new("RGB", (8, 8), colour) for colour in COLOURS.values()])
    tree = Hierarchy.from_paths(list(COLOURS))
    return RetrievalModel(layers, TRANSFORM, list(COLOURS), proxies, tree, weights)


def write_pictures(root: Path, each: int = 3, seed: int = 0) -> list[str]:
    """``each`` noisy pictures per class; returns their paths below ``root``, sorted."""
    random, paths = np.random.default_rng(seed), []
    for name, colour in COLOURS.items():
        (root / name).mkdir(parents=True, exist_ok=True)
        for number in range(each):
            pixels = np.array(colour) + random.integers(-40, 40, (8, 8, 3))
            paths.append(f"{name}/{number}.png")
            Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(root / paths[-1])
    return sorted(paths)
