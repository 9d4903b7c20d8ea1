"""iNaturalist 2018 (Van Horn et al., CVPR 2018): 8,142 species in their taxonomy."""

from __future__ import annotations

import json
from pathlib import Path

from pytorch_metric_learning.datasets import INaturalist2018

from ..wording import counted
from .download import Archive
from .layout import Layout
from .photographs import Photographs, list_photographs
from .pml import read_halves, read_list

RANKS = ("kingdom", "phylum", "class", "order", "family", "genus")  # and the species below
LEVEL_NAMES = ("species", *reversed(RANKS))
_SPLITS_ID = INaturalist2018.SPLITS_URL.split("id=")[-1]

ARCHIVES = (
    Archive(  # the address that needs no page to be clicked through; no checksum is published
        url=f"https://drive.usercontent.google.com/download?id={_SPLITS_ID}&export=download",
        filename="Inat_dataset_splits.zip",
        provides="Inat_dataset_splits",
    ),
    Archive(
        url=INaturalist2018.TRAIN_ANN_URL.replace("train2018", "categories"),
        filename="categories.json.tar.gz",
        provides="categories.json",
    ),
    Archive(
        url=INaturalist2018.TRAIN_ANN_URL,
        filename="train2018.json.tar.gz",
        provides="train2018.json",
        md5="bfa29d89d629cbf04d826a720c0a68b0",
    ),
    Archive(
        url=INaturalist2018.VAL_ANN_URL,
        filename="val2018.json.tar.gz",
        provides="val2018.json",
        md5="f2ed8bfe3e9901cdefceb4e53cd3775d",
    ),
    Archive(
        url=INaturalist2018.IMG_DOWNLOAD_URL,
        filename="train_val2018.tar.gz",
        provides="train_val2018",
        md5="b1c6952ce38f31868cc50ea72d066cc3",
    ),
)

LAYOUT = Layout(
    name="inaturalist",
    required=(
        "categories.json",
        "train2018.json",
        "val2018.json",
        "Inat_dataset_splits/Inaturalist_train_set1.txt",
        "Inat_dataset_splits/Inaturalist_test_set1.txt",
        "train_val2018",
    ),
    tree="""
    categories.json             the names in clear: id, name, genus, family, ..., kingdom
    train2018.json, val2018.json
    Inat_dataset_splits/Inaturalist_train_set1.txt, Inaturalist_test_set1.txt
    train_val2018/Aves/2761/NAME.jpg
""",
    source=(
        "`describe inaturalist --download` fetches it (120 GB); or take the files of 2018 from "
        "github.com/visipedia/inat_comp and the splits from github.com/Andrew-Brown1/Smooth_AP"
    ),
)


def read_taxonomy(file: Path) -> dict[int, tuple[str, ...]]:
    """From the number of a species to its taxonomy, the kingdom first.

    Raises:
        ValueError: if the file is not JSON, or a category lacks a rank.
    """
    try:
        return {
            category["id"]: tuple(_name(category, rank) for rank in (*RANKS, "name"))
            for category in json.loads(read_list(file))
        }
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise ValueError(
            f"{file} cannot be read ({type(error).__name__}: {error}): expected a list of "
            f"categories, each with id, name, {', '.join(RANKS)}. {LAYOUT.expected}"
        ) from error


def _name(category: dict[str, object], rank: str) -> str:
    name = category[rank]
    if not isinstance(name, str):
        raise TypeError(f"category {category['id']} must have a text as its {rank}, got {name!r}")
    return name


def list_inaturalist(data_root: Path | None) -> Photographs:
    """Seven levels from species to kingdom; the halves of the split files that PML reads.

    Raises:
        FileNotFoundError: if the data set is not there.
        ValueError: if its files cannot be read, or a species is not among the categories.
    """
    root = LAYOUT.find(data_root)
    files, species, is_test = read_halves(INaturalist2018, root, LAYOUT)
    taxonomy = read_taxonomy(root / "categories.json")
    unknown = sorted(set(species) - set(taxonomy))
    if unknown:
        raise ValueError(
            f"{root / 'categories.json'} has no category {unknown[0]}, which images are labelled "
            f"with; it lacks {counted(len(unknown), 'category', 'categories')} in all: it is cut "
            f"off or from another year. {LAYOUT.expected}"
        )
    paths = [taxonomy[number] for number in species]
    return list_photographs("inaturalist", root, files, paths, LEVEL_NAMES, test_half=is_test)
