"""What networks see of a picture, against torchvision's own functions and the paper's numbers."""

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision import models, transforms
from torchvision.transforms import InterpolationMode, functional
from torchvision.transforms._presets import ImageClassification

from benchmarks.backbones import BackboneChoice, find_backbone

CHOICE = BackboneChoice("torchvision:resnet18", "none")


@pytest.fixture
def photograph():
    rng = np.random.default_rng(0)
    return Image.fromarray(rng.integers(0, 256, (300, 420, 3), dtype=np.uint8))


def test_evaluation_is_resize_256_and_centre_crop_227(photograph):
    expected = ImageClassification(crop_size=227, resize_size=256)(photograph)
    torch.testing.assert_close(find_backbone(CHOICE).transform(photograph), expected)


def crop_and_flip(photograph, flip):
    """The protocol of the paper, step by step."""
    resized = functional.resize(photograph, 256)
    scale, ratio = [0.16, 1.0], [3 / 4, 4 / 3]
    box = transforms.RandomResizedCrop.get_params(resized, scale, ratio)
    cropped = functional.resized_crop(resized, *box, [227, 227])
    if flip and torch.rand(1) < 0.5:
        cropped = functional.hflip(cropped)
    tensor = functional.to_tensor(cropped)
    return functional.normalize(tensor, [0.485, 0.456, 0.406], [0.229, 0.224, 0.225])


@pytest.mark.parametrize("flip", [True, False])
def test_training_is_a_random_crop_and_a_flip_that_follow_the_global_seed(photograph, flip):
    transform = find_backbone(CHOICE, flip).training_transform
    torch.manual_seed(3)
    ours = [transform(photograph) for _ in range(6)]
    torch.manual_seed(3)
    expected = [crop_and_flip(photograph, flip) for _ in range(6)]
    torch.testing.assert_close(torch.stack(ours), torch.stack(expected))
    assert len({crop.sum().item() for crop in ours}) == 6


def test_half_of_the_pictures_are_mirrored_unless_that_changes_what_they_show():
    ramp = Image.fromarray(np.tile(np.arange(256, dtype=np.uint8), (256, 1))).convert("RGB")

    def mirrored(flip):
        transform = find_backbone(CHOICE, flip).training_transform
        crops = [transform(ramp) for _ in range(40)]
        return sum((crop[0, 0, 0] > crop[0, 0, -1]).item() for crop in crops)

    torch.manual_seed(0)
    assert 10 <= mirrored(flip=True) <= 30
    assert mirrored(flip=False) == 0


@pytest.mark.parametrize(
    ("name", "weights"),
    [
        ("vit_b_16", models.ViT_B_16_Weights),
        ("efficientnet_b0", models.EfficientNet_B0_Weights),
        ("vit_h_14", models.ViT_H_14_Weights),
    ],
)
def test_mean_deviation_interpolation_and_the_only_size_are_those_of_the_weights(name, weights):
    theirs = weights.DEFAULT.transforms()
    resize, crop, _, normalise = find_backbone(
        BackboneChoice(f"torchvision:{name}")
    ).transform.transforms
    assert (list(normalise.mean), list(normalise.std)) == (theirs.mean, theirs.std)
    assert resize.interpolation == theirs.interpolation
    expected = theirs.crop_size[0] if name.startswith("vit") else 227
    assert crop.size == (expected, expected)
    assert resize.size == round(expected * 256 / 227)


def test_timm_says_how_its_pictures_are_made():
    timm = pytest.importorskip("timm")
    for name, size in (("test_vit", 160), ("test_resnet", 227)):
        theirs = timm.get_pretrained_cfg(name)
        resize, crop, _, normalise = find_backbone(
            BackboneChoice(f"timm:{name}", "none")
        ).transform.transforms
        assert (tuple(normalise.mean), tuple(normalise.std)) == (theirs.mean, theirs.std)
        assert resize.interpolation == InterpolationMode(theirs.interpolation)
        assert crop.size == (size, size)


@pytest.mark.parametrize("name", ["torchvision:resnet18", "efficientnet_lite0", "timm:test_resnet"])
def test_another_crop(name, photograph):
    if name.startswith("timm"):
        pytest.importorskip("timm")
    backbone = find_backbone(BackboneChoice(name, "none", crop=96))
    assert backbone.transform(photograph).shape == (3, 96, 96)
    assert backbone.training_transform(photograph).shape == (3, 96, 96)
    assert backbone.transform(Image.new("RGB", (5, 300))).shape == (3, 96, 96)
