"""In-Shop Clothes Retrieval (DeepFashion; Liu et al., CVPR 2016): queries and gallery apart."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from pytorch_metric_learning.datasets.base_dataset import BaseDataset

from .layout import Layout
from .photographs import Photographs, list_photographs
from .pml import read_list

LEVEL_NAMES = ("item", "category", "department")
PARTS = ("train", "query", "gallery")

LAYOUT = Layout(
    name="inshop",
    required=("list_eval_partition.txt", "img"),
    tree="""
    list_eval_partition.txt     (or in Eval/)
        52712
        image_name item_id evaluation_status
        img/WOMEN/Dresses/id_00000002/02_1_front.jpg id_00000002 train
    img/WOMEN/Dresses/id_00000002/02_1_front.jpg     (or in Img/img/)
""",
    source=(
        "It cannot be downloaded by a program: ask for it at "
        "mmlab.ie.cuhk.edu.hk/projects/DeepFashion/InShopRetrieval.html, fetch "
        "list_eval_partition.txt and img.zip, and extract the latter"
    ),
)


class InShop(BaseDataset):
    """In-Shop as one of PML's data sets.

    Its splits are ``train``, ``query``, ``gallery`` and ``train+test``, which holds them all. The
    labels are the numbers in the item ids.

    Attributes:
        paths: of the images.
        labels: of the items.
        parts: for each image ``train``, ``query`` or ``gallery``.
    """

    def get_available_splits(self) -> list[str]:
        return [*PARTS, "train+test"]

    def generate_split(self) -> None:
        root = Path(self.root)
        lists = [root / "list_eval_partition.txt", root / "Eval" / "list_eval_partition.txt"]
        file = next((file for file in lists if file.is_file()), lists[0])
        images = root / "Img" if (root / "Img" / "img").is_dir() else root
        self.paths: list[str] = []
        self.labels: list[int] = []
        self.parts: list[str] = []
        for number, line in enumerate(read_list(file).splitlines()[2:], start=3):
            path, item, part = _parse(line, f"{file}, line {number}")
            if self.split in (part, "train+test"):
                self.paths.append(str(images / path))
                self.labels.append(item)
                self.parts.append(part)

    def download_and_remove(self) -> None:
        raise OSError(LAYOUT.source)


def _parse(line: str, where: str) -> tuple[str, int, str]:
    words = line.split()
    try:
        path, item, part = words
        if part not in PARTS or len(Path(path).parts) != 5:
            raise ValueError
        return path, int(item.removeprefix("id_")), part
    except ValueError:
        raise ValueError(
            f"{where}: expected 'img/DEPARTMENT/CATEGORY/id_NUMBER/NAME.jpg id_NUMBER PART' with a "
            f"part of {', '.join(PARTS)}, got {line!r}"
        ) from None


def categories_of(files: Sequence[Path], items: Sequence[int]) -> dict[int, tuple[str, str]]:
    """Department and category of every item: those of most of its images, or the first by name if
    several are equally frequent. Levels nest only if an item has one category.
    """
    counts: dict[int, Counter[tuple[str, str]]] = defaultdict(Counter)
    for file, item in zip(files, items, strict=True):
        department, category = file.parts[-4:-2]
        counts[item][department, category] += 1
    return {
        item: min(of_item, key=lambda category: (-of_item[category], category))
        for item, of_item in counts.items()
    }


def list_inshop(data_root: Path | None) -> Photographs:
    """Item, category and department; trains on ``train``, searches ``query`` in ``gallery``.

    Raises:
        FileNotFoundError: if the data set is not there.
        ValueError: for a line of the list that cannot be read.
    """
    root = LAYOUT.given(data_root)
    places = zip(LAYOUT.required, ("Eval", "Img"), strict=True)
    missing = [
        name
        for name, folder in places
        if not (root / name).exists() and not (root / folder / name).exists()
    ]
    if missing:
        raise FileNotFoundError(f"{root} has no {', '.join(missing)}. {LAYOUT.expected}")
    dataset = InShop(str(root), split="train+test")
    files = [Path(path) for path in dataset.paths]
    category_of = categories_of(files, dataset.labels)
    paths = [
        (department, f"{department}/{category}", f"id_{item:08}")
        for item in dataset.labels
        for department, category in [category_of[item]]
    ]
    parts = np.array(dataset.parts)
    return list_photographs(
        "inshop",
        root,
        files,
        paths,
        LEVEL_NAMES,
        test_half=parts != "train",
        gallery=parts == "gallery",
    )
