"""A shop of 30 pictures, whose colours say what they show, and two models that see colours."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from pml_hierarchical import Hierarchy
from pml_hierarchical.search import Index, RetrievalModel

COLOURS = {
    "Fruit/Apple": (200, 60, 40),
    "Fruit/Cherry": (150, 10, 30),
    "Fruit/Pear": (190, 200, 60),
    "Vegetables/Cucumber": (60, 140, 50),
    "Vegetables/Lettuce": (130, 200, 80),
    "Dairy/Milk": (235, 235, 225),
}
EACH = 5
TREE = Hierarchy.from_paths(list(COLOURS))
TRANSFORM = [
    {"builder": "torchvision.transforms.Resize", "arguments": {"size": [8, 8]}},
    {"builder": "torchvision.transforms.ToTensor"},
]


@dataclass
class Folders:
    root: Path
    paths: list[str]
    classes: np.ndarray
    model: Path
    flat_model: Path
    gallery: Path
    flat: Path


def make_pictures(root):
    """Writes the pictures; returns their paths and classes."""
    random = np.random.default_rng(0)
    paths = []
    for name, colour in COLOURS.items():
        (root / name).mkdir(parents=True)
        for number in range(EACH):
            noise = random.normal(0, 40, (24, 32, 3)) + random.normal(0, 40, 3)
            pixels = np.clip(np.array(colour) + noise, 0, 255).astype(np.uint8)
            paths.append(f"{name}/{number}.png")
            Image.fromarray(pixels).save(root / paths[-1])
    return paths, np.repeat(np.arange(len(COLOURS)), EACH)


def make_model(folder, pooled):
    """A model whose embedding is the mean colour of ``pooled`` x ``pooled`` parts."""
    layers = [
        {"builder": "torch.nn.AdaptiveAvgPool2d", "arguments": {"output_size": pooled}},
        {"builder": "torch.nn.Flatten"},
    ]
    model = RetrievalModel(layers, TRANSFORM)
    model.save(folder)
    return model


def make_gallery(folder, maker, root, paths, classes=None, hierarchy=None, **about):
    embeddings = maker.embed([root / path for path in paths])
    about = {"root": str(root), "fingerprint": maker.fingerprint} | about
    Index.build(embeddings, paths, classes, hierarchy, **about).save(folder)


def make_galleries(folder):
    root = folder / "pictures"
    paths, classes = make_pictures(root)
    model, flat_model = make_model(folder / "model", 1), make_model(folder / "flat_model", 2)
    make_gallery(folder / "gallery", model, root, paths, classes, TREE)
    make_gallery(folder / "flat", flat_model, root, paths[::-1])  # in another order
    return Folders(
        root,
        paths,
        classes,
        folder / "model",
        folder / "flat_model",
        folder / "gallery",
        folder / "flat",
    )
