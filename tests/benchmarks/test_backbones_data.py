"""Data sets with another backbone: frozen features that are kept, pictures that are trained on."""

from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import torch
from dataset_trees import MEAN_COLOUR, build_cub
from PIL import Image
from torch import nn
from torch.utils.data import DataLoader
from torchvision import models, transforms

from benchmarks.backbones import BackboneChoice, find_backbone
from benchmarks.datasets import DATASETS, features, load_dataset, look_at_dataset
from benchmarks.datasets.base import RetrievalData
from benchmarks.datasets.features import load_photographs, open_drawing, see_drawings
from benchmarks.datasets.registry import drawn
from benchmarks.models import GlyphTrunk, models_for

FROZEN = BackboneChoice("torchvision:mobilenet_v3_small", "none", crop=32)
TRAINED = replace(FROZEN, trained=True, batch_norm="trained")


@pytest.fixture(autouse=True)
def _own_cache(monkeypatch, tmp_path):
    monkeypatch.setenv("PML_HIERARCHICAL_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def root(tmp_path):
    build_cub(tmp_path / "cub")
    rng = np.random.default_rng(0)
    for file in sorted((tmp_path / "cub").rglob("*.jpg")):  # of one colour all crops are the same
        Image.fromarray(rng.integers(0, 256, (48, 60, 3), dtype=np.uint8)).save(file)
    return tmp_path / "cub"


@pytest.fixture
def computed(monkeypatch):
    """The names of the networks that features were computed with."""
    original, names = features.build_frozen, []

    def counting(backbone):
        names.append(backbone.name)
        return original(backbone)

    monkeypatch.setattr(features, "build_frozen", counting)
    return names


def make_drawings():
    """8 characters of 4 drawings: bright at the left, by another amount each."""
    columns = torch.linspace(200, 0, 32).repeat(32, 32, 1)
    inputs = (columns + torch.arange(32)[:, None, None]).to(torch.uint8)[:, None]
    return RetrievalData(
        name="drawings",
        inputs=inputs,
        labels=np.arange(32).reshape(-1, 1) // 4,
        level_names=("character",),
        class_names=(tuple("abcdefgh"),),
        untrained=inputs.flatten(1).numpy().astype(np.float32),
        untrained_name="raw pixels",
        picture=lambda i: Image.new("L", (64, 64)),
    )


@pytest.fixture
def drawings(monkeypatch):
    data = make_drawings()
    monkeypatch.setitem(DATASETS, "drawings", drawn("drawings", "", lambda source: data))
    return data


def test_frozen_features_are_the_networks_own(root):
    data = load_dataset("cub", root, backbone=FROZEN)
    assert data.inputs.shape == (21, 1024)
    assert data.inputs.dtype == torch.float32
    assert (data.build_trunk, data.untrained_name) == (None, "frozen features")
    torch.manual_seed(0)
    network = models.mobilenet_v3_small()
    network.classifier[3] = nn.Identity()
    picture = find_backbone(FROZEN).transform(look_at_dataset("cub", root).picture(20))
    with torch.no_grad():
        expected = network.eval()(picture[None])[0]
    torch.testing.assert_close(data.inputs[20], expected, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("dataset", ["cub", "drawings"])
def test_features_are_computed_anew_for_another_network_or_transform_only(
    dataset, root, drawings, computed, tmp_path
):
    load = partial(load_dataset, dataset, None if dataset == "drawings" else root)
    first = load(backbone=FROZEN)
    assert len(computed) == 1
    assert torch.equal(load(backbone=FROZEN).inputs, first.inputs)
    assert len(computed) == 1
    torch.manual_seed(1)
    torch.save(models.mobilenet_v3_small().state_dict(), tmp_path / "weights.pth")
    others = [
        replace(FROZEN, crop=40),
        replace(FROZEN, name="torchvision:resnet18"),
        replace(FROZEN, weights=str(tmp_path / "weights.pth")),
    ]
    for count, other in enumerate(others, start=2):
        changed = load(backbone=other)
        assert len(computed) == count
        assert changed.inputs.shape != first.inputs.shape or not torch.equal(
            changed.inputs, first.inputs
        )
    load(backbone=FROZEN)
    assert len(computed) == 4  # the first were not overwritten


@pytest.mark.parametrize("dataset", ["cub", "drawings"])
@pytest.mark.parametrize("choice", [FROZEN, TRAINED])
def test_results_of_weights_that_were_replaced_are_noticed(
    dataset, choice, root, drawings, computed, tmp_path
):
    choice = replace(choice, weights=str(tmp_path / "weights.pth"))
    prints = []
    for seed in (1, 1, 2):
        torch.manual_seed(seed)
        torch.save(models.mobilenet_v3_small().state_dict(), tmp_path / "weights.pth")
        data = load_dataset(dataset, None if dataset == "drawings" else root, backbone=choice)
        prints.append(data.fingerprint())
    assert prints[0] == prints[1] != prints[2]


def test_other_drawings_have_other_features(computed):
    one = make_drawings()
    other = replace(one, inputs=255 - one.inputs)
    backbone = find_backbone(FROZEN)
    assert not torch.equal(see_drawings(one, backbone).inputs, see_drawings(other, backbone).inputs)
    assert len(computed) == 2


def test_a_trained_trunk_opens_the_files_by_itself(root):
    data = load_dataset("cub", root, backbone=TRAINED)
    backbone = find_backbone(TRAINED)
    picture = look_at_dataset("cub", root).picture
    indices = np.array([20, 3, 7])
    evaluated = data.images(indices)
    assert len(evaluated) == 3
    for position, i in enumerate(indices):
        image, label = evaluated[position]
        assert torch.equal(image, backbone.transform(picture(i)))
        assert label.tolist() == data.labels[i].tolist()
    labels = np.array([5, 6, 7])
    trained = data.images(indices, training=True, labels=labels)
    torch.manual_seed(2)
    ours = [trained[position] for position in range(3)]
    torch.manual_seed(2)
    expected = [backbone.training_transform(picture(i)) for i in indices]
    assert all(torch.equal(image, other) for (image, _), other in zip(ours, expected, strict=True))
    assert [label.item() for _, label in ours] == [5, 6, 7]


def test_a_trained_trunk_is_compared_with_its_start(root, computed):
    trained = load_dataset("cub", root, backbone=TRAINED)
    frozen = load_dataset("cub", root, backbone=FROZEN)
    np.testing.assert_array_equal(trained.untrained, frozen.untrained)
    assert len(computed) == 1


def test_crops_of_a_run_can_be_drawn_again_in_a_worker(root):
    images = load_dataset("cub", root, backbone=TRAINED).images(np.arange(21), training=True)

    def epoch(seed):
        torch.manual_seed(seed)
        batches = DataLoader(images, batch_size=8, num_workers=1, shuffle=True)
        return torch.cat([batch for batch, _ in batches])

    first = epoch(0)
    assert torch.equal(first, epoch(0))
    assert not torch.equal(first, epoch(1))


def test_rows_in_memory_are_the_same_in_training(drawings):
    data = load_dataset("drawings")
    for training in (False, True):
        images = data.images(np.array([9, 4]), training)
        assert torch.equal(images[0][0], data.inputs[9])
        assert images[1][1].tolist() == data.labels[4].tolist()


def test_as_many_labels_as_images(drawings):
    with pytest.raises(ValueError, match="got 2 labels for 3 images"):
        drawings.images(np.arange(3), labels=np.arange(2))


def test_models_of_each_kind_of_data(root, drawings):
    training = np.arange(10)
    for data, trunk, embedder in (
        (load_dataset("cub", root, backbone=FROZEN), nn.Identity, 1024),
        (load_dataset("cub", root, backbone=TRAINED), None, 1024),
        (load_dataset("drawings"), GlyphTrunk, 2048),
    ):
        built = models_for(data, training, embedding_size=16)
        assert trunk is None or type(built["trunk"]) is trunk
        assert built["embedder"].in_features == embedder
        batch = torch.stack([data.images(training, training=True)[i][0] for i in range(3)])
        assert built["embedder"](built["trunk"](batch)).shape == (3, 16)


def test_the_trunk_is_trained_from_its_start_in_every_run(root):
    data = load_dataset("cub", root, backbone=BackboneChoice(trained=True, crop=64))
    first = models_for(data, np.arange(8), 4)["trunk"]
    start = first.network._conv_stem.weight.clone()
    with torch.no_grad():
        first.network._conv_stem.weight.zero_()
    assert torch.equal(models_for(data, np.arange(8), 4)["trunk"].network._conv_stem.weight, start)


def test_drawings_get_three_equal_channels_and_are_never_mirrored(drawings):
    normalised = find_backbone(TRAINED).transform.transforms[-1]
    data = load_dataset("drawings", backbone=TRAINED)
    assert data.untrained_name == "raw pixels"
    torch.manual_seed(0)
    images = data.images(np.arange(32), training=True)
    for i in range(32):
        image = images[i][0] * torch.tensor(normalised.std).view(3, 1, 1)
        image += torch.tensor(normalised.mean).view(3, 1, 1)
        torch.testing.assert_close(image[0], image[1])
        torch.testing.assert_close(image[0], image[2])
        assert image[0, 5, 0] > image[0, 5, -1]


@pytest.mark.parametrize("choice", [BackboneChoice(), BackboneChoice("glyph", "none")])
def test_the_glyph_network_sees_drawings_as_they_are(drawings, choice):
    assert load_dataset("drawings", backbone=choice) is drawings


def test_looking_at_a_data_set_needs_no_network(root, drawings, computed):
    assert look_at_dataset("drawings") is drawings
    look_at_dataset("cub", root)
    assert not computed


def test_a_crop_too_small_is_said_before_the_photographs_are_read(root, monkeypatch):
    choice = BackboneChoice("torchvision:alexnet", "none", crop=20)
    monkeypatch.setattr(features, "extract_features", None)
    with pytest.raises(ValueError, match="--crop"):
        load_dataset("cub", root, backbone=choice)


def test_training_without_random_crops_sees_what_testing_sees(root):
    backbone = replace(MEAN_COLOUR, trained=True)
    data = load_photographs(look_at_dataset("cub", root), backbone=backbone)
    one, other = (data.images(np.arange(3), training)[1][0] for training in (True, False))
    assert torch.equal(one, other)


def test_open_drawing():
    drawing = np.arange(16, dtype=np.uint8).reshape(4, 4)
    tensor = transforms.functional.pil_to_tensor(open_drawing(drawing))
    np.testing.assert_array_equal(tensor, np.broadcast_to(drawing, (3, 4, 4)))
