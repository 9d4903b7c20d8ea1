"""CUB-200-2011 (Wah et al., 2011): birds of 200 species, grouped by the last word of their name."""

from __future__ import annotations

from pathlib import Path

from pytorch_metric_learning.datasets import CUB

from .download import Archive
from .layout import Layout
from .photographs import Photographs, list_photographs
from .pml import read_halves, read_list

ARCHIVES = (
    Archive(
        url=CUB.DOWNLOAD_URL,
        filename="CUB_200_2011.tgz",
        provides="CUB_200_2011",
        md5="97eceeb196236b17998738112f37df78",
    ),
)

LAYOUT = Layout(
    name="cub",
    required=(
        "CUB_200_2011/images.txt",
        "CUB_200_2011/image_class_labels.txt",
        "CUB_200_2011/images",
    ),
    tree="""
    CUB_200_2011/images.txt                 1 001.Black_footed_Albatross/NAME.jpg
    CUB_200_2011/image_class_labels.txt     1 1
    CUB_200_2011/images/001.Black_footed_Albatross/NAME.jpg
""",
    source=(
        "`describe cub --download` fetches it; or extract CUB_200_2011.tgz of "
        "data.caltech.edu/records/65de6-vp158"
    ),
    places=(".", ".."),
)


def group_of(species: str) -> str:
    """The last word of a species' name.

    Example:
        >>> group_of("001.Black_footed_Albatross")
        'Albatross'
    """
    return species.split(".")[-1].split("_")[-1]


def list_cub(data_root: Path | None) -> Photographs:
    """Species and group; the first 100 species train and the last 100 test, as in PML.

    Raises:
        FileNotFoundError: if the data set is not there.
        ValueError: if its lists cannot be read.
    """
    root = LAYOUT.find(data_root)
    files, _, is_test = read_halves(CUB, root, LAYOUT)
    images, classes = (len(read_list(root / name).splitlines()) for name in LAYOUT.required[:2])
    if images and images != classes:  # PML stops at the end of the shorter list without a word
        raise LAYOUT.unreadable(
            root, ValueError(f"images.txt has {images} lines, image_class_labels.txt {classes}")
        )
    if len(files) != images:  # PML leaves such images out without a word
        without = f"{images - len(files)} of {images} images have no class of 1 to 200"
        raise LAYOUT.unreadable(
            root, ValueError(f"{without} in the same line of image_class_labels.txt")
        )
    species = [file.parent.name for file in files]
    paths = [(group_of(name), name) for name in species]
    return list_photographs("cub", root, files, paths, ("species", "group"), test_half=is_test)
