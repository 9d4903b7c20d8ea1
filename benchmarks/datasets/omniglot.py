"""Omniglot (Lake et al., Science 2015): 1,623 characters of 50 alphabets, 20 drawings of each."""

from __future__ import annotations

import re
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageOps
from torchvision.datasets import Omniglot
from tqdm import tqdm

from pml_hierarchical.search.pictures import read_picture

from ..unreadable import reason_of
from .base import RetrievalData
from .classes import number_classes
from .download import Archive
from .layout import Layout

PICTURE_SIZE = 32
LEVEL_NAMES = ("character", "alphabet")
HALVES = ("images_background", "images_evaluation")  # trains, tests
ZIPS = ("omniglot.zip", *(f"{half}.zip" for half in HALVES))

ARCHIVES = tuple(
    Archive(
        url=f"{Omniglot.download_url_prefix}/{half}.zip",
        filename=f"{half}.zip",
        provides=half,
        md5=Omniglot.zips_md5[half],
    )
    for half in HALVES
)

LAYOUT = Layout(
    name="omniglot",
    zipped=True,
    required=HALVES,
    tree="""
    images_background/Latin/character01/0668_01.png
    images_evaluation/Mongolian/character01/1335_01.png
  or images_background.zip and images_evaluation.zip, or one omniglot.zip with both (not extracted),
  or such a zip itself
""",
    source=(
        "`describe omniglot --download` fetches it; or take the two zips from python/ in "
        "github.com/brendenlake/omniglot"
    ),
)

_DRAWING = re.compile(rf"(?:^|/)({'|'.join(HALVES)})/([^/]+)/([^/]+)/[^/.][^/]*\.png$")


@dataclass(frozen=True)
class Drawing:
    """An image file, not decoded yet."""

    where: str
    is_test: bool
    alphabet: str
    character: str
    content: bytes


def read_drawings(data_root: Path) -> list[Drawing]:
    """All drawings below a folder, or in the zips there, in the order of their paths.

    A drawing that is there twice is read once: a copy would be its nearest neighbour.

    Raises:
        FileNotFoundError: if one of the halves is not there.
        ValueError: if a zip cannot be read.
    """
    by_name: dict[str, Drawing] = {}
    for where, content in _files(data_root):
        match = _DRAWING.search(where)
        if match:
            half, alphabet, character = match.groups()
            drawing = Drawing(where, half == HALVES[1], alphabet, character, content)
            by_name.setdefault(match.group().removeprefix("/"), drawing)
    drawings = [by_name[name] for name in sorted(by_name)]
    found = {drawing.is_test for drawing in drawings}
    missing = [
        half for half, is_test in zip(HALVES, (False, True), strict=True) if is_test not in found
    ]
    if missing:
        raise FileNotFoundError(
            f"{data_root} has no drawings of {' and '.join(missing)}. {LAYOUT.expected}"
        )
    return drawings


def _files(data_root: Path) -> Iterator[tuple[str, bytes]]:
    """From the folders of the halves, and from the zips unless both folders are there."""
    zips = [data_root / name for name in ZIPS] if data_root.is_dir() else [data_root]
    folders = [folder for half in HALVES if (folder := data_root / half).is_dir()]
    for folder in folders:
        for file in folder.glob("*/*/*.png"):
            yield file.as_posix(), file.read_bytes()
    for path in zips if len(folders) < len(HALVES) else ():
        if path.is_file():
            yield from _members(path)


def _members(path: Path) -> Iterator[tuple[str, bytes]]:
    try:
        with zipfile.ZipFile(path) as archive:
            for name in archive.namelist():
                if not name.endswith("/"):
                    yield f"{path.as_posix()}/{name}", _content(archive, name)
    except zipfile.BadZipFile as error:
        raise ValueError(f"the zip {path} is damaged ({error}): fetch it again") from error


def _content(archive: zipfile.ZipFile, name: str) -> bytes:
    try:
        return archive.read(name)
    except (zipfile.BadZipFile, zlib.error, EOFError):
        return b""  # an image that cannot be decoded, and is treated as one


def decode(content: bytes) -> np.ndarray:
    """``uint8`` of shape ``(32, 32)``, white on black as the glyphs are."""
    image = read_picture(content).convert("L")
    small = image.resize((PICTURE_SIZE, PICTURE_SIZE), Image.Resampling.BOX)
    return np.asarray(ImageOps.invert(small))


def _decode_all(
    drawings: list[Drawing], skip_broken: bool
) -> tuple[np.ndarray, list[Drawing], tuple[str, ...]]:
    pictures, kept, left_out = [], [], []
    for drawing in tqdm(drawings, desc="reading drawings", unit="image"):
        try:
            pictures.append(decode(drawing.content))
            kept.append(drawing)
        except Exception as error:  # what the decoders raise is not documented
            if not skip_broken:
                raise OSError(
                    f"the drawing {drawing.where} cannot be read ({reason_of(error)}): copy the "
                    "data set again, or leave such drawings out with --skip-broken"
                ) from error
            left_out.append(drawing.where)
    if not kept:
        raise ValueError(f"none of {len(drawings)} drawings is left, first {left_out[0]}")
    return np.stack(pictures), kept, tuple(left_out)


def load_omniglot(data_root: Path | None, skip_broken: bool = False) -> RetrievalData:
    """Load Omniglot; its background half trains, its evaluation half tests.

    Arguments:
        data_root: the folder with the halves or with the zips, or a zip that holds both.
        skip_broken: leave out drawings that cannot be read, and note them in ``left_out``.

    Returns:
        ``inputs`` of shape ``(N, 1, 32, 32)``, ``uint8``, white on black; two levels.

    Raises:
        FileNotFoundError: if a half is not there.
        OSError: for a broken drawing, which is named.
        ValueError: for a damaged zip.
    """
    drawings = read_drawings(LAYOUT.given(data_root))
    pictures, drawings, left_out = _decode_all(drawings, skip_broken)
    labels, names = number_classes([(drawing.alphabet, drawing.character) for drawing in drawings])

    def picture(i: int) -> Image.Image:
        return ImageOps.invert(Image.fromarray(pictures[i])).resize((64, 64), Image.Resampling.BOX)

    return RetrievalData(
        name="omniglot",
        inputs=torch.from_numpy(pictures[:, None]),
        labels=labels,
        level_names=LEVEL_NAMES,
        class_names=names,
        untrained=pictures.reshape(len(pictures), -1).astype(np.float32) / 255,
        untrained_name="raw pixels",
        picture=picture,
        test_half=np.array([drawing.is_test for drawing in drawings]),
        left_out=left_out,
    )
