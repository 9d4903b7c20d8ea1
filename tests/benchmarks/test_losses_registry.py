import pytest
import torch
from pytorch_metric_learning import losses as pml_losses

from benchmarks.losses import (
    ALL_LOSSES,
    BASELINES,
    DEFAULT_LOSSES,
    HPL_PREFIXES,
    LEFT_OUT,
    find_loss,
    hierarchical_bases,
)
from pml_hierarchical import Hierarchy, losses

TREE = Hierarchy.from_parents([[i // 4 for i in range(32)]])  # 32 classes, 8 superclasses
SIZE = 16
EVERY_LOSS = [*ALL_LOSSES, *(f"{p}:{base}" for p in HPL_PREFIXES for base in hierarchical_bases())]


def train(spec, labels, num_steps):
    """Train free embeddings of a batch, as the trainer would; returns them and the loss."""
    torch.manual_seed(0)
    loss_func, miner = spec.build(TREE.num_classes, SIZE, TREE, seed=0), spec.build_miner()
    embeddings = torch.nn.Parameter(torch.randn(len(labels), SIZE))
    rates = {0.05: [embeddings], spec.proxy_learning_rate: list(loss_func.parameters())}
    optimizer = torch.optim.AdamW([{"params": p, "lr": lr} for lr, p in rates.items()], 0.0)
    for _ in range(num_steps):
        optimizer.zero_grad()
        loss_func(embeddings, labels, miner(embeddings, labels) if miner else None).backward()
        assert embeddings.grad.isfinite().all()
        optimizer.step()
    return embeddings, loss_func


def precision_at_1(embeddings, labels):
    unit = torch.nn.functional.normalize(embeddings.detach())
    similarity = (unit @ unit.t()).fill_diagonal_(-2)
    return (labels[similarity.argmax(dim=1)] == labels).float().mean().item()


def test_nine_baselines_and_two_hierarchical_losses():
    assert len(BASELINES) == 9
    assert (*BASELINES, "hpl:proxy_nca", "hpl:proxy_anchor") == DEFAULT_LOSSES


def test_every_loss_of_pml_is_here_or_left_out_for_a_reason():
    named = {name: value for name, value in vars(pml_losses).items() if isinstance(value, type)}
    left_out = set(LEFT_OUT)
    assert left_out <= set(named)
    assert all(LEFT_OUT.values())
    # in lower case and without "Loss", PML's name is the one of the registry
    here = {name.replace("_", "") for name in ALL_LOSSES} - {"contrastivexbm"}
    assert here == {name.removesuffix("Loss").lower() for name in set(named) - left_out}
    for name, spec in ALL_LOSSES.items():
        assert spec.name == name
        assert spec.source


@pytest.mark.parametrize("name", EVERY_LOSS)
def test_every_loss_trains_on_32_classes_of_4(name):
    overrides = {prefix: {"warmup": 0} for prefix in HPL_PREFIXES}
    spec = find_loss(name, overrides)
    # twice: what a loss keeps of one batch must not stand in the way of the next
    embeddings, loss_func = train(spec, torch.arange(32).repeat_interleave(4), num_steps=2)
    assert embeddings.grad.abs().sum() > 0
    assert bool(list(loss_func.parameters())) == spec.has_parameters
    assert all(p.grad is not None and p.grad.isfinite().all() for p in loss_func.parameters())
    if spec.hierarchy:
        assert loss_func.is_active


@pytest.mark.parametrize("name", ALL_LOSSES)
def test_every_loss_brings_classes_together(name):
    # Two of each class: n_pairs takes no more. In this order no loss can count on the labels.
    labels = (15 - torch.arange(16)) % 8
    # what several centres of a class attract is not near one another
    one_centre = {"soft_triple": {"centers_per_class": 1}, "sub_center_arcface": {"sub_centers": 1}}
    spec = find_loss(name, one_centre)
    before, _ = train(spec, labels, num_steps=0)
    after, _ = train(spec, labels, num_steps=120)
    assert precision_at_1(after, labels) > precision_at_1(before, labels) + 0.3


def test_hierarchy_is_given_or_discovered():
    given = find_loss("hpl_given:proxy_anchor").build(32, 8, TREE, seed=0)
    assert given.hierarchy == TREE
    discovered = find_loss("hpl:proxy_anchor").build(32, 8, TREE, seed=0)
    assert discovered.hierarchy is None
    assert isinstance(discovered.level_loss(0), losses.ProxyAnchorLoss)


def test_settings_of_a_data_set_win():
    overrides = {
        "proxy_anchor": {"alpha": 16.0},
        "hpl": {"num_superclasses": 3},
        "hpl:proxy_anchor": {"margin": 0.3},
    }
    spec = find_loss("hpl:proxy_anchor", overrides)
    loss_func = spec.build(32, 8, TREE, seed=0)
    fine = loss_func.level_loss(0)
    assert (fine.alpha, fine.margin, loss_func.sizes) == (16.0, 0.3, (32, 3))
    assert spec.settings()["num_superclasses"] == 3
    assert "num_superclasses" not in find_loss("hpl_given:proxy_anchor", overrides).settings()
    assert find_loss("proxy_anchor", overrides).settings()["alpha"] == 16.0
    with pytest.raises(ValueError, match=r"'proxy_anchor' has no setting 'warmup'"):
        find_loss("hpl:proxy_anchor", {"proxy_anchor": {"warmup": 3}})


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("proxy_ancor", "did you mean 'proxy_anchor'"),
        ("hpl:proxy_ancor", "did you mean 'hpl:proxy_anchor'"),
        ("HPL:proxy_anchor", "did you mean 'hpl:proxy_anchor'"),
        ("hlp:proxy_anchor", "did you mean 'hpl:proxy_anchor'"),
        ("", "Known losses: contrastive"),
        ("hpl:contrastive", "'contrastive' has no proxies; choose one of normalized_softmax"),
        ("hpl_given:triplet_margin", "'triplet_margin' has no proxies"),
        ("hpl:margin", "'margin' has no proxies"),
    ],
)
def test_names_that_are_none(name, message):
    with pytest.raises(ValueError, match=message):
        find_loss(name)


def test_hierarchical_bases_are_all_losses_with_proxies():
    assert hierarchical_bases() == [
        "normalized_softmax",
        "cosface",
        "arcface",
        "soft_triple",
        "proxy_nca",
        "proxy_anchor",
        "sub_center_arcface",
        "large_margin_softmax",
        "sphereface",
        "p2s_grad",
    ]
