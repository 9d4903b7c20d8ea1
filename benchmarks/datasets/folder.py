"""A folder of one's own: ``superclass/.../class/image``."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

from torchvision.datasets.folder import IMG_EXTENSIONS

from benchmarks.datasets.layout import Layout
from benchmarks.datasets.photographs import Photographs, list_photographs

LAYOUT = Layout(
    name="folder",
    required=(),
    tree="""
    SUPERCLASS/CLASS/IMAGE.jpg, or as many superclasses above it as you like, everywhere as many
""",
    source=f"Images end in {', '.join(IMG_EXTENSIONS)}; other files are not looked at",
)


def find_images(root: Path) -> list[Path]:
    """The images below a folder, links followed, hidden files and folders not looked at."""
    found = []
    for folder, folders, names in os.walk(root, followlinks=True):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        found += [
            Path(folder, name)
            for name in sorted(names)
            if name.lower().endswith(IMG_EXTENSIONS) and not name.startswith(".")
        ]
    return found


def list_folder(data_root: Path | None) -> Photographs:
    """One level per folder on the way to an image; the classes are shuffled and halved.

    Raises:
        FileNotFoundError: if there is no such folder, or no image in it.
        ValueError: if images lie at different depths, or beside the classes.
    """
    root = LAYOUT.given(data_root)
    files = find_images(root)
    if not files:
        raise FileNotFoundError(f"there is no image in {root}. {LAYOUT.expected}")
    paths = [file.relative_to(root).parts[:-1] for file in files]
    shallowest = min(range(len(files)), key=lambda i: len(paths[i]))
    deepest = max(range(len(files)), key=lambda i: len(paths[i]))
    if not paths[shallowest]:
        raise ValueError(f"the image {files[shallowest]} is in no class. {LAYOUT.expected}")
    if len(paths[shallowest]) != len(paths[deepest]):
        raise ValueError(
            f"{files[shallowest]} lies {len(paths[shallowest])} folders deep in {root}, but "
            f"{files[deepest]} {len(paths[deepest])}. {LAYOUT.expected}"
        )
    superclasses = [f"superclass {level}" for level in range(1, len(paths[0]))]
    photographs = list_photographs("folder", root, files, paths, ("class", *superclasses))
    return replace(photographs, changing=True)
