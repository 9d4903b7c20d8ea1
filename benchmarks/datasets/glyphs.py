"""Glyphs: the letters of the fonts that come with matplotlib, a data set without a download.

About 1,500 characters in 8 to 16 faces each, 19,000 pictures: many classes of few images, as in
SOP. The tree comes from the Unicode names.
"""

from __future__ import annotations

import re
import unicodedata
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import PIL
import torch
from PIL import Image, ImageDraw, ImageFont, ImageOps
from tqdm import tqdm

from ..cache import cached_arrays
from .base import RetrievalData

RENDERER_VERSION = 1  # to be raised with every change of what is drawn
PICTURE_SIZE = 32
FONT_SIZE = 24  # pixels per em: a box of 1.33 em, which all but some very wide letters fit into
MIN_FACES = 8
LEVEL_NAMES = ("character", "letter", "script and case")

# "LATIN SMALL LETTER E WITH ACUTE": all of it, "LATIN SMALL LETTER E", "LATIN SMALL". What is not
# named so has no clean place in the tree and is left out: ligatures, symbols ("OHM SIGN", "SCRIPT
# CAPITAL H"), superscripts and subscripts.
_NAME = re.compile(r"((?!MODIFIER)\w+(?: CAPITAL| SMALL)?) LETTER .+?(?= WITH |$)")


def tree_of(character: str) -> tuple[str, str, str] | None:
    """The names of a character's classes, finest first; ``None`` if it has no place in the tree.

    The letter is the name up to " WITH ", the script and case are what precedes " LETTER". Each
    is a prefix of the one before it, so the levels are nested by construction. Letters whose name
    has no case ("GEORGIAN LETTER AN", "LATIN LETTER WYNN") form a group of their script alone.

    Example:
        >>> tree_of("é")
        ('LATIN SMALL LETTER E WITH ACUTE', 'LATIN SMALL LETTER E', 'LATIN SMALL')
    """
    name = unicodedata.name(character, "")
    match = _NAME.match(name)
    if match is None or not unicodedata.category(character).startswith("L"):
        return None
    return name, match.group(0), match.group(1)


def face_files() -> list[Path]:
    """The faces to draw with: DejaVu Sans, Sans Mono and Serif, and STIX General, 4 styles each.

    Not the other fonts of matplotlib: in Computer Modern (``cm*``) the code points stand for TeX's
    slots (the "A" of ``cmex10`` is a bracket), the ``Display``, ``Siz`` and ``NonUni`` fonts hold
    symbols, and ``LastResort`` draws a placeholder for every code point there is.

    Raises:
        FileNotFoundError: if matplotlib was installed without them.
    """
    import matplotlib  # not with the other data sets: search does not need it

    folder = Path(matplotlib.get_data_path()) / "fonts" / "ttf"
    files = [
        file
        for pattern in ("DejaVuSans*.ttf", "DejaVuSerif*.ttf", "STIXGeneral*.ttf")
        for file in sorted(folder.glob(pattern))
        if "Display" not in file.stem
    ]
    if len(files) != 16:
        raise FileNotFoundError(
            f"expected 16 faces of DejaVu and STIX General in {folder}, found {len(files)}: "
            "reinstall matplotlib from PyPI (some distributions leave its fonts out)"
        )
    return files


def draw(font: ImageFont.FreeTypeFont, character: str) -> np.ndarray | None:
    """White on black, ``uint8`` of shape ``(32, 32)``, the ink in the centre.

    ``None`` if there is no ink, or too much for the box.
    """
    canvas = Image.new("L", (4 * PICTURE_SIZE, 4 * PICTURE_SIZE))
    ImageDraw.Draw(canvas).text((PICTURE_SIZE, PICTURE_SIZE), character, fill=255, font=font)
    ink = canvas.getbbox()
    if ink is None or ink[2] - ink[0] > PICTURE_SIZE or ink[3] - ink[1] > PICTURE_SIZE:
        return None
    left = (ink[0] + ink[2] - PICTURE_SIZE) // 2
    top = (ink[1] + ink[3] - PICTURE_SIZE) // 2
    return np.asarray(canvas.crop((left, top, left + PICTURE_SIZE, top + PICTURE_SIZE)))


def open_face(file: Path) -> ImageFont.FreeTypeFont:
    """A face at the size of the data set, laid out the same with and without libraqm."""
    return ImageFont.truetype(str(file), FONT_SIZE, layout_engine=ImageFont.Layout.BASIC)


def render_face(file: Path) -> dict[str, np.ndarray]:
    """The picture of every letter of the tree that a face can draw."""
    from fontTools.ttLib import TTFont

    with TTFont(file, lazy=True) as tables:
        characters = [chr(code_point) for code_point in tables.getBestCmap()]
    font = open_face(file)
    tofu = draw(font, "\uffff")  # never a character, so drawn as the .notdef box (if any)
    pictures = {}
    for character in characters:
        if tree_of(character) is None:
            continue
        picture = draw(font, character)
        if picture is not None and (tofu is None or not np.array_equal(picture, tofu)):
            pictures[character] = picture
    return pictures


def render_glyphs() -> dict[str, np.ndarray]:
    """Draw every character in every face that has it.

    Every picture occurs once, under the lowest code point that it was drawn for: what repeats it
    is dropped, and so are characters with fewer than 8 pictures left. Two kinds of repeats exist:

    - an oblique face that copies the upright outline: finding a copy of oneself is not retrieval;
    - characters of one outline, such as the A of Latin, Greek and Cyrillic or the Greek accents
      that Unicode encodes twice. Their nearest neighbour would be the other character, at distance
      0, whatever the embedding: an error that no loss can avoid and that says nothing about any.
      Without this rule, 287 of 1,647 characters and 13 % of the pictures had such a twin.
      Characters that merely look alike (the same outline, drawn a little narrower) stay.

    Returns:
        ``pictures``, ``uint8`` of shape ``(N, 32, 32)``, and ``code_points``, ``int64`` of shape
        ``(N,)`` in ascending order.
    """
    drawn: dict[str, list[np.ndarray]] = defaultdict(list)
    for file in tqdm(face_files(), desc="rendering glyphs", unit="face"):
        for character, picture in render_face(file).items():
            drawn[character].append(picture)
    seen: set[bytes] = set()
    pictures, code_points = [], []
    for character in sorted(drawn):
        distinct = {picture.tobytes(): picture for picture in drawn[character]}
        new = [picture for content, picture in distinct.items() if content not in seen]
        if len(new) >= MIN_FACES:
            seen.update(distinct)
            pictures.extend(new)
            code_points.extend([ord(character)] * len(new))
    return {"pictures": np.stack(pictures), "code_points": np.array(code_points)}


def _number(names: Iterable[str]) -> tuple[np.ndarray, tuple[str, ...]]:
    unique, numbers = np.unique(np.array(list(names)), return_inverse=True)
    return numbers.astype(np.int64), tuple(unique.tolist())


def load_glyphs() -> RetrievalData:
    """Load the glyphs, rendered on first use (in seconds) and cached.

    Returns:
        ``inputs`` of shape ``(N, 1, 32, 32)``, ``uint8``, white on black; three levels. Classes
        are numbered in the order of their names.
    """
    import matplotlib

    key = {
        "renderer": RENDERER_VERSION,
        "pillow": PIL.__version__,
        "matplotlib": matplotlib.__version__,
        "unicode": unicodedata.unidata_version,
    }
    arrays = cached_arrays("glyphs", key, render_glyphs)
    pictures = arrays["pictures"]
    trees = [tree_of(chr(code_point)) for code_point in arrays["code_points"].tolist()]
    numbered = [_number(tree[level] for tree in trees if tree) for level in range(len(LEVEL_NAMES))]

    def picture(i: int) -> Image.Image:
        return ImageOps.invert(Image.fromarray(pictures[i])).resize((64, 64), Image.Resampling.BOX)

    return RetrievalData(
        name="glyphs",
        inputs=torch.from_numpy(pictures[:, None]),
        labels=np.stack([numbers for numbers, _ in numbered], axis=1),
        level_names=LEVEL_NAMES,
        class_names=tuple(names for _, names in numbered),
        untrained=pictures.reshape(len(pictures), -1).astype(np.float32) / 255,
        untrained_name="raw pixels",
        picture=picture,
    )
