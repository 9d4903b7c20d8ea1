import shutil
import zipfile
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image, ImageDraw

from benchmarks.datasets import load_dataset
from benchmarks.datasets.omniglot import decode, load_omniglot
from benchmarks.settings import SETTINGS

ALPHABETS = {
    "images_background": {"Greek": 3, "Latin": 2},
    "images_evaluation": {"Mongolian": 2, "Tibetan": 1},
}
DRAWINGS = 4


def draw(path, seed):
    image = Image.new("1", (105, 105), 1)
    points = np.random.default_rng(seed).integers(10, 95, 6).tolist()
    ImageDraw.Draw(image).line(points, fill=0, width=3)
    path.parent.mkdir(parents=True, exist_ok=True)
    image.save(path)


@pytest.fixture
def root(tmp_path):
    seed = 0
    for half, alphabets in ALPHABETS.items():
        for alphabet, characters in alphabets.items():
            for character in range(1, characters + 1):
                for i in range(1, DRAWINGS + 1):
                    seed += 1
                    name = f"character{character:02}/{seed:04}_{i:02}.png"
                    draw(tmp_path / "tree" / half / alphabet / name, seed)
    return tmp_path / "tree"


def pack(root, path, halves=tuple(ALPHABETS)):
    with zipfile.ZipFile(path, "w") as archive:
        for half in halves:
            archive.mkdir(half)
            for file in sorted((root / half).rglob("*.png")):
                archive.write(file, file.relative_to(root))


def test_characters_and_alphabets(root):
    data = load_omniglot(root)
    assert data.inputs.shape == (32, 1, 32, 32)
    assert data.inputs.dtype == torch.uint8
    assert data.level_names == ("character", "alphabet")
    assert data.class_names[1] == ("Greek", "Latin", "Mongolian", "Tibetan")
    assert data.class_names[0][0] == "Greek/character01"
    assert "character03" in data.class_names[0]  # no other alphabet here has so many
    assert np.bincount(data.labels[:, 0]).tolist() == [DRAWINGS] * 8
    np.testing.assert_allclose(data.untrained.reshape(32, 1, 32, 32), data.inputs / 255)


def test_the_evaluation_half_tests(root):
    data = load_omniglot(root)
    tested = {data.class_names[1][i] for i in data.labels[data.split(3).test, 1]}
    assert tested == {"Mongolian", "Tibetan"}
    assert sorted(np.unique(data.labels[data.split(0).train, 1])) == [0, 1]


def test_drawings_become_white_on_black(root):
    file = next((root / "images_background/Latin/character02").iterdir())
    with Image.open(file) as image:
        ink = 1 - np.asarray(image, dtype=float)
    picture = decode(file.read_bytes())
    assert picture.mean() / 255 == pytest.approx(ink.mean(), abs=0.005)
    assert picture[0, 0] == 0
    assert picture.max() > 128


@pytest.mark.parametrize("layout", ["omniglot.zip", "two zips", "all three zips", "the zip itself"])
def test_zips_are_as_good_as_the_folder(root, tmp_path, layout):
    given = tmp_path / "zips"
    given.mkdir()
    if layout in ("two zips", "all three zips"):
        for half in ALPHABETS:
            pack(root, given / f"{half}.zip", (half,))
    if layout != "two zips":
        pack(root, given / "omniglot.zip")
    data = load_omniglot(given / "omniglot.zip" if layout == "the zip itself" else given)
    expected = load_omniglot(root)
    np.testing.assert_array_equal(data.labels, expected.labels)
    np.testing.assert_array_equal(data.inputs, expected.inputs)
    np.testing.assert_array_equal(data.test_half, expected.test_half)


@pytest.mark.parametrize("half", ALPHABETS)
def test_one_half_may_be_extracted_and_the_other_zipped(root, half):
    expected = load_omniglot(root)
    pack(root, root / "omniglot.zip", (half,))
    shutil.rmtree(root / half)
    data = load_omniglot(root)
    np.testing.assert_array_equal(data.inputs, expected.inputs)
    np.testing.assert_array_equal(data.labels, expected.labels)
    np.testing.assert_array_equal(data.test_half, expected.test_half)


def test_hidden_files_of_other_systems_are_no_drawings(root):
    (root / "images_background/Greek/character02/._0001_01.png").write_bytes(b"Mac OS X")
    assert len(load_omniglot(root).inputs) == 32


def test_a_file_that_is_no_drawing_is_told_without_the_address_of_an_object(root):
    next((root / "images_background/Greek/character02").iterdir()).write_bytes(b"")
    with pytest.raises(OSError, match=r"cannot be read \(not a picture that Pillow can read\)"):
        load_omniglot(root)


@pytest.mark.parametrize("zipped", [False, True])
def test_a_broken_drawing_is_named_or_counted(root, tmp_path, zipped):
    broken = sorted((root / "images_background/Greek/character02").iterdir())[1]
    broken.write_bytes(broken.read_bytes()[:40])
    if zipped:
        pack(root, tmp_path / "omniglot.zip")
    given = tmp_path if zipped else root
    with pytest.raises(OSError, match=rf"Greek/character02/{broken.name} .*--skip-broken"):
        load_dataset("omniglot", given)
    data = load_dataset("omniglot", given, skip_broken=True)
    assert [name.split("/")[-1] for name in data.left_out] == [broken.name]
    assert len(data.inputs) == len(data.labels) == len(data.test_half) == 31


def test_a_zip_with_a_bad_byte_names_the_drawing(root, tmp_path):
    pack(root, tmp_path / "omniglot.zip")
    content = bytearray((tmp_path / "omniglot.zip").read_bytes())
    with zipfile.ZipFile(tmp_path / "omniglot.zip") as archive:
        info = archive.infolist()[5]
    content[info.header_offset + 30 + len(info.filename) + 20] ^= 255
    (tmp_path / "omniglot.zip").write_bytes(content)
    with pytest.raises(OSError, match=info.filename):
        load_omniglot(tmp_path)
    assert len(load_omniglot(tmp_path, skip_broken=True).left_out) == 1


def test_nothing_left(root):
    for file in root.rglob("*.png"):
        file.write_bytes(b"nothing")
    with pytest.raises(ValueError, match="none of 32 drawings is left"):
        load_omniglot(root, skip_broken=True)


@pytest.mark.parametrize("half", ALPHABETS)
def test_a_half_that_is_no_folder_is_the_one_that_is_named(root, half):
    shutil.rmtree(root / half)
    with pytest.raises(FileNotFoundError, match=rf"no drawings of {half}\. Expected"):
        load_omniglot(root)


def test_a_missing_half_is_named(root, tmp_path):
    pack(root, tmp_path / "omniglot.zip", ("images_background",))
    with pytest.raises(FileNotFoundError, match=r"no drawings of images_evaluation\..*Expected"):
        load_omniglot(tmp_path)


@pytest.mark.parametrize("given", [None, "nowhere", "empty"])
def test_without_the_data_set_it_says_what_to_put_where(tmp_path, given):
    (tmp_path / "empty").mkdir()
    with pytest.raises(
        FileNotFoundError, match=r"Expected in the folder of the data set:\n.*images_background"
    ):
        load_dataset("omniglot", given and tmp_path / given)


def test_a_zip_that_is_none(tmp_path):
    (tmp_path / "omniglot.zip").write_text("404")
    with pytest.raises(ValueError, match=r"omniglot\.zip is damaged .*fetch it again"):
        load_omniglot(tmp_path)


def test_it_is_trained_as_glyphs_but_for_its_length_and_with_twice_the_augmentation():
    drawings, letters = SETTINGS["omniglot"], SETTINGS["glyphs"]
    same = replace(letters, epochs=drawings.epochs, augmentation=drawings.augmentation)
    assert drawings == same
    for name, value in vars(letters.augmentation).items():
        assert getattr(drawings.augmentation, name) == 2 * value
