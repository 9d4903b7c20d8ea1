"""What can be chosen as a backbone, and what is said about what cannot."""

import json
import sys

import pytest
from dataset_trees import BUILDERS

from benchmarks.backbones import EFFICIENTNET_LITE0, BackboneChoice, find_backbone
from benchmarks.datasets import check_backbone, load_dataset


def test_a_choice_is_plain_values():
    choice = BackboneChoice("torchvision:resnet50", trained=True, crop=224)
    assert BackboneChoice(**json.loads(json.dumps(choice.to_dict()))) == choice


def test_the_default_is_what_was_there_before():
    for name in ("default", "efficientnet_lite0"):
        backbone = find_backbone(BackboneChoice(name))
        assert backbone.name == EFFICIENTNET_LITE0.name == "efficientnet-lite0-57934424"
        # a cache of features is keyed by these words
        assert repr(backbone.transform) == repr(EFFICIENTNET_LITE0.transform)
        assert not backbone.trained


def test_what_default_stands_for():
    assert check_backbone("cub", BackboneChoice()).name == "efficientnet_lite0"
    assert check_backbone("omniglot", BackboneChoice()).name == "glyph"


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"batch_norm": "thawed"}, "'frozen' or 'trained', got 'thawed'"),
        ({"crop": 0}, "--crop must be at least 1, got 0"),
        ({"batch_norm": "trained"}, "add --train-trunk"),
        (
            {"name": "torchvision:resnet18", "weights": "none", "trained": True},
            "add --train-batch-norm",
        ),
    ],
)
def test_fields_that_cannot_be(fields, message):
    with pytest.raises(ValueError, match=message):
        BackboneChoice(**fields)


def test_default_is_checked_as_what_it_stands_for():
    choice = BackboneChoice(weights="none", trained=True)
    with pytest.raises(ValueError, match=r"always trained as a whole.*leave .*--train-trunk"):
        check_backbone("glyphs", choice)
    with pytest.raises(ValueError, match="--train-batch-norm"):
        check_backbone("cub", choice)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("resnet50", "Did you mean 'torchvision:resnet50'.*timm:MODEL"),
        ("efficientnet_lite", "Did you mean 'efficientnet_lite0'"),
        ("tochvision:resnet50", "Did you mean 'torchvision:resnet50'"),
        ("xyzzy", "unknown backbone 'xyzzy'. Known: default, glyph"),
        ("torchvision:resnet5O", "no classification network 'resnet5O'. Did you mean.* resnet50"),
        ("torchvision:fcn_resnet50", "no classification network"),
        ("torchvision:", "no classification network ''"),
    ],
)
def test_unknown_networks(name, message):
    with pytest.raises(ValueError, match=message):
        find_backbone(BackboneChoice(name))


@pytest.mark.parametrize(
    ("choice", "message"),
    [
        (BackboneChoice("timm:test_resnett", "none"), "'test_resnett'. Did you mean test_resnet"),
        (BackboneChoice("timm:resnet50.nope"), r"no weights 'nope'. It has .*a1_in1k"),
        (BackboneChoice("timm:coatnet_0_224"), "no weights for coatnet_0_224: --weights FILE"),
        (BackboneChoice("timm:test_vit", "none", crop=227), "160 only: leave --crop 227 out"),
        (BackboneChoice("timm:vit_base_patch16_sapiens2", "none"), "3 x 1024 x 768, not square"),
    ],
)
def test_what_timm_does_not_have(choice, message):
    pytest.importorskip("timm")
    with pytest.raises(ValueError, match=message):
        find_backbone(choice)


def test_without_timm(monkeypatch):
    monkeypatch.setitem(sys.modules, "timm", None)
    with pytest.raises(ValueError, match="pip install timm"):
        find_backbone(BackboneChoice("timm:resnet50"))


@pytest.mark.parametrize(
    ("name", "crop", "message"),
    [
        ("torchvision:vit_b_16", 227, "vit_b_16 takes pictures of 224 only"),
        ("efficientnet_lite0", 227, "multiple of 32, got 227"),
    ],
)
def test_sizes_that_a_network_does_not_take(name, crop, message):
    with pytest.raises(ValueError, match=message):
        find_backbone(BackboneChoice(name, crop=crop))


@pytest.mark.parametrize(
    ("dataset", "choice", "message"),
    [
        ("cub", BackboneChoice("glyph"), "not for the photographs of cub: choose efficientnet"),
        (
            "glyphs",
            BackboneChoice("glyph", crop=32),
            "leave --weights FILE, --crop, --train-trunk",
        ),
        (
            "glyphs",
            BackboneChoice(weights="some.pth"),
            "leave --weights FILE, --crop, --train-trunk",
        ),
        ("glyphs", BackboneChoice(cut="11"), "and --train-from out"),
        (
            "cub",
            BackboneChoice("torchvision:resnet18", cut="11"),
            "--train-from 11.* no such block",
        ),
        ("omniglot", BackboneChoice("torchvision:resnet1"), "Did you mean"),
    ],
)
def test_what_a_data_set_cannot_have_is_said_before_it_is_read(dataset, choice, message):
    with pytest.raises(ValueError, match=message):
        check_backbone(dataset, choice)
    with pytest.raises(ValueError, match=message):
        load_dataset(dataset, None, backbone=choice)  # there is no --data-root either


@pytest.mark.parametrize("name", ["efficientnet_lite0", "torchvision:resnet18", "timm:test_vit"])
def test_a_file_of_weights_that_is_not_there(name, tmp_path):
    if name.startswith("timm"):
        pytest.importorskip("timm")
    file = tmp_path / "gone.pth"
    with pytest.raises(FileNotFoundError, match=r"gone.pth: there is no such file"):
        find_backbone(BackboneChoice(name, str(file)))


def test_every_data_set_of_photographs_takes_the_choices():
    for dataset in (*BUILDERS, "grocery"):
        assert check_backbone(dataset, BackboneChoice("torchvision:resnet18")).crop is None
