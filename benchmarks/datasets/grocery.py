"""Grocery Store (Klasson et al., WACV 2019): photographs in three levels, as frozen features."""

from __future__ import annotations

import csv
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch.utils.data import Dataset

from benchmarks.backbones import EFFICIENTNET_LITE0, Backbone, extract_features
from benchmarks.cache import cached_arrays
from benchmarks.datasets.base import RetrievalData

LEVEL_NAMES = ("class", "coarse class", "kind")
LISTS = ("train.txt", "val.txt", "test.txt")


@dataclass(frozen=True)
class Photograph:
    """One line of the lists: a file and its class at every level."""

    file: Path
    class_id: int
    coarse_id: int
    kind: str


class _Images(Dataset[torch.Tensor]):
    def __init__(self, files: list[Path], backbone: Backbone) -> None:
        self.files = files
        self.backbone = backbone

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, i: int) -> torch.Tensor:
        return self.backbone.transform(_open(self.files[i]))


def _open(file: Path) -> Image.Image:
    with Image.open(file) as image:
        return image.convert("RGB")


def find_root(data_root: Path | None) -> Path:
    """The folder that holds the lists, given it or the one above it.

    Raises:
        FileNotFoundError: if there is no such folder, or a list is missing.
    """
    expected = (
        f"Expected a folder with {', '.join(LISTS)}, classes.csv and the photographs "
        "(train/Fruit/Apple/...), or the folder above it: clone "
        "https://github.com/marcusklasson/GroceryStoreDataset and give it as --data-root"
    )
    if data_root is None:
        raise FileNotFoundError(f"the data set grocery needs a --data-root. {expected}")
    for root in (data_root / "dataset", data_root):
        missing = [name for name in (*LISTS, "classes.csv") if not (root / name).is_file()]
        if not missing:
            return root
        if len(missing) <= len(LISTS):
            raise FileNotFoundError(f"{root} has no {', '.join(missing)}. {expected}")
    raise FileNotFoundError(f"no Grocery Store data set in {data_root}. {expected}")


def read_lists(root: Path) -> list[Photograph]:
    """All photographs in the order of the lists.

    The three lists are pooled: they divide the photographs of every class, whereas retrieval is
    tested on classes that were not trained on.

    Raises:
        ValueError: for a line that is not "path, class, coarse class".
        FileNotFoundError: if a photograph is missing.
    """
    photographs = []
    for name in LISTS:
        for number, line in enumerate((root / name).read_text().splitlines(), start=1):
            try:
                path, class_id, coarse_id = (part.strip() for part in line.split(","))
                kind = Path(path).parts[1]
                photographs.append(Photograph(root / path, int(class_id), int(coarse_id), kind))
            except (ValueError, IndexError) as error:
                raise ValueError(
                    f"{root / name}, line {number}: expected 'split/kind/.../image.jpg, class, "
                    f"coarse class', got {line!r}"
                ) from error
    missing = [photograph.file for photograph in photographs if not photograph.file.is_file()]
    if missing:
        raise FileNotFoundError(
            f"{len(missing)} of {len(photographs)} photographs that the lists of {root} name do "
            f"not exist, first {missing[0]}: copy the data set again"
        )
    return photographs


def read_class_names(root: Path) -> tuple[dict[int, str], dict[int, str]]:
    """The names of the classes and of the coarse classes by their numbers, from classes.csv."""
    with (root / "classes.csv").open(newline="") as file:
        rows = list(csv.reader(file))[1:]
    return {int(row[1]): row[0] for row in rows}, {int(row[3]): row[2] for row in rows}


def load_grocery(
    data_root: Path | None,
    cache_dir: Path | None = None,
    backbone: Backbone = EFFICIENTNET_LITE0,
    batch_size: int = 8,
) -> RetrievalData:
    """Load Grocery Store as features of a frozen network, computed on first use and cached.

    Arguments:
        data_root: a clone of github.com/marcusklasson/GroceryStoreDataset, its ``dataset``
            folder, or a folder of the same layout.
        cache_dir: where features are kept; ``benchmarks.cache.cache_directory()`` by default.
        backbone: the network. EfficientNet-Lite0 takes a few minutes on one CPU core.
        batch_size: photographs that go through the network at a time.

    Returns:
        ``inputs`` of shape ``(N, features)``, ``float32``: not normalised, the network's own.

    Raises:
        FileNotFoundError: if a folder, list or photograph is missing; says what is expected.
        ValueError: if a list cannot be read.
    """
    root = find_root(data_root)
    photographs = read_lists(root)
    files = [photograph.file for photograph in photographs]
    key = {
        "backbone": backbone.name,
        "transform": repr(backbone.transform),
        "files": [[file.relative_to(root).as_posix(), file.stat().st_size] for file in files],
    }

    def compute() -> dict[str, np.ndarray]:
        images = _Images(files, backbone)
        return {"features": extract_features(images, backbone.build(), batch_size)}

    features = cached_arrays("grocery", key, compute, cache_dir)["features"]
    ids, classes = np.unique([photo.class_id for photo in photographs], return_inverse=True)
    coarse_ids, coarse = np.unique([photo.coarse_id for photo in photographs], return_inverse=True)
    kind_names, kinds = np.unique([photo.kind for photo in photographs], return_inverse=True)
    class_names, coarse_names = read_class_names(root)
    return RetrievalData(
        name="grocery",
        inputs=torch.from_numpy(features),
        labels=np.stack([classes, coarse, kinds], axis=1).astype(np.int64),
        level_names=LEVEL_NAMES,
        class_names=(
            tuple(class_names[i] for i in ids.tolist()),
            tuple(coarse_names[i] for i in coarse_ids.tolist()),
            tuple(kind_names.tolist()),
        ),
        untrained=features,
        untrained_name="frozen features",
        picture=lambda i: _open(files[i]),
    )
