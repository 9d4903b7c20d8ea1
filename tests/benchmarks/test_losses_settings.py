import json

import pytest
import torch
from pytorch_metric_learning import distances, miners, reducers

from benchmarks.losses import ALL_LOSSES, find_loss, hierarchical_bases
from pml_hierarchical import Hierarchy
from pml_hierarchical.clustering import KMeans

TREE = Hierarchy.from_parents([[0, 0, 1, 1, 2, 2, 3, 3, 4, 4]])


def build(spec):
    return spec.build(10, 8, TREE, seed=3)


@pytest.mark.parametrize("name", [*ALL_LOSSES, "hpl:arcface", "hpl_given:soft_triple"])
def test_settings_are_plain_and_lead_back_to_the_loss(name):
    spec = find_loss(name)
    stored = json.loads(json.dumps(spec.settings()))
    assert stored == spec.settings()
    assert spec.with_settings(stored) == spec


def test_every_kind_of_setting_reaches_the_loss():
    changed = find_loss("hpl:proxy_anchor").with_settings(
        {
            "alpha": 20.0,
            "distance": "LpDistance(power=2)",
            "proxy_learning_rate": 0.5,
            "level_weights": 0.7,
            "num_superclasses": 3,
            "warmup": 5,
            "recluster_every": 6,
            "coarse_proxies": "live",
            "clusterer": "agglomerative",
        }
    )
    loss_func = build(changed)
    assert (loss_func.level_loss(0).alpha, loss_func.level_loss(1).alpha) == (20.0, 5.0)
    assert loss_func.sizes == (10, 3)
    assert (loss_func.distance.p, loss_func.distance.power) == (2, 2)
    assert loss_func.level_weights == (1.0, 0.7)
    assert (loss_func.warmup, loss_func.recluster_every) == (5, 6)
    assert loss_func.coarse_proxies == "live"
    assert type(loss_func.clusterer).__name__ == "Agglomerative"
    assert changed.proxy_learning_rate == 0.5
    # what it was made from is as it was
    assert find_loss("hpl:proxy_anchor").settings() != changed.settings()
    assert changed.with_settings({}) == changed


def test_the_clusterer_has_the_seed_of_the_training():
    assert build(find_loss("hpl:proxy_anchor")).clusterer == KMeans(seed=3)


def test_a_given_tree_leaves_out_what_concerns_discovery():
    found = find_loss("hpl:proxy_nca", {"hpl": {"num_superclasses": 3, "warmup": 5}})
    given = found.with_settings({"hierarchy": "given", "clusterer": "agglomerative"})
    loss_func = build(given)
    assert (loss_func.hierarchy, loss_func.warmup) == (TREE, 5)
    assert given.settings() == {
        "softmax_scale": 10.7,
        "warmup": 5,
        "hierarchy": "given",
        "proxy_learning_rate": 0.03,
    }
    again = given.with_settings({"hierarchy": "discovered", "clusterer": "kmeans"})
    assert build(again).sizes == (10, 3)


def test_settings_of_the_miner():
    spec = find_loss("multi_similarity", {"multi_similarity": {"miner.epsilon": 0.3}})
    assert spec.build_miner().epsilon == 0.3
    assert spec.settings()["miner.epsilon"] == 0.3
    assert spec.settings()["miner"] == "MultiSimilarityMiner"
    cosine = spec.with_settings({"miner.distance": "LpDistance"}).build_miner()
    assert isinstance(cosine.distance, distances.LpDistance)
    other = spec.with_settings({"miner": "TripletMarginMiner", "miner.margin": 0.4})
    assert isinstance(other.build_miner(), miners.TripletMarginMiner)
    assert other.settings().keys() >= {"miner", "miner.margin"}
    assert "miner.epsilon" not in other.settings()
    without = spec.with_settings({"miner": None})
    assert without.build_miner() is None
    assert not any(key.startswith("miner") for key in without.settings())
    assert find_loss("contrastive").build_miner() is None


def test_settings_of_the_memory():
    spec = find_loss("contrastive_xbm").with_settings({"memory_size": 64, "neg_margin": 0.1})
    loss_func = build(spec)
    assert loss_func.embedding_memory.shape == (64, 8)
    assert loss_func.loss.neg_margin == 0.1


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (distances.CosineSimilarity(), "CosineSimilarity"),
        (distances.LpDistance(), "LpDistance"),
        (distances.LpDistance(power=2), "LpDistance(power=2)"),
        (reducers.ThresholdReducer(low=0.1), "ThresholdReducer(low=0.1)"),
        (
            KMeans(balance=1.5),
            "KMeans(iterations=25, restarts=5, balance=1.5, warm_iterations=2, seed=0)",
        ),
        (torch.nn.init.normal_, "torch.nn.init.normal_"),
        (torch.ones(2), [1.0, 1.0]),
        ((1, {0: 2.5}), [1, {"0": 2.5}]),
    ],
)
def test_objects_are_recorded_by_what_they_are(value, shown):
    spec = find_loss("contrastive").with_settings({"reducer": value})
    assert spec.settings()["reducer"] == shown


def test_part_from_its_text_is_the_object():
    spec = find_loss("ntxent").with_settings({"reducer": "ThresholdReducer(low=0.1)"})
    assert build(spec).reducer.low == 0.1
    assert spec.settings()["reducer"] == "ThresholdReducer(low=0.1)"


@pytest.mark.parametrize(
    ("name", "settings", "message"),
    [
        ("arcface", {"margn": 1}, "'arcface' has no setting 'margn'; did you mean 'margin'"),
        ("arcface", {"warmup": 1}, r"no setting 'warmup'\. It has: .*scale"),
        ("arcface", {"hierarchy": "given"}, "no setting 'hierarchy'"),
        ("arcface", {"num_classes": 3}, "no setting 'num_classes'"),
        ("p2s_grad", {"descriptors_dim": 3}, "no setting 'descriptors_dim'"),
        ("contrastive", {"proxy_learning_rate": 0.1}, "no setting 'proxy_learning_rate'"),
        ("contrastive", {"memory_size": 9}, "no setting 'memory_size'"),
        ("contrastive", {"miner.epsilon": 0.1}, "no setting 'miner.epsilon'"),
        ("multi_similarity", {"miner.epsilo": 0.1}, "did you mean 'miner.epsilon'"),
        ("contrastive", {"mat_based_loss": True}, "no setting 'mat_based_loss'"),
        ("intra_pair_variance", {"distance": "LpDistance"}, "no setting 'distance'"),
        ("hpl:arcface", {"seed": 3}, "no setting 'seed'"),
        ("hpl:arcface", {"hierarchy": "both"}, "one of discovered, given, mixed; got 'both'"),
        ("contrastive", {"miner": "Miner"}, "miner='Miner': PML has AngularMiner"),
        ("contrastive", {"distance": "Cosine"}, "PML has .*CosineSimilarity"),
        ("contrastive", {"distance": "LpDistance(q=2)"}, "unexpected keyword argument 'q'"),
        ("contrastive", {"distance": "LpDistance(2)"}, "arguments by keyword"),
        ("contrastive", {"distance": "LpDistance("}, "must be a class of PML"),
    ],
)
def test_settings_that_are_none(name, settings, message):
    with pytest.raises(ValueError, match=message):
        find_loss(name).with_settings(settings)


def test_learning_rate_of_a_margin_that_is_learned_or_not():
    spec = find_loss("margin")
    assert build(spec).beta.shape == (10,)
    fixed = spec.with_settings({"learn_beta": False})
    assert not list(build(fixed).parameters())
    assert "proxy_learning_rate" not in fixed.settings()
    learned = fixed.with_settings({"learn_beta": True, "proxy_learning_rate": 0.2})
    assert learned.settings()["proxy_learning_rate"] == 0.2


@pytest.mark.parametrize("base", hierarchical_bases())
def test_hpl_takes_the_settings_of_its_base(base):
    spec = find_loss(f"hpl:{base}")
    names = [key for key in spec.arguments if key != "centers_per_class"]
    chosen = {key: spec.arguments[key] for key in names}
    assert spec.with_settings(chosen) == spec
    assert build(spec.with_settings({"embedding_regularizer": "LpRegularizer(p=1)"}))
