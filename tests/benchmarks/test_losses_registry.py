import pytest
import torch

from benchmarks.losses import BASELINES, DEFAULT_LOSSES, find_loss, hierarchical_bases
from pml_hierarchical import Hierarchy, losses

TREE = Hierarchy.from_parents([[0, 0, 1, 1, 2, 2, 3, 3, 4, 4]])


def test_nine_baselines_and_two_hierarchical_losses():
    assert len(BASELINES) == 9
    assert (*BASELINES, "hpl:proxy_nca", "hpl:proxy_anchor") == DEFAULT_LOSSES


@pytest.mark.parametrize(
    "name",
    [
        *DEFAULT_LOSSES,
        *(f"hpl_given:{base}" for base in hierarchical_bases()),
        *(f"hpl:{base}" for base in hierarchical_bases() if f"hpl:{base}" not in DEFAULT_LOSSES),
    ],
)
def test_every_loss_trains(name):
    spec = find_loss(name)
    loss_func = spec.build(TREE.num_classes, 8, TREE, seed=0)
    embeddings = torch.randn(40, 8, requires_grad=True)
    labels = torch.arange(40) % 10
    mined = spec.miner()(embeddings, labels) if spec.miner else None
    loss_func(embeddings, labels, mined).backward()
    assert embeddings.grad.abs().sum() > 0
    assert bool(list(loss_func.parameters())) == spec.has_proxies


def test_hierarchy_is_given_or_discovered():
    given = find_loss("hpl_given:proxy_anchor").build(10, 8, TREE, seed=0)
    assert given.hierarchy == TREE
    discovered = find_loss("hpl:proxy_anchor").build(10, 8, TREE, seed=0)
    assert discovered.hierarchy is None
    assert isinstance(discovered.level_loss(0), losses.ProxyAnchorLoss)


def test_settings_of_a_data_set_win():
    overrides = {"proxy_anchor": {"alpha": 16.0}, "hpl": {"num_superclasses": 3}}
    spec = find_loss("hpl:proxy_anchor", overrides)
    loss_func = spec.build(10, 8, TREE, seed=0)
    assert (loss_func.alpha, loss_func.sizes) == (16.0, (10, 3))
    assert spec.settings()["num_superclasses"] == 3
    assert "num_superclasses" not in find_loss("hpl_given:proxy_anchor", overrides).settings()


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("proxy_ancor", "did you mean 'proxy_anchor'"),
        ("hpl:proxy_ancor", "did you mean 'hpl:proxy_anchor'"),
        ("hlp:proxy_anchor", "did you mean 'hpl:proxy_anchor'"),
        ("", "Known losses: contrastive"),
        ("hpl:contrastive", "'contrastive' has no proxies; choose one of normalized_softmax"),
        ("hpl_given:triplet_margin", "'triplet_margin' has no proxies"),
    ],
)
def test_names_that_are_none(name, message):
    with pytest.raises(ValueError, match=message):
        find_loss(name)


def test_hierarchical_bases_are_all_baselines_with_proxies():
    assert hierarchical_bases() == [
        "normalized_softmax",
        "cosface",
        "arcface",
        "soft_triple",
        "proxy_nca",
        "proxy_anchor",
    ]
