"""A folder with what the pages about searching name: photos, a model, a gallery and a query."""

from __future__ import annotations

import shutil
from pathlib import Path

import torch
from PIL import Image

from pml_hierarchical import Hierarchy

COLOURS = {
    "fruit/apple": "red",
    "fruit/pear": "green",
    "dairy/milk": "white",
    "dairy/cream": "beige",
}


def make_workspace(folder: Path) -> None:
    """Write the files; the commands that make the gallery are the program's own."""
    from benchmarks.command_line import main
    from pml_hierarchical.search import RetrievalModel

    photos = folder / "photos"
    for name, colour in COLOURS.items():
        (photos / name).mkdir(parents=True)
        for number in range(2):
            Image.new("RGB", (32, 32 + number), colour).save(photos / name / f"{number}.jpg")
    for path in (photos / "a.jpg", photos / "b.jpg", folder / "query.jpg"):
        Image.new("RGB", (32, 32), "orange").save(path)
    steps = [{"builder": "torchvision.transforms.Resize", "arguments": {"size": [4, 4]}}]
    model = RetrievalModel(
        [{"builder": "torch.nn.Flatten"}],
        [*steps, {"builder": "torchvision.transforms.ToTensor"}],
        list(COLOURS),
        torch.rand(len(COLOURS), 48),
        Hierarchy.from_paths(list(COLOURS)),
    )
    model.save(folder / "model")
    for gallery in ("", "-flat"):
        made = str(folder / f"made{gallery}"), str(folder / f"gallery{gallery}")
        assert main(["embed", str(folder / "model"), str(photos), "--out", made[0]]) == 0
        assert main(["index", made[0], "--out", made[1]]) == 0
        shutil.rmtree(made[0])
