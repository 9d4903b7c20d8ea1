"""Grocery Store (Klasson et al., WACV 2019): photographs in three levels, as frozen features."""

from __future__ import annotations

import csv
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..wording import counted
from .broken import open_photograph
from .layout import Layout
from .photographs import Photographs
from .pml import read_list

LEVEL_NAMES = ("class", "coarse class", "kind")
LISTS = ("train.txt", "val.txt", "test.txt")


@dataclass(frozen=True)
class Photograph:
    """One line of the lists: a file and its class at every level."""

    file: Path
    class_id: int
    coarse_id: int
    kind: str


LAYOUT = Layout(
    name="grocery",
    required=(*LISTS, "classes.csv"),
    tree="""
    train.txt, val.txt, test.txt    train/Fruit/Apple/Golden-Delicious/NAME.jpg, 0, 0
    classes.csv
    train/Fruit/Apple/Golden-Delicious/NAME.jpg
  or the folder above, which holds them as dataset/
""",
    source="Clone https://github.com/marcusklasson/GroceryStoreDataset and give its folder",
    places=("dataset", "."),
)


def read_lists(root: Path) -> list[Photograph]:
    """All photographs in the order of the lists.

    The three lists are pooled: they divide the photographs of every class, whereas retrieval is
    tested on classes that were not trained on.

    Raises:
        ValueError: for a line that is not "path, class, coarse class".
    """
    photographs = []
    for name in LISTS:
        for number, line in enumerate(read_list(root / name).splitlines(), start=1):
            try:
                path, class_id, coarse_id = (part.strip() for part in line.split(","))
                kind = Path(path).parts[1]
                photographs.append(Photograph(root / path, int(class_id), int(coarse_id), kind))
            except (ValueError, IndexError) as error:
                raise ValueError(
                    f"{root / name}, line {number}: expected 'split/kind/.../image.jpg, class, "
                    f"coarse class', got {line!r}"
                ) from error
    return photographs


def read_class_names(root: Path) -> tuple[dict[int, str], dict[int, str]]:
    """The names of the classes and of the coarse classes by their numbers, from classes.csv.

    Raises:
        ValueError: if it cannot be read.
    """
    file = root / "classes.csv"
    try:
        rows = list(csv.reader(read_list(file).splitlines()))[1:]
        return {int(row[1]): row[0] for row in rows}, {int(row[3]): row[2] for row in rows}
    except (ValueError, IndexError, csv.Error) as error:
        raise ValueError(
            f"{file} cannot be read ({error}): expected lines of 'class, its number, coarse class, "
            "its number' below a header"
        ) from error


def list_grocery(data_root: Path | None) -> Photographs:
    """Class, coarse class and kind, numbered as in the data set; split by class.

    Raises:
        FileNotFoundError: if a folder or list is missing; says what is expected.
        ValueError: if a list cannot be read.
    """
    root = LAYOUT.find(data_root)
    photographs = read_lists(root)
    files = tuple(photograph.file for photograph in photographs)
    ids, classes = np.unique([photo.class_id for photo in photographs], return_inverse=True)
    coarse_ids, coarse = np.unique([photo.coarse_id for photo in photographs], return_inverse=True)
    kind_names, kinds = np.unique([photo.kind for photo in photographs], return_inverse=True)
    class_names, coarse_names = read_class_names(root)
    unknown = {*ids.tolist()} - {*class_names}, {*coarse_ids.tolist()} - {*coarse_names}
    if not files:
        raise ValueError(f"the lists of the data set grocery in {root} name no image")
    for level, numbers in zip(LEVEL_NAMES, unknown, strict=False):
        if numbers:
            raise ValueError(
                f"{root / 'classes.csv'} has no name for the {level} {min(numbers)}, which images "
                f"are labelled with; it lacks {counted(len(numbers), 'name')} in all: clone the "
                "data set again"
            )
    return Photographs(
        name="grocery",
        labels=np.stack([classes, coarse, kinds], axis=1).astype(np.int64),
        level_names=LEVEL_NAMES,
        class_names=(
            tuple(class_names[i] for i in ids.tolist()),
            tuple(coarse_names[i] for i in coarse_ids.tolist()),
            tuple(kind_names.tolist()),
        ),
        picture=lambda i: open_photograph(files[i]),
        files=files,
        root=root,
    )
