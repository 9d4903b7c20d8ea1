"""Stanford Online Products (Oh Song et al., CVPR 2016): 22,634 products of 12 kinds."""

from __future__ import annotations

from pathlib import Path

from pytorch_metric_learning.datasets import StanfordOnlineProducts

from .download import Archive
from .layout import Layout
from .photographs import Photographs, list_photographs
from .pml import read_halves

FOLDER = "Stanford_Online_Products"

ARCHIVES = (
    Archive(
        url=StanfordOnlineProducts.DOWNLOAD_URL, filename=f"{FOLDER}.zip", provides=FOLDER
    ),  # no checksum is published
)

LAYOUT = Layout(
    name="sop",
    required=(f"{FOLDER}/Ebay_train.txt", f"{FOLDER}/Ebay_test.txt"),
    tree=f"""
    {FOLDER}/Ebay_train.txt     image_id class_id super_class_id path
                                                1 1 1 bicycle_final/111085122871_0.JPG
    {FOLDER}/Ebay_test.txt
    {FOLDER}/bicycle_final/111085122871_0.JPG
""",
    source=(
        f"`describe sop --download` fetches it; or extract {FOLDER}.zip of "
        "cvgl.stanford.edu/projects/lifted_struct"
    ),
    places=(".", ".."),
)


def list_sop(data_root: Path | None) -> Photographs:
    """Product and kind; the data set's own halves.

    Raises:
        FileNotFoundError: if the data set is not there.
        ValueError: if its lists cannot be read.
    """
    root = LAYOUT.find(data_root)
    files, products, is_test = read_halves(StanfordOnlineProducts, root, LAYOUT)
    paths = [
        (file.parent.name.removesuffix("_final"), f"{product:05}")
        for file, product in zip(files, products, strict=True)
    ]
    return list_photographs("sop", root, files, paths, ("product", "kind"), test_half=is_test)
