import pytest
from dataset_trees import CUB_CLASSES, build_cub

from benchmarks.datasets.cub import group_of, list_cub


@pytest.fixture
def root(tmp_path):
    build_cub(tmp_path)
    return tmp_path


def test_groups_are_the_last_words(root):
    data = list_cub(root)
    assert data.level_names == ("species", "group")
    assert set(data.class_names[0]) == set(CUB_CLASSES.values())
    assert data.class_names[1] == ("Albatross", "Chat", "Fulmar", "Pelican", "Yellowthroat")
    for file, (species, group) in zip(data.files, data.labels, strict=True):
        assert data.class_names[0][species] == file.parent.name
        assert data.class_names[1][group] == group_of(file.parent.name)


def test_the_first_hundred_species_train(root):
    data = list_cub(root)
    for file, is_test in zip(data.files, data.test_half, strict=True):
        assert is_test == (int(file.parent.name[:3]) > 100)
    assert len(data.split(0).test) == 6


def test_the_folder_itself_is_as_good(root):
    assert list_cub(root / "CUB_200_2011").files == list_cub(root).files


@pytest.mark.parametrize("name", ["images.txt", "image_class_labels.txt"])
def test_a_missing_list_is_named(root, name):
    (root / "CUB_200_2011" / name).unlink()
    with pytest.raises(FileNotFoundError, match=rf"has no CUB_200_2011/{name}\. Expected"):
        list_cub(root)


@pytest.mark.parametrize("line", ["1", "one 1", "1 2 3"])
def test_a_malformed_list(root, line):
    with (root / "CUB_200_2011/image_class_labels.txt").open("r+") as file:
        file.write(f"{line}\n")
    with pytest.raises(ValueError, match=r"cub in .* cannot be read .*Expected in the folder"):
        list_cub(root)


def test_an_empty_list(root):
    (root / "CUB_200_2011/images.txt").write_text("")
    with pytest.raises(ValueError, match="name no image"):
        list_cub(root)


@pytest.mark.parametrize("name", ["images.txt", "image_class_labels.txt"])
def test_a_list_that_ends_early(root, name):
    file = root / "CUB_200_2011" / name
    lines = file.read_text().splitlines()
    file.write_text("\n".join(lines[:-4]))
    with pytest.raises(ValueError, match=rf"{name}.* {len(lines) - 4}\b.*Expected in the folder"):
        list_cub(root)
