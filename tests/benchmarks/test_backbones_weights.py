"""Weights of backbones: from files, and what is said where there are none."""

import urllib.error
from pathlib import Path

import pytest
import torch
from dataset_trees import build_folder
from torch import nn
from torchvision import models

from benchmarks.backbones import BackboneChoice, Trunk, build_trunk, find_backbone
from benchmarks.datasets import check_backbone, load_dataset

RESNET = BackboneChoice("torchvision:resnet18", "none", crop=64)


def pictures(count=4, size=64):
    return torch.randn(count, 3, size, size, generator=torch.Generator().manual_seed(0))


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    """Files of weights by what they hold, all of the network ``whole``."""
    tmp_path = tmp_path_factory.mktemp("weights")
    torch.manual_seed(5)
    whole = models.resnet18()
    torch.save(whole.state_dict(), tmp_path / "whole.pth")
    torch.save(whole, tmp_path / "object.pth")
    torch.save({"model": whole.state_dict()}, tmp_path / "checkpoint.pth")
    torch.save([1, 2], tmp_path / "list.pth")
    torch.save(models.mobilenet_v3_small().state_dict(), tmp_path / "other.pth")
    torch.save(models.resnet34().state_dict(), tmp_path / "deeper.pth")
    wide = {
        k: v.repeat(2, *[1] * (v.ndim - 1)) if v.ndim else v for k, v in whole.state_dict().items()
    }
    torch.save(wide, tmp_path / "wide.pth")
    (tmp_path / "text.pth").write_text("<html>404</html>")
    whole.fc = nn.Identity()
    torch.save(Trunk(whole, 512, True).state_dict(), tmp_path / "trunk.pth")
    return tmp_path, whole.eval()


def test_weights_of_a_file_with_a_head_or_of_a_trunk_that_was_trained_here(weights):
    folder, whole = weights
    names = set()
    for file in ("whole.pth", "trunk.pth"):
        backbone = find_backbone(
            BackboneChoice("torchvision:resnet18", str(folder / file), crop=64)
        )
        with torch.no_grad():
            features = build_trunk(backbone).eval()(pictures())
            torch.testing.assert_close(features, whole(pictures()))
        names.add(backbone.name)
    names.add(find_backbone(RESNET).name)
    assert len(names) == 3


@pytest.mark.parametrize(
    ("file", "message"),
    [
        ("object", r"cannot be read \(it is damaged or holds other objects than tensors\)"),
        ("checkpoint", r"expected a state dict.* got a dict of 1 \('model'\)"),
        ("list", "expected a state dict.* got <class 'list'>"),
        ("text", "text.pth cannot be read"),
        ("other", r"Missing names: \d+ \(.*; unknown names: \d+ \(.*. Is it for another model"),
        ("deeper", "Missing names: none; unknown names: 96 .'layer1.2.conv1.weight', "),
        ("wide", "does not fit the network: size mismatch for conv1.weight"),
    ],
)
def test_weights_that_do_not_fit(weights, file, message):
    choice = BackboneChoice("torchvision:resnet18", str(weights[0] / f"{file}.pth"))
    with pytest.raises(ValueError, match=message):
        build_trunk(find_backbone(choice))


def test_safetensors_and_heads_of_timm(tmp_path):
    timm = pytest.importorskip("timm")
    safetensors = pytest.importorskip("safetensors.torch")
    whole = timm.create_model("test_vit").eval()
    safetensors.save_file(whole.state_dict(), tmp_path / "model.safetensors")
    choice = BackboneChoice("timm:test_vit", str(tmp_path / "model.safetensors"))
    trunk = build_trunk(find_backbone(choice)).eval()
    with torch.no_grad():
        logits = whole.head(trunk(pictures(size=160)))
        torch.testing.assert_close(logits, whole(pictures(size=160)))


def test_lite0_from_a_file(tmp_path):
    pretrained = build_trunk(find_backbone(BackboneChoice("efficientnet_lite0")))
    random = build_trunk(find_backbone(BackboneChoice("efficientnet_lite0", "none")))
    torch.save(pretrained.state_dict(), tmp_path / "trunk.pth")
    choice = BackboneChoice("efficientnet_lite0", str(tmp_path / "trunk.pth"))
    again = build_trunk(find_backbone(choice))
    stems = [trunk.network._conv_stem.weight for trunk in (pretrained, random, again)]
    assert torch.equal(stems[0], stems[2])
    assert not torch.equal(stems[0], stems[1])


def test_a_file_of_new_content_is_another_network(tmp_path):
    names = set()
    for seed in (0, 1):
        torch.manual_seed(seed)
        torch.save(models.resnet18().state_dict(), tmp_path / "weights.pth")
        choice = BackboneChoice("torchvision:resnet18", str(tmp_path / "weights.pth"))
        names.add(find_backbone(choice).name)
    assert len(names) == 2


def test_a_file_is_read_once_to_be_compared(tmp_path, monkeypatch):
    """A run asks several times whether it is the same; it is read once more for the weights."""
    build_folder(tmp_path / "photographs")
    file = tmp_path / "weights.pth"
    torch.save(models.resnet18().state_dict(), file)
    monkeypatch.setenv("PML_HIERARCHICAL_CACHE", str(tmp_path / "cache"))
    opened, usual = [], Path.open

    def note(path, *arguments, **keywords):
        opened.append(path)
        return usual(path, *arguments, **keywords)

    monkeypatch.setattr(Path, "open", note)
    choice = BackboneChoice("torchvision:resnet18", str(file), crop=32)
    check_backbone("folder", choice)
    load_dataset("folder", tmp_path / "photographs", backbone=choice)
    assert opened.count(file) == 2
    torch.save(models.resnet18().state_dict(), file)
    check_backbone("folder", choice)
    assert opened.count(file) == 3


def test_without_a_network_it_says_what_to_do(monkeypatch):
    def refuse(*arguments, **keywords):
        raise urllib.error.URLError("Name or service not known")

    monkeypatch.setattr("torchvision.models._api.load_state_dict_from_url", refuse)
    backbone = find_backbone(BackboneChoice("torchvision:resnet18"))
    with pytest.raises(OSError, match="could not be downloaded") as error:
        build_trunk(backbone)
    for part in (
        "resnet18-f37072fd.pth",
        "checkpoints",
        "--weights FILE",
        "--weights none",
        "Name",
    ):
        assert part in str(error.value)


def test_without_a_network_timm_says_so_too(monkeypatch):
    timm = pytest.importorskip("timm")

    def refuse(model, pretrained, num_classes):
        raise KeyError("an error of the hub's client")

    backbone = find_backbone(BackboneChoice("timm:test_resnet"))
    monkeypatch.setattr(timm, "create_model", refuse)
    with pytest.raises(OSError, match=r"huggingface.co/timm/test_resnet.*HF_HOME.*--weights FILE"):
        build_trunk(backbone)
