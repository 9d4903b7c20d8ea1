import unicodedata

import numpy as np
import pytest
import torch
from fontTools.ttLib import TTFont
from PIL import Image, ImageFont

from benchmarks.datasets import glyphs, load_dataset
from pml_hierarchical.hierarchy import Hierarchy

pytestmark = pytest.mark.xdist_group("glyphs")


@pytest.fixture(scope="session")
def data():
    return glyphs.load_glyphs()


@pytest.fixture(scope="session")
def tree(data):
    return Hierarchy.from_labels(data.labels, data.class_names)


def test_arrays(data):
    n = len(data.labels)
    assert n > 18_000
    assert data.inputs.shape == (n, 1, 32, 32)
    assert data.inputs.dtype == torch.uint8
    assert data.labels.shape == (n, 3)
    assert data.labels.dtype == np.int64
    assert data.untrained.shape == (n, 1024)
    assert data.untrained.dtype == np.float32
    np.testing.assert_allclose(data.untrained[5].reshape(32, 32) * 255, data.inputs[5, 0])


def test_nested_with_names_that_agree_with_unicode(data, tree):
    assert tree.num_levels == len(data.level_names) == 3
    assert tree.sizes[0] > 1_500
    for c, (letter, group) in enumerate(tree.class_labels[:, 1:].tolist()):
        name = data.class_names[0][c]
        assert unicodedata.category(unicodedata.lookup(name)).startswith("L")
        assert data.class_names[1][letter] == name.partition(" WITH ")[0]
        assert data.class_names[2][group] == name.partition(" LETTER ")[0]


def test_scripts_are_those_that_enough_faces_draw(data):
    scripts = {name.split()[0] for name in data.class_names[2]}
    assert scripts == {"ARMENIAN", "CYRILLIC", "GEORGIAN", "GREEK", "LAO", "LATIN"}


def test_eight_to_sixteen_pictures_of_every_character(data):
    counts = np.bincount(data.labels[:, 0])
    assert counts.min() == 8
    assert counts.max() == 16


def test_pictures_show_the_character_they_are_labelled_with(data):
    font = ImageFont.truetype(str(glyphs.face_files()[0]), 24)
    for character in "QéЖẰ":
        mask, _ = font.getmask2(character, mode="L")
        ink = np.array(mask).reshape(mask.size[::-1])
        ink = ink[np.ix_(ink.any(axis=1), ink.any(axis=0))]
        number = data.class_names[0].index(unicodedata.name(character))
        first = data.inputs[int(np.argmax(data.labels[:, 0] == number)), 0].numpy()
        cut = first[np.ix_(first.any(axis=1), first.any(axis=0))]
        np.testing.assert_array_equal(cut, ink)


def test_ink_is_in_the_centre(data):
    ink = data.inputs[:, 0].numpy() > 0
    for axis in (1, 2):
        filled = ink.any(axis=axis)
        before, after = filled.argmax(axis=1), filled[:, ::-1].argmax(axis=1)
        assert np.abs(before - after).max() <= 1


def test_every_picture_occurs_once(data):
    pictures = {picture.tobytes() for picture in data.inputs.numpy()}
    assert len(pictures) == len(data.inputs)


def test_one_outline_is_one_character(data):
    names = set(data.class_names[0])
    assert {"LATIN CAPITAL LETTER A", "GREEK SMALL LETTER ALPHA WITH TONOS"} <= names
    assert "CYRILLIC CAPITAL LETTER A" not in names
    assert "GREEK SMALL LETTER ALPHA WITH OXIA" not in names


def test_no_picture_is_the_box_of_a_missing_glyph(data):
    pictures = {picture.tobytes() for picture in data.inputs.numpy()}
    boxes = [glyphs.draw(glyphs.open_face(f), "\U000effff") for f in glyphs.face_files()]
    inked = [box for box in boxes if box is not None]
    assert len(inked) == 12  # STIX draws nothing
    assert not any(box.tobytes() in pictures for box in inked)


def test_a_face_leaves_out_what_it_cannot_draw(tmp_path):
    font = TTFont(next(f for f in glyphs.face_files() if f.stem == "DejaVuSans"))
    for table in font["cmap"].tables:
        if table.isUnicode():
            table.cmap[ord("B")] = ".notdef"
            table.cmap[ord("C")] = "space"
            table.cmap.pop(ord("F"), None)
    for table in (font["glyf"], font["hmtx"]):
        table["D"] = table[".notdef"]
    font.save(tmp_path / "broken.ttf")
    drawn = glyphs.render_face(tmp_path / "broken.ttf").keys()
    assert {"A", "E", "é"} <= drawn
    assert not drawn & set("BCDF1!")


def test_ink_beyond_the_box_is_not_clipped_but_left_out():
    file = glyphs.face_files()[0]
    font = glyphs.open_face(file)
    assert glyphs.draw(font, " ") is None
    assert glyphs.draw(font, "W") is not None
    assert glyphs.draw(ImageFont.truetype(str(file), 40), "W") is None


def test_faces():
    stems = {file.stem for file in glyphs.face_files()}
    assert {"DejaVuSans", "DejaVuSerif-BoldItalic", "STIXGeneralBolIta"} <= stems
    assert not any(stem.startswith(("cm", "LastResort", "STIXSiz", "STIXNon")) for stem in stems)


def test_two_renders_are_byte_identical_and_the_second_load_needs_none(data, monkeypatch):
    again = glyphs.render_glyphs()
    assert again["pictures"].tobytes() == data.inputs.numpy().tobytes()

    def refuse():
        raise AssertionError("rendered although cached")

    monkeypatch.setattr(glyphs, "render_glyphs", refuse)
    cached = glyphs.load_glyphs()
    assert torch.equal(cached.inputs, data.inputs)
    np.testing.assert_array_equal(cached.labels, data.labels)


@pytest.mark.parametrize("module", ["PIL", "matplotlib"])
def test_the_cache_is_keyed_by_the_versions(monkeypatch, module, data):
    def rendered():
        raise LookupError("rendered")

    monkeypatch.setattr(glyphs, "render_glyphs", rendered)
    monkeypatch.setattr(f"{module}.__version__", "0.0")
    with pytest.raises(LookupError, match="rendered"):
        glyphs.load_glyphs()


def test_picture_is_black_on_white(data):
    picture = data.picture(0)
    assert isinstance(picture, Image.Image)
    assert picture.size == (64, 64)
    shown = np.asarray(picture)
    assert shown[0, 0] == 255
    np.testing.assert_array_equal(255 - shown[::2, ::2], data.inputs[0, 0].numpy())


@pytest.mark.parametrize(
    ("character", "expected"),
    [
        ("ǻ", ("LATIN SMALL LETTER A WITH RING ABOVE AND ACUTE", "LATIN SMALL LETTER A")),
        ("Ж", ("CYRILLIC CAPITAL LETTER ZHE", "CYRILLIC CAPITAL LETTER ZHE")),
        ("ა", ("GEORGIAN LETTER AN", "GEORGIAN LETTER AN")),
        ("ᴀ", ("LATIN LETTER SMALL CAPITAL A", "LATIN LETTER SMALL CAPITAL A")),
    ],
)
def test_tree_of(character, expected):
    assert glyphs.tree_of(character) == (*expected, expected[1].partition(" LETTER")[0])


@pytest.mark.parametrize(
    "character",
    ["ﬁ", "\u2126", "ʰ", "ₐ", "ª", "\u210b", "ᵻ", "\U0001d400", "1", "Ⓐ", "\uffff", "中"],
    ids=lambda character: f"U+{ord(character):04X}",
)
def test_characters_without_a_place_in_the_tree(character):
    assert glyphs.tree_of(character) is None


def test_glyphs_take_no_root(tmp_path):
    with pytest.raises(ValueError, match="leave --data-root out"):
        load_dataset("glyphs", tmp_path)


@pytest.mark.parametrize(
    ("name", "message"),
    [("glyph", "Did you mean 'glyphs'?"), ("Grocery", "Did you mean 'grocery'?"), ("xyz", "xyz")],
)
def test_unknown_data_set(name, message):
    with pytest.raises(ValueError, match="unknown data set") as error:
        load_dataset(name)
    assert message in str(error.value)
    assert "Known data sets: glyphs, grocery" in str(error.value)
    assert ("Did you mean" in str(error.value)) == (name != "xyz")
