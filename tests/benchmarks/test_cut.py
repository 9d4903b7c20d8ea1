"""Networks cut in two: both parts together are the network, and what cannot be cut is said."""

import copy

import pytest
import timm
import torch
from torch import nn
from torch.nn.functional import cross_entropy

from benchmarks.backbones import Backbone, BackboneChoice, build_efficientnet_lite0, find_backbone
from benchmarks.backbones.blocks import blocks_of, listed, possible_blocks
from benchmarks.backbones.cut import check_split, split_at
from benchmarks.backbones.extraction import build_frozen
from benchmarks.backbones.finding import check_cut
from benchmarks.backbones.torchvision_models import build_torchvision
from benchmarks.backbones.upper import build_parts, build_upper

NETWORKS = {
    "lite0": (lambda: build_efficientnet_lite0(32, "none"), "_blocks.11", 32),
    "torchvision": (lambda: build_torchvision("mobilenet_v3_small", "none", 32), "features.9", 32),
    "timm": (lambda: timm.create_model("test_convnext", num_classes=0), "stages.2", 32),
    # its blocks take optional masks, and a class token goes with the patches
    "transformer": (
        lambda: timm.create_model(
            "vit_tiny_patch16_224", num_classes=0, depth=3, img_size=32, drop_path_rate=0.5
        ),
        "blocks.2",
        32,
    ),
}


@pytest.fixture(params=NETWORKS)
def case(request):
    """A whole network, its two parts (of a copy), the name of the block, and four pictures."""
    build, block, size = NETWORKS[request.param]
    torch.manual_seed(0)
    whole = build().double()
    for module in whole.modules():  # statistics that normalise something
        if isinstance(module, nn.BatchNorm2d):
            module.running_var.uniform_(0.5, 2)
            module.running_mean.normal_(0, 0.1)
    lower, upper = split_at(copy.deepcopy(whole), block)
    return whole, lower.eval(), upper, block, torch.rand(4, 3, size, size, dtype=torch.float64)


def freeze_below(whole, lower, block):
    for name, _ in lower.named_modules():
        if name and not block.startswith(f"{name}."):  # not what is around the block
            whole.get_submodule(name).eval()
    for name, _ in lower.named_parameters():
        whole.get_parameter(name).requires_grad_(False)


def test_the_parts_are_the_network(case):
    whole, lower, upper, _, pictures = case
    with torch.no_grad():
        wanted, found = whole.eval()(pictures), upper.eval()(lower(pictures))
    torch.testing.assert_close(found, wanted, rtol=1e-12, atol=1e-12)


def test_a_training_step_is_that_of_the_network(case):
    """Features, gradients and running statistics, also where layers are dropped at random."""
    whole, lower, upper, block, pictures = case
    with torch.no_grad():
        activations = lower(pictures)
    freeze_below(whole.train(), lower, block)
    torch.manual_seed(1)
    wanted = whole(pictures)
    torch.manual_seed(1)
    found = upper.train()(activations)
    torch.testing.assert_close(found, wanted, rtol=1e-10, atol=1e-10)
    for features in (wanted, found):
        cross_entropy(features, torch.arange(4)).backward()
    gradients = {n: p.grad for n, p in whole.named_parameters() if p.grad is not None}
    of_upper = {n: p.grad for n, p in upper.named_parameters() if p.grad is not None}
    assert gradients.keys() == of_upper.keys()
    assert any(name.startswith(block) for name in gradients)
    for name, gradient in gradients.items():
        torch.testing.assert_close(of_upper[name], gradient, rtol=1e-8, atol=1e-10)
    state = whole.state_dict()
    for name, tensor in upper.state_dict().items():
        torch.testing.assert_close(tensor, state[name])


def test_all_weights_are_in_one_of_the_parts(case):
    whole, lower, upper, _, _ = case
    below, above = lower.state_dict().keys(), upper.state_dict().keys()
    assert not below & above
    # of the whole only what no picture goes through is in neither
    used = {name for name in whole.state_dict() if "_fc" not in name}
    assert below | above == used


def test_a_network_is_the_same_every_time():
    choice = BackboneChoice("efficientnet_lite0", "none", batch_norm="trained", crop=32, cut="14")
    backbone = find_backbone(choice)
    before = torch.get_rng_state()
    lower, upper, out_features = build_parts(backbone)
    assert torch.equal(torch.get_rng_state(), before)
    again = build_upper(backbone)
    assert out_features == again.out_features == 1280
    for one, other in zip(upper.state_dict().values(), again.state_dict().values(), strict=True):
        assert torch.equal(one, other)
    assert not any(module.training for module in lower.modules())
    pictures = torch.rand(2, 3, 32, 32)
    with torch.no_grad():
        found = again.eval()(lower(pictures))
        wanted = build_frozen(backbone)(pictures)
    torch.testing.assert_close(found, wanted, rtol=1e-4, atol=1e-5)


def test_batch_normalisation_stays_as_it_is():
    upper = build_upper(find_backbone(BackboneChoice(crop=32, cut="15")))
    norms = [m for m in upper.modules() if isinstance(m, nn.BatchNorm2d)]
    assert len(norms) == 4
    assert not any(norm.training for norm in norms)
    assert not any(p.requires_grad for norm in norms for p in norm.parameters())
    assert upper.network.training


def test_blocks_that_there_are():
    with torch.device("meta"):
        found = listed(blocks_of(build_torchvision("resnet50", "none", 32)))
    assert found.startswith("bn1, layer1, layer1.0 to layer1.2, layer2, layer2.0 to layer2.3")
    assert found.endswith("layer4, layer4.0 to layer4.2")
    assert listed(["a.9", "a.10", "b", "b.2"]) == "a.9 to a.10, b, b.2"


@pytest.mark.parametrize(
    ("name", "block", "message"),
    [
        ("efficientnet_lite0", "16", "no such block. Training can start from 1 to 15"),
        ("efficientnet_lite0", "0", "from 1 to 15"),
        ("efficientnet_lite0", "top", "--train-from top.* from 1 to 15"),
        ("timm:test_convnext", "default", "no such block.*stages.2, stages.2.blocks.0 to"),
        ("torchvision:googlenet", "inception4a.branch2.1", "cannot be cut there .*above it, needs"),
        ("timm:test_vit", "blocks.3", "torch.fx cannot follow the network"),
    ],
)
def test_blocks_that_there_are_not(name, block, message):
    with pytest.raises(ValueError, match=message):
        check_cut(BackboneChoice(name, "none", batch_norm="trained", cut=block))


class Skipping(nn.Module):
    """What is below the upper block goes past it as well."""

    def __init__(self):
        super().__init__()
        self.first, self.second = nn.Linear(3, 3), nn.Linear(3, 3)

    def forward(self, x):
        x = self.first(x)
        return self.second(x) + x.mean()


class Around(Skipping):
    def forward(self, x):
        return self.second(self.first(x)) + x


class Twice(Skipping):
    def forward(self, x):
        return self.first(self.second(self.first(x)))


class Otherwise(Skipping):
    def forward(self, x):
        x = self.second(self.first(x))
        return nn.functional.dropout(x, 0.5, self.training)


@pytest.mark.parametrize(
    ("network", "block", "message"),
    [
        (Around, "second", "add, above it, needs more"),
        (Twice, "second", "weights are used both below and above"),
        (Otherwise, "second", "other steps in training"),
        (Skipping, "first", "no layer with weights is below it"),
        (Skipping, "third", "does not call it"),
    ],
)
def test_networks_that_cannot_be_cut(network, block, message):
    with pytest.raises(ValueError, match=f"{message}.*--train-trunk"):
        split_at(network(), block)


def test_only_blocks_that_work_are_suggested():
    assert blocks_of(Skipping()) == possible_blocks(Skipping()) == ["second"]
    assert blocks_of(Around()) == ["second"]
    assert possible_blocks(Around()) == []


def test_a_skip_over_the_upper_block_alone_is_no_obstacle():
    network = Skipping()
    lower, upper = split_at(network, "second")
    pictures = torch.rand(2, 3)
    assert torch.equal(upper(lower(pictures)), network(pictures))


def test_parts_that_give_something_else_are_refused():
    lower, upper = split_at(Skipping(), "second")
    with pytest.raises(ValueError, match="other features than the network"):
        check_split(Skipping(), lower, upper, torch.rand(2, 3), "second")


def test_the_batch_size_may_be_asked_of_the_pictures():
    class Flattening(Skipping):
        def forward(self, x):
            return self.second(self.first(x)).reshape(x.shape[0], -1)

    class Widening(Skipping):
        def forward(self, x):
            return self.second(self.first(x)) * x.shape[1]

    lower, upper = split_at(Flattening(), "second")
    assert upper(lower(torch.rand(5, 3))).shape == (5, 3)
    with pytest.raises(ValueError, match="getattr_1, above it"):
        split_at(Widening(), "second")


@pytest.mark.parametrize(
    ("choice", "sentence"),
    [
        (BackboneChoice(), ""),
        (
            BackboneChoice(cut="11", crop=128),
            "Network: efficientnet_lite0 at 128 x 128 pixels (weights: pretrained), trained from "
            "block 11 on, the part below it being frozen, on 5 augmented views of each training "
            "picture; batch normalisation frozen.",
        ),
        (
            BackboneChoice("timm:test_resnet", "none", True, "trained"),
            "Network: timm:test_resnet (weights: none), trained; batch normalisation trained.",
        ),
        (BackboneChoice("x"), "Network: x (weights: pretrained), as it is."),
        (BackboneChoice("glyph"), "Network: glyph (weights: pretrained), trained."),
    ],
)
def test_what_reports_say_of_a_choice(choice, sentence):
    assert choice.sentence() == sentence


def test_a_choice_with_a_cut():
    choice = BackboneChoice(cut="default")
    assert (choice.cut, choice.trained, choice.views) == ("11", True, 5)
    assert BackboneChoice(**choice.to_dict()) == choice
    assert isinstance(find_backbone(choice), Backbone)
    assert not {"cut", "views"} & BackboneChoice(trained=True).to_dict().keys()
    with pytest.raises(ValueError, match="--views must be at least 1"):
        BackboneChoice(cut="11", views=0)
