"""The colours of the losses: legible on their page and told apart by people with any vision.

The formulas are those of WCAG 2.2 (contrast), Machado et al. 2009 (how people without red or green
cones see colours) and Oklab (how far apart two colours look).
"""

import itertools

import numpy as np
import pandas as pd
import pytest

from benchmarks.losses import ALL_LOSSES, HPL_PREFIXES, hierarchical_bases
from benchmarks.report import colours
from benchmarks.report.colours import PALETTE, look_of
from benchmarks.report.loss_names import FULL_NAMES, full_name
from benchmarks.report.style import as_pngs, line_styles
from benchmarks.results import Summary

VISION = {
    "normal": np.eye(3),
    "no green cones": np.array(
        [
            [0.367322, 0.860646, -0.227968],
            [0.280085, 0.672501, 0.047413],
            [-0.011820, 0.042940, 0.968881],
        ]
    ),
    "no red cones": np.array(
        [
            [0.152286, 1.052583, -0.204868],
            [0.114503, 0.786281, 0.099216],
            [-0.003882, -0.048116, 1.051998],
        ]
    ),
}
TO_CONES = np.array(
    [
        [0.4122214708, 0.5363325363, 0.0514459929],
        [0.2119034982, 0.6806995451, 0.1073969566],
        [0.0883024619, 0.2817188376, 0.6299787005],
    ]
)
TO_OKLAB = np.array(
    [
        [0.2104542553, 0.7936177850, -0.0040720468],
        [1.9779984951, -2.4285922050, 0.4505937099],
        [0.0259040371, 0.7827717662, -0.8086757660],
    ]
)


def linear(colour: str) -> np.ndarray:
    share = np.array([int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)])
    return np.where(share <= 0.04045, share / 12.92, ((share + 0.055) / 1.055) ** 2.4)


def contrast(one: str, other: str) -> float:
    dark, light = sorted(float(linear(c) @ [0.2126, 0.7152, 0.0722]) for c in (one, other))
    return (light + 0.05) / (dark + 0.05)


def distance(one: str, other: str, vision: str) -> float:
    seen = [np.clip(VISION[vision] @ linear(colour), 0, 1) for colour in (one, other)]
    places = [TO_OKLAB @ np.cbrt(TO_CONES @ colour) for colour in seen]
    return float(np.linalg.norm(places[0] - places[1]))


PAGES = {"light": colours.LIGHT_PAPER, "dark": colours.DARK_PAPER}


@pytest.mark.parametrize("page", PAGES)
def test_every_colour_of_a_line_stands_out_from_its_page(page):
    lines = [*PALETTE, colours.BETTER, colours.WORSE, colours.RIGHT, colours.WRONG]
    assert min(contrast(getattr(colour, page), PAGES[page]) for colour in lines) >= 3


@pytest.mark.parametrize("page", PAGES)
def test_the_colours_of_differences_are_read_as_text(page):
    for colour in (colours.BETTER, colours.WORSE):
        assert contrast(getattr(colour, page), PAGES[page]) >= 4.5


@pytest.mark.parametrize("vision", VISION)
@pytest.mark.parametrize("page", PAGES)
def test_no_two_colours_look_alike(page, vision):
    pairs = itertools.combinations([getattr(colour, page) for colour in PALETTE], 2)
    assert min(distance(*pair, vision) for pair in pairs) > 0.1
    assert distance(getattr(colours.BETTER, page), getattr(colours.WORSE, page), vision) > 0.1


def all_losses():
    return [*ALL_LOSSES, *(f"{p}:{base}" for p in HPL_PREFIXES for base in hierarchical_bases())]


def test_no_two_losses_look_alike():
    looks = [look_of(loss) for loss in all_losses()]
    assert len(set(looks)) == len(looks)
    assert look_of("hpl:arcface").colour == look_of("arcface").colour


def test_a_loss_looks_the_same_in_every_report():
    def style(losses):
        return line_styles(Summary(pd.DataFrame({"loss": losses}), pd.DataFrame(), "", (), ()))

    alone, among = style(["proxy_anchor"]), style(["supcon", "x", "hpl:cosface", "proxy_anchor"])
    assert alone["proxy_anchor"] == among["proxy_anchor"]
    assert among["x"] == style(["x", "y"])["x"]


def test_every_loss_has_a_full_name_of_its_own():
    assert list(FULL_NAMES)[:9] == list(ALL_LOSSES)[:9]
    assert set(FULL_NAMES) == set(ALL_LOSSES)
    names = [full_name(loss) for loss in all_losses()]
    assert len(set(names)) == len(names)
    assert not any("_" in name for name in names)
    assert full_name("hpl:of_mine") == "HPL on of_mine"


def test_a_dark_picture_has_dark_paper_and_the_dark_shades():
    import io

    from matplotlib.figure import Figure
    from PIL import Image

    figure = Figure(figsize=(2, 2))
    axes = figure.subplots()
    axes.fill_between([0, 1], [1, 1], color=look_of("proxy_anchor").colour.light)
    for shade, png in zip(("light", "dark"), as_pngs(figure), strict=True):
        image = Image.open(io.BytesIO(png)).convert("RGB")
        assert image.getpixel((0, 0)) == tuple(bytes.fromhex(PAGES[shade][1:]))
        expected = tuple(bytes.fromhex(getattr(look_of("proxy_anchor").colour, shade)[1:]))
        assert image.getpixel((image.width // 2, image.height // 2)) == expected
