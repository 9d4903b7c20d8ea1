import json

import pytest
from dataset_trees import INAT_SPECIES, INAT_TEST, build_inaturalist

from benchmarks.datasets.inaturalist import list_inaturalist


@pytest.fixture
def root(tmp_path):
    build_inaturalist(tmp_path)
    return tmp_path


def test_seven_levels(root):
    data = list_inaturalist(root)
    assert data.level_names == (
        "species",
        "genus",
        "family",
        "order",
        "class",
        "phylum",
        "kingdom",
    )
    assert [len(names) for names in data.class_names] == [6, 5, 5, 4, 4, 2, 2]
    for file, labels in zip(data.files, data.labels, strict=True):
        names = [of_level[i] for of_level, i in zip(data.class_names, labels, strict=True)]
        expected = INAT_SPECIES[int(file.parent.name)][::-1]
        assert [name.split("/")[-1] for name in names] == list(expected)


def test_a_genus_of_animals_and_one_of_plants_share_their_name_only(root):
    genera = list_inaturalist(root).class_names[1]
    assert [name for name in genera if name.endswith("Oenanthe")] == [
        "Animalia/Chordata/Aves/Passeriformes/Muscicapidae/Oenanthe",
        "Plantae/Tracheophyta/Magnoliopsida/Apiales/Apiaceae/Oenanthe",
    ]
    assert "Turdus" in genera


def test_halves_are_those_of_the_split_files(root):
    data = list_inaturalist(root)
    for file, is_test in zip(data.files, data.test_half, strict=True):
        assert is_test == (int(file.parent.name) in INAT_TEST)


@pytest.mark.parametrize(
    "name", ["categories.json", "val2018.json", "Inat_dataset_splits/Inaturalist_test_set1.txt"]
)
def test_a_missing_file_is_named(root, name):
    (root / name).unlink()
    with pytest.raises(FileNotFoundError, match=f"has no {name}. Expected in the folder"):
        list_inaturalist(root)


def test_a_split_file_of_other_images(root):
    with (root / "Inat_dataset_splits/Inaturalist_train_set1.txt").open("a") as file:
        file.write("train_val2018/nowhere.jpg\n")
    with pytest.raises(ValueError, match=r"inaturalist in .*nowhere\.jpg"):
        list_inaturalist(root)


@pytest.mark.parametrize("content", ["{", "[1]", '[{"id": 1}]'])
def test_malformed_categories(root, content):
    (root / "categories.json").write_text(content)
    with pytest.raises(ValueError, match=r"categories\.json cannot be read .*kingdom"):
        list_inaturalist(root)


@pytest.mark.parametrize("genus", [None, 7])
def test_a_rank_that_is_no_text(root, genus):
    file = root / "categories.json"
    file.write_text(json.dumps([{**one, "genus": genus} for one in json.loads(file.read_text())]))
    with pytest.raises(
        ValueError, match=rf"cannot be read .*must have a text as its genus, got {genus}\b"
    ):
        list_inaturalist(root)


def test_categories_of_another_year(root):
    file = root / "categories.json"
    file.write_text(json.dumps(json.loads(file.read_text())[:-2]))
    with pytest.raises(ValueError, match=r"categories\.json has no category 4"):
        list_inaturalist(root)
