import numpy as np
import pytest
from dataset_trees import build_inshop, write_image
from torchvision.transforms import ToTensor

from benchmarks.datasets import download_dataset
from benchmarks.datasets.inshop import InShop, list_inshop


@pytest.fixture
def root(tmp_path):
    build_inshop(tmp_path)
    return tmp_path


def test_three_levels(root):
    data = list_inshop(root)
    assert data.level_names == ("item", "category", "department")
    assert data.class_names[0][0] == "id_00000080"
    assert data.class_names[1] == (
        "MEN/Denim",
        "MEN/Pants",
        "WOMEN/Blouses_Shirts",
        "WOMEN/Dresses",
    )
    assert data.class_names[2] == ("MEN", "WOMEN")


def test_queries_are_searched_in_the_gallery(root):
    split = (data := list_inshop(root)).split(1)
    dataset = InShop(str(root), split="train+test")
    parts = np.array(dataset.parts)
    np.testing.assert_array_equal(split.test, np.flatnonzero(parts == "query"))
    np.testing.assert_array_equal(split.gallery, np.flatnonzero(parts == "gallery"))
    trained = np.sort(np.concatenate([split.train, split.val]))
    np.testing.assert_array_equal(trained, np.flatnonzero(parts == "train"))
    assert set(data.labels[split.test, 0]) == set(data.labels[split.gallery, 0])


@pytest.mark.parametrize(("split", "count"), [("train", 9), ("query", 2), ("gallery", 3)])
def test_it_is_one_of_pmls_data_sets(root, split, count):
    dataset = InShop(str(root), split=split, transform=ToTensor())
    assert len(dataset) == len(dataset.labels) == count
    image, label = dataset[0]
    assert image.shape == (3, 10, 12)
    assert label == {"train": 2, "query": 81, "gallery": 81}[split]


def test_unknown_split(root):
    with pytest.raises(ValueError, match=r"Supported splits are: train, query, gallery"):
        InShop(str(root), split="test")


def test_the_folders_of_the_release_are_as_good(root):
    whole = list_inshop(root)
    (root / "Eval").mkdir()
    (root / "list_eval_partition.txt").rename(root / "Eval" / "list_eval_partition.txt")
    (root / "Img").mkdir()
    (root / "img").rename(root / "Img" / "img")
    moved = list_inshop(root)
    np.testing.assert_array_equal(moved.labels, whole.labels)
    assert all(file.is_file() for file in moved.files)


def test_an_item_of_two_categories_has_that_of_most_of_its_images(root):
    path = "img/WOMEN/Aprons/id_00000002/03_1_front.jpg"
    write_image(root / path)
    with (root / "list_eval_partition.txt").open("a") as file:
        file.write(f"{path} id_00000002 train\n")
    data = list_inshop(root)
    item = data.class_names[0].index("id_00000002")
    dresses = data.class_names[1].index("WOMEN/Dresses")
    assert set(data.labels[data.labels[:, 0] == item, 1]) == {dresses}
    assert "WOMEN/Aprons" not in data.class_names[1]


@pytest.mark.parametrize("missing", ["list_eval_partition.txt", "img"])
def test_what_is_missing_is_named(root, missing):
    (root / missing).rename(root / "elsewhere")
    with pytest.raises(FileNotFoundError, match=rf"has no {missing}\. Expected"):
        list_inshop(root)


def test_only_what_is_missing_is_named_where_the_rest_is_as_in_the_release(root):
    (root / "Eval").mkdir()
    (root / "list_eval_partition.txt").rename(root / "Eval" / "list_eval_partition.txt")
    (root / "img").rename(root / "elsewhere")
    with pytest.raises(FileNotFoundError, match=r"has no img\. Expected"):
        list_inshop(root)


@pytest.mark.parametrize(
    "line",
    [
        "img/WOMEN/Dresses/id_00000002/02_1_front.jpg id_00000002",
        "img/WOMEN/Dresses/id_00000002/02_1_front.jpg id_x train",
        "img/WOMEN/Dresses/id_00000002/02_1_front.jpg id_00000002 val",
        "img/02_1_front.jpg id_00000002 train",
    ],
)
def test_a_malformed_line(root, line):
    with (root / "list_eval_partition.txt").open("a") as file:
        file.write(line)
    with pytest.raises(ValueError, match=r"partition\.txt, line 17: expected .*got") as error:
        list_inshop(root)
    assert line in str(error.value)


def test_it_cannot_be_downloaded(tmp_path):
    with pytest.raises(ValueError, match=r"(?s)inshop .*list_eval_partition\.txt.*mmlab") as error:
        download_dataset("inshop", tmp_path)
    assert "folder of the data set" in str(error.value)
    with pytest.raises(OSError, match="cannot be downloaded"):
        InShop(str(tmp_path / "new"), download=True)
