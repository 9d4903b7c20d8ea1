import os

import numpy as np
import pytest
from dataset_trees import MEAN_COLOUR, build_folder, write_image
from PIL import Image

from benchmarks.datasets.features import load_photographs
from benchmarks.datasets.folder import list_folder


@pytest.fixture
def root(tmp_path):
    build_folder(tmp_path)
    return tmp_path


def test_one_level_per_folder(root):
    data = list_folder(root)
    assert data.level_names == ("class", "superclass 1", "superclass 2")
    assert data.class_names[0] == (
        "milk",
        "food/dairy/other",
        "apple",
        "food/fruit/other",
        "pear",
        "hammer",
        "saw",
        "drill",
    )
    assert data.class_names[1] == ("dairy", "fruit", "hand", "power")
    assert data.class_names[2] == ("food", "tools")
    assert len(data.files) == 24


@pytest.mark.parametrize("depth", [1, 2, 4])
def test_any_depth(tmp_path, depth):
    for i in range(8):
        write_image(
            tmp_path.joinpath(*(f"{level}-{i >> level}" for level in range(depth, 0, -1)))
            / f"{i}.png"
        )
    data = list_folder(tmp_path)
    assert data.labels.shape == (8, depth)
    assert len(data.level_names) == depth


def test_an_image_replaced_by_one_of_its_size_is_looked_at_again(root):
    def load():
        return load_photographs(list_folder(root), backbone=MEAN_COLOUR)

    file = root / "tools" / "power" / "drill" / "1.bmp"
    Image.new("RGB", (8, 8), "red").save(file)
    red = load()
    Image.new("RGB", (8, 8), "blue").save(file)
    os.utime(file, ns=(0, file.stat().st_mtime_ns + 1000))  # however coarse the clock
    blue = load()
    (changed,) = np.flatnonzero((red.untrained != blue.untrained).any(axis=1))
    assert blue.untrained[changed].tolist() == [0, 0, 1]


def test_classes_are_shuffled_and_halved(root):
    data = list_folder(root)
    assert data.test_half is None
    assert len(set(data.labels[data.split(0).test, 0])) == 4


def test_too_few_classes(tmp_path):
    for name in "abcde":
        write_image(tmp_path / "x" / name / "1.png")
    with pytest.raises(ValueError, match=r"the 5 classes give 3 for training .*at least 4"):
        list_folder(tmp_path).split(0)


def test_images_at_different_depths(root):
    write_image(root / "food" / "apple.jpg")
    with pytest.raises(ValueError, match=r"apple\.jpg is 1 level deep .* 3 levels deep\. Expected"):
        list_folder(root)


def test_an_image_beside_the_classes(root):
    write_image(root / "apple.jpg")
    with pytest.raises(ValueError, match=r"apple\.jpg is in no class"):
        list_folder(root)


def test_hidden_files_and_others_are_not_looked_at(root):
    write_image(root / ".thumbnails" / "a.jpg")
    (root / "food" / "fruit" / "apple" / "._1.jpg").write_bytes(b"of a Mac")
    assert len(list_folder(root).files) == 24


def test_a_linked_folder_is_followed(root, tmp_path_factory):
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    write_image(elsewhere / "1.png")
    (root / "tools" / "hand" / "file").symlink_to(elsewhere)
    assert "file" in list_folder(root).class_names[0]


def test_a_picture_is_read_once_whatever_links_to_it(root, tmp_path_factory):
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    write_image(elsewhere / "1.png")
    write_image(root / ".store" / "2.png")
    power = root / "tools" / "power" / "drill"
    (power / "hidden.png").symlink_to(root / ".store" / "2.png")
    (power / "out.png").symlink_to(elsewhere / "1.png")
    with pytest.warns(UserWarning, match=r"elsewhere, are not read: \S*\.store$"):
        assert len(list_folder(root).files) == 26
    (power / "out again.png").symlink_to(elsewhere / "1.png")
    (root / "food" / "0.png").symlink_to(power / "0.jpg")
    with pytest.warns(UserWarning, match=r"not read: \S*\.store, \S*food/0\.png, \S*/out\.png$"):
        files = list_folder(root).files
    assert len(files) == 26
    assert power / "out again.png" in files


SEVEN = [f"class {i}" for i in range(7)]


def fill(root, names, file="0.png"):
    for name in names:
        write_image(root / name / file)


@pytest.mark.parametrize(
    ("suffix", "format"),
    [
        (".jfif", "JPEG"),
        (".avif", "AVIF"),
        (".gif", "GIF"),
        (".jp2", "JPEG2000"),
        (".tga", "TGA"),
        ("", "PNG"),
        (".tmp", "WEBP"),
        (".JPG_large", "JPEG"),
    ],
)
def test_whatever_pillow_decodes_is_read(tmp_path, suffix, format):
    """Only the last class has the suffix: it is gone where that is not known."""
    Image.init()
    if format not in Image.SAVE:
        pytest.skip(f"this Pillow cannot write {format}")
    fill(tmp_path, SEVEN)
    (tmp_path / "last").mkdir()
    Image.new("RGB", (8, 8), "red").save(tmp_path / "last" / f"1{suffix}", format)
    data = load_photographs(list_folder(tmp_path), backbone=MEAN_COLOUR)
    assert data.class_names[0] == (*SEVEN, "last")
    np.testing.assert_allclose(data.untrained[7], [1, 0, 0], atol=0.02)


def test_what_is_left_out_is_counted_and_named(tmp_path):
    fill(tmp_path, SEVEN)
    for name in ("a.heic", "b.heic", "notes.txt", "no suffix", "drawing.eps"):
        (tmp_path / "phone").mkdir(exist_ok=True)
        (tmp_path / "phone" / name).write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0\n")
    with pytest.warns(
        UserWarning, match=r"5 files are not pictures.*2 \.heic.*no picture is left"
    ) as w:
        data = list_folder(tmp_path)
    assert str(tmp_path / "phone") in str(w[0].message)
    assert {os.path.basename(name) for name in data.left_out} == set(os.listdir(tmp_path / "phone"))
    assert data.class_names[0] == tuple(SEVEN)


def test_a_note_beside_the_folders_of_pictures_leaves_the_pictures(root):
    for folder in (root, root / "food", root / "empty class"):
        folder.mkdir(exist_ok=True)
        (folder / "notes.txt").write_text("these are mine")
    with pytest.warns(UserWarning, match="no picture is left") as caught:
        list_folder(root)
    (message,) = (str(one.message) for one in caught)
    assert message.endswith(f"no picture is left in {root / 'empty class'}")


def test_a_folder_without_any_picture_says_what_it_holds(tmp_path):
    (tmp_path / "phone").mkdir()
    (tmp_path / "phone" / "a.heic").write_bytes(b"heic")
    with pytest.raises(
        FileNotFoundError, match=r"no image in .*1 file is not a picture .*1 \.heic"
    ):
        list_folder(tmp_path)


def test_a_dot_in_the_name_of_a_class(tmp_path):
    fill(tmp_path, [*SEVEN, "asp.net", "photo.jpg", ".net"])
    with pytest.warns(UserWarning, match=r"hidden folders.*/\.net"):
        data = list_folder(tmp_path)
    assert data.class_names[0] == ("asp.net", *SEVEN, "photo.jpg")


def test_links_in_a_circle_end(tmp_path):
    fill(tmp_path / "root", SEVEN)
    elsewhere = tmp_path / "elsewhere"
    fill(elsewhere, ["far"])
    for i, name in enumerate(SEVEN):  # each leads to all others: 7! paths
        for other in SEVEN:
            (tmp_path / "root" / name / f"link {other}").symlink_to(tmp_path / "root" / other)
        (tmp_path / "root" / name / f"up {i}").symlink_to("..")
    (tmp_path / "root" / "out").symlink_to(elsewhere / "far")
    (elsewhere / "far" / "back").symlink_to(elsewhere)
    (elsewhere / "far" / "home").symlink_to(tmp_path / "root")
    (elsewhere / "inner").symlink_to(elsewhere / "far")
    with (
        pytest.warns(UserWarning, match="links to what is read elsewhere"),
        pytest.raises(ValueError, match="levels deep"),
    ):  # far/back/far is a place of its own
        list_folder(tmp_path / "root")
    (elsewhere / "far" / "back").unlink()
    with pytest.warns(UserWarning, match="links to what is read elsewhere"):
        data = list_folder(tmp_path / "root")
    assert data.class_names[0] == (*SEVEN, "out")
    assert len(data.files) == 8


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_folder_that_must_not_be_read_is_an_error(tmp_path):
    fill(tmp_path, [*SEVEN, "locked"])
    (tmp_path / "locked").chmod(0)
    with pytest.raises(PermissionError, match="locked"):
        list_folder(tmp_path)


def test_a_file_where_a_folder_is_expected(tmp_path):
    (tmp_path / "mine.zip").write_bytes(b"PK")
    with pytest.raises(NotADirectoryError, match=r"mine\.zip is a file.*extract it"):
        list_folder(tmp_path / "mine.zip")


def test_moved_between_classes_is_another_data_set(root):
    """At equal counts, sizes and times."""

    def fingerprint():
        return load_photographs(list_folder(root), backbone=MEAN_COLOUR).fingerprint()

    apple, drill = root / "food/fruit/apple/1.bmp", root / "tools/power/drill/1.bmp"
    for file, colour in ((apple, "red"), (drill, "blue")):
        Image.new("RGB", (8, 8), colour).save(file)
        os.utime(file, (1e9, 1e9))
    before = fingerprint()
    assert fingerprint() == before
    apple.rename(root / "swap")
    drill.rename(apple)
    (root / "swap").rename(drill)
    assert apple.stat().st_size == drill.stat().st_size
    assert fingerprint() != before
