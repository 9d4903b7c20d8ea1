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


def test_an_image_replaced_by_one_of_its_size_is_looked_at_again(root, tmp_path):
    def load():
        return load_photographs(list_folder(root), False, tmp_path / "cache", MEAN_COLOUR)

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
    with pytest.raises(ValueError, match=r"apple\.jpg lies 1 folders deep .* 3\. Expected"):
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
