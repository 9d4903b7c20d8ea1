"""Networks without heads: what they give, where their weights come from, what is trained."""

import copy
import pickle

import pytest
import torch
from torch import nn
from torchvision import models

from benchmarks.backbones import Backbone, BackboneChoice, Trunk, build_trunk, find_backbone
from benchmarks.backbones.extraction import build_frozen
from benchmarks.backbones.torchvision_models import build_torchvision
from benchmarks.backbones.trunk import batch_norms

RESNET = BackboneChoice("torchvision:resnet18", "none", crop=64)


def pictures(count=4, size=64):
    return torch.randn(count, 3, size, size, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize(
    ("model", "features"),
    [
        ("alexnet", 4096),
        ("convnext_tiny", 768),
        ("densenet121", 1024),
        ("efficientnet_b0", 1280),
        ("googlenet", 1024),
        ("inception_v3", 2048),
        ("maxvit_t", 512),
        ("mnasnet0_5", 1280),
        ("mobilenet_v2", 1280),
        ("mobilenet_v3_small", 1024),
        ("resnet50", 2048),
        ("shufflenet_v2_x0_5", 1024),
        ("squeezenet1_1", 512),
        ("vgg11_bn", 4096),
        ("vit_b_16", 768),
    ],
)
def test_every_family_of_torchvision_loses_its_head_only(model, features):
    size = 224 if model.startswith(("vit", "maxvit")) else 227
    with torch.device("meta"):  # shapes alone
        network = build_torchvision(model, "none", size)
        slow = {"init_weights": False} if model in ("googlenet", "inception_v3") else {}
        whole = models.get_model(model, weights=None, **slow)
        assert network.train()(torch.empty(2, 3, size, size)).shape == (2, features)
    lost = {n for n, _ in whole.named_parameters()} - {n for n, _ in network.named_parameters()}
    lost -= {name for name in lost if name.startswith(("aux", "AuxLogits"))}
    assert len(lost) == (1 if model == "maxvit_t" else 2)  # a weight and a bias


@pytest.mark.parametrize("model", ["regnet_x_400mf", "swin_t"])
def test_families_that_cannot_be_built_without_numbers(model):
    trunk = build_trunk(find_backbone(BackboneChoice(f"torchvision:{model}", "none", crop=64)))
    assert trunk(pictures(1)).shape == (1, trunk.out_features)
    assert trunk.out_features == {"regnet_x_400mf": 400, "swin_t": 768}[model]


def test_features_are_what_the_head_was_given():
    torch.manual_seed(0)
    whole = models.resnet18().eval()
    torch.manual_seed(0)
    trunk = build_trunk(find_backbone(RESNET)).eval()
    with torch.no_grad():
        torch.testing.assert_close(whole.fc(trunk(pictures())), whole(pictures()))


@pytest.mark.parametrize(
    ("model", "features"), [("test_resnet", 96), ("test_vit", 64), ("test_efficientnet", 256)]
)
def test_timm(model, features):
    pytest.importorskip("timm")
    backbone = find_backbone(BackboneChoice(f"timm:{model}", "none"))
    trunk = build_trunk(backbone)
    size = 160 if model == "test_vit" else 227
    assert trunk.eval()(pictures(2, size)).shape == (2, features)
    assert trunk.out_features == features


def test_a_random_start_is_the_same_for_features_and_follows_the_seed_in_training():
    backbone = find_backbone(RESNET)
    state = torch.random.get_rng_state()
    first = build_frozen(backbone)
    assert torch.equal(state, torch.random.get_rng_state())
    torch.manual_seed(9)
    second = build_frozen(backbone)
    assert torch.equal(first.conv1.weight, second.conv1.weight)
    starts = []
    for seed in (1, 1, 2):
        torch.manual_seed(seed)
        starts.append(build_trunk(backbone).network.conv1.weight)
    assert torch.equal(starts[0], starts[1])
    assert not torch.equal(starts[0], starts[2])


def train_a_little(trunk):
    """Three steps with weight decay as PML's trainers make them: train(), then the batch."""
    optimizer = torch.optim.AdamW(trunk.parameters(), lr=0.01, weight_decay=1.0)
    for _ in range(3):
        trunk.train()
        optimizer.zero_grad()
        trunk(2 + pictures()).square().sum().backward()
        optimizer.step()


def batch_norm_state(trunk):
    layers = list(batch_norms(trunk))
    return [copy.deepcopy(layer.state_dict()) for layer in layers], layers


def build_network(source):
    if source == "timm":
        timm = pytest.importorskip("timm")
        return timm.create_model("test_efficientnet", num_classes=0), 256
    return build_torchvision(source, "none", 64), {"resnet18": 512, "mobilenet_v3_small": 1024}[
        source
    ]


@pytest.mark.parametrize("source", ["resnet18", "mobilenet_v3_small", "timm"])
def test_frozen_batch_norm_stays_as_it_is(source):
    trunk = Trunk(*build_network(source), frozen_batch_norm=True)
    before, layers = batch_norm_state(trunk)
    weights = [p.clone() for p in trunk.parameters() if p.requires_grad]
    train_a_little(trunk)
    assert len(layers) > 5
    assert trunk.training
    assert not any(layer.training for layer in layers)
    for old, layer in zip(before, layers, strict=True):
        for name, value in layer.state_dict().items():
            assert torch.equal(old[name], value), name
    moved = [p for p in trunk.parameters() if p.requires_grad]
    assert not any(torch.equal(old, new) for old, new in zip(weights, moved, strict=True))


def test_trained_batch_norm_is_trained():
    trunk = Trunk(*build_network("resnet18"), frozen_batch_norm=False)
    before, layers = batch_norm_state(trunk)
    train_a_little(trunk)
    for old, layer in zip(before, layers, strict=True):
        assert layer.training
        for name, value in layer.state_dict().items():
            assert not torch.equal(old[name], value), name


def test_frozen_batch_norm_survives_copies():
    trunk = Trunk(*build_network("resnet18"), frozen_batch_norm=True)
    for copied in (copy.deepcopy(trunk), pickle.loads(pickle.dumps(trunk))):
        assert not any(layer.training for layer in batch_norms(copied.train()))


@pytest.mark.parametrize("batch_norm", ["frozen", "trained"])
def test_the_choice_decides_about_batch_norm(batch_norm):
    choice = BackboneChoice("efficientnet_lite0", trained=True, batch_norm=batch_norm)
    trunk = build_trunk(find_backbone(choice))
    assert {layer.training for layer in batch_norms(trunk)} == {batch_norm == "trained"}
    assert trunk.out_features == 1280


def test_a_crop_that_the_network_cannot_take_is_said_with_its_name():
    backbone = find_backbone(BackboneChoice("torchvision:alexnet", "none", crop=20))
    with pytest.raises(
        ValueError, match=r"alexnet/random does not take pictures of 3x20x20.*--crop"
    ):
        build_trunk(backbone)


def test_maps_are_no_features():
    backbone = Backbone("maps", lambda picture: torch.zeros(3, 8, 8), nn.Identity)
    with pytest.raises(ValueError, match=r"maps gives no vector per picture, but \(1, 3, 8, 8\)"):
        build_trunk(backbone)
