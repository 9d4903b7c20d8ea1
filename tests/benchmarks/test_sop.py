import pytest
from dataset_trees import build_sop

from benchmarks.datasets.sop import list_sop


@pytest.fixture
def root(tmp_path):
    build_sop(tmp_path)
    return tmp_path


def test_products_and_kinds(root):
    data = list_sop(root)
    assert data.level_names == ("product", "kind")
    assert data.class_names[1] == ("bicycle", "chair")
    assert len(data.class_names[0]) == 8
    for file, (product, kind) in zip(data.files, data.labels, strict=True):
        assert file.parent.name == f"{data.class_names[1][kind]}_final"
        number = int(file.name.split("_")[0]) - 111085122871
        assert data.class_names[0][product] == f"{number:05}"


def test_halves_are_those_of_the_lists(root):
    data = list_sop(root)
    tested = {data.class_names[0][i] for i in data.labels[data.split(2).test, 0]}
    assert tested == {"11319", "11320", "11321"}


def test_a_missing_list_is_named(root):
    (root / "Stanford_Online_Products/Ebay_test.txt").unlink()
    with pytest.raises(FileNotFoundError, match=r"has no .*/Ebay_test\.txt\. Exp"):
        list_sop(root)


@pytest.mark.parametrize("line", ["1 2 3", "1 two 3 bicycle_final/1_0.JPG"])
def test_a_malformed_line(root, line):
    with (root / "Stanford_Online_Products/Ebay_train.txt").open("a") as file:
        file.write(line)
    with pytest.raises(ValueError, match=r"sop in .* cannot be read .*Expected in the folder"):
        list_sop(root)


def test_a_product_in_both_halves(root):
    folder = root / "Stanford_Online_Products"
    line = (folder / "Ebay_train.txt").read_text().splitlines()[1]
    with (folder / "Ebay_test.txt").open("a") as file:
        file.write(line)
    with pytest.raises(ValueError, match="images in the training half and in the test half"):
        list_sop(root).split(0)
