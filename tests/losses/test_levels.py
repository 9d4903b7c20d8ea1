"""What can differ between levels: settings, weights, how the coarse proxies come about."""

import copy
import itertools
import re

import numpy as np
import pytest
import torch
from bases import BASES
from pytorch_metric_learning import distances, reducers, regularizers
from sklearn.cluster import AgglomerativeClustering

from pml_hierarchical import Hierarchy, losses
from pml_hierarchical.clustering import KMeans
from pml_hierarchical.losses import HierarchicalProxyLoss

C, D, B = 12, 6, 20
TREE = Hierarchy.from_parents([[0, 0, 0, 0, 1, 1, 2, 2, 2, 3, 3, 3], [0, 0, 1, 1]])


def batch(dtype=torch.float64):
    return torch.randn(B, D, dtype=dtype, requires_grad=True), torch.randint(C, (B,))


def built(**kwargs):
    loss_func = HierarchicalProxyLoss(C, D, recluster_every=None, **kwargs).double()
    loss_func.recluster()
    return loss_func


def step(loss_func, optimizer=None):
    loss = loss_func(*batch(next(loss_func.parameters()).dtype))
    loss.backward()
    if optimizer:
        optimizer.step()
        optimizer.zero_grad()


# ---------------------------------------------------------------- settings and weights
@pytest.mark.parametrize("level_kwargs", [{1: {"alpha": 16, "margin": 0.3}}, None])
def test_settings_of_a_level(level_kwargs):
    loss_func = built(hierarchy=TREE, level_kwargs=level_kwargs, alpha=20, coarse_scale=1)
    embeddings, labels = batch()
    loss_func(embeddings, labels)
    for level, size in enumerate(TREE.sizes):
        settings = {"alpha": 20, **(level_kwargs or {}).get(level, {})}
        theirs = losses.ProxyAnchorLoss(size, D, **settings)
        theirs.proxies.data = loss_func.level_loss(level).proxies.data
        expected = theirs(embeddings, TREE.ancestors(labels, level))
        torch.testing.assert_close(getattr(loss_func, f"loss_level{level}"), expected.detach())


@pytest.mark.parametrize("engine", [None, "pml"])
@pytest.mark.parametrize("name", BASES)
def test_a_softer_scale_for_the_coarse_levels(name, engine):
    base = BASES[name]
    loss_func = built(hierarchy=TREE, base_loss=base.loss_class, engine=engine, **base.kwargs)
    embeddings, labels = batch()
    loss_func(embeddings, labels)
    for level, size in enumerate(TREE.sizes):
        theirs = base.make(size, D, **(base.quarter if level else {})).double()
        base.write(theirs, base.proxies(loss_func.level_loss(level)).detach())
        expected = theirs(embeddings, TREE.ancestors(labels, level))
        torch.testing.assert_close(getattr(loss_func, f"loss_level{level}"), expected.detach())


def test_a_scale_that_level_kwargs_give_stays():
    settings = {1: {"temperature": 0.3}, 2: {"reducer": reducers.SumReducer()}}
    kwargs = {"base_loss": losses.NormalizedSoftmaxLoss, "hierarchy": TREE, "coarse_scale": 0.5}
    loss_func = built(level_kwargs=settings, temperature=0.1, **kwargs)
    temperatures = [loss_func.level_loss(level).temperature for level in range(3)]
    assert temperatures == pytest.approx([0.1, 0.3, 0.2])


class Sharpened(losses.NormalizedSoftmaxLoss):
    """With a temperature that is learned, and a factor."""

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.temperature = torch.nn.Parameter(torch.tensor(self.temperature))
        self.factor = 3.0


def test_a_scale_that_is_learned():
    loss_func = built(hierarchy=TREE, base_loss=Sharpened, coarse_scale=0.5)
    fine, coarse = loss_func.level_loss(0).temperature, loss_func.level_loss(1).temperature
    assert isinstance(coarse, torch.nn.Parameter)
    assert (float(fine), float(coarse)) == pytest.approx((0.05, 0.1))
    loss_func(*batch()).backward()
    assert coarse.grad != 0


def test_the_scale_of_a_loss_of_ones_own():
    class Own(Sharpened):
        pass

    losses.register_proxy_loss(Own, "W", 1, direction_only=True, scale="factor")
    loss_func = built(hierarchy=TREE, base_loss=Own, coarse_scale=0.5)
    assert [loss_func.level_loss(level).factor for level in range(3)] == [3.0, 1.5, 1.5]
    assert float(loss_func.level_loss(1).temperature) == pytest.approx(0.05)


def test_another_reducer_for_a_level():
    settings = {1: {"reducer": reducers.SumReducer()}, 2: {"temperature": 1.0}}
    kwargs = {"base_loss": losses.NormalizedSoftmaxLoss, "hierarchy": TREE}
    loss_func = built(level_kwargs=settings, **kwargs)
    inputs = batch()
    loss_func(*inputs)
    plain = built(**kwargs)
    plain.load_state_dict(loss_func.state_dict())
    plain(*inputs)
    torch.testing.assert_close(loss_func.loss_level0, plain.loss_level0)
    torch.testing.assert_close(loss_func.loss_level1, B * plain.loss_level1)
    assert loss_func.level_loss(2).temperature == 1.0


@pytest.mark.parametrize(
    ("tree", "weights"),
    [
        ({"num_superclasses": (5, 2)}, (1.0, 0.1, 0.1)),
        ({"hierarchy": TREE}, (1.0, 0.1, 0.1)),
        ({"hierarchy": TREE, "num_superclasses": 3}, (1.0, 0.1, 0.1, 0.1)),
        ({"hierarchy": TREE, "level_weights": 0.3}, (1.0, 0.3, 0.3)),
        ({"num_superclasses": ()}, (1.0,)),
        ({"num_superclasses": (), "level_weights": 0.3}, (1.0,)),
    ],
)
def test_a_number_is_the_weight_of_every_coarse_level(tree, weights):
    assert HierarchicalProxyLoss(C, D, **tree).level_weights == weights


def test_weights_by_a_function_of_the_step():
    loss_func = built(hierarchy=TREE, level_weights=lambda step: (1, 0.1 * step, 2), warmup=0)
    for number in range(4):
        loss = loss_func(*batch())
        values = [getattr(loss_func, f"loss_level{level}") for level in range(3)]
        expected = values[0] + 0.1 * number * values[1] + 2 * values[2]
        torch.testing.assert_close(loss.detach(), expected)
        assert loss_func.level_weights == (1.0, 0.1 * number, 2.0)
    loss_func.eval()
    assert loss_func.level_weights == (1.0, pytest.approx(0.3), 2.0)


# ---------------------------------------------------------------- coarse proxies
@pytest.mark.parametrize("name", BASES)
def test_live_means_and_their_gradients(name):
    """Against the same sum, written with PML's losses and autograd through the means."""
    base = BASES[name]
    kwargs = {"base_loss": base.loss_class, "hierarchy": TREE, "coarse_proxies": "live"}
    loss_func = built(level_weights=(1, 0.5, 0.25), coarse_scale=1, **kwargs, **base.kwargs)
    fine = getattr(loss_func, base.attribute)
    if name != "P2SGradLoss":  # which would put them back to unit length
        fine.data += 0.3 * torch.randn_like(fine)  # after the update
    embeddings, labels = batch()
    loss = loss_func(embeddings, labels)
    found = torch.autograd.grad(loss, [embeddings, fine])

    own = fine.detach().clone().requires_grad_()
    rows = own if base.class_dim == 0 else own.t()
    if base.direction_only:
        rows = torch.nn.functional.normalize(rows)
    vectors = rows.reshape(C, base.centers, D).mean(dim=1)
    expected = torch.zeros((), dtype=torch.float64)
    for level, weight in enumerate((1, 0.5, 0.25)):
        theirs = base.make(TREE.sizes[level], D).double()
        nodes = range(TREE.sizes[level])
        means = torch.stack([vectors[TREE.members(level, node)].mean(dim=0) for node in nodes])
        if name == "P2SGradLoss":
            means = torch.nn.functional.normalize(means)
        means = means.repeat_interleave(base.centers, dim=0)
        proxies = {
            base.attribute: own if level == 0 else means if not base.class_dim else means.t()
        }
        inputs = (embeddings, TREE.ancestors(labels, level))
        expected = expected + weight * torch.func.functional_call(theirs, proxies, inputs)
    torch.testing.assert_close(loss, expected)
    wanted = torch.autograd.grad(expected, [embeddings, own])
    for ours, theirs in zip(found, wanted, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-6, atol=1e-8)


def test_live_logits_follow_the_fine_proxies():
    loss_func = built(hierarchy=TREE, coarse_proxies="live")
    embeddings, _ = batch()
    before = loss_func.get_logits(embeddings, level=1)
    loss_func.proxies.data += 1
    after = loss_func.get_logits(embeddings, level=1)
    assert not torch.allclose(before, after)
    loss_func.recluster()
    torch.testing.assert_close(after, loss_func.get_logits(embeddings, level=1))


def test_learned_proxies_start_at_the_means_and_are_trained():
    loss_func = HierarchicalProxyLoss(C, D, hierarchy=TREE, warmup=2, recluster_every=1)
    assert loss_func.coarse_proxies == "learned"  # by default
    assert [tuple(p.shape) for p in loss_func.parameters()] == [(12, 6), (4, 6), (2, 6)]
    optimizer = torch.optim.SGD(loss_func.parameters(), lr=0.1)
    for _ in range(2):
        step(loss_func, optimizer)
        assert not loss_func.level_loss(1).proxies.any()  # zero until then
    fine = torch.nn.functional.normalize(loss_func.proxies.detach())
    step(loss_func)
    means = torch.stack([fine[TREE.members(1, node)].mean(dim=0) for node in range(4)])
    torch.testing.assert_close(loss_func.level_loss(1).proxies.detach(), means)
    optimizer.step()
    learned = loss_func.level_loss(1).proxies.detach().clone()
    assert not torch.allclose(learned, means)
    loss_func.recluster()
    assert torch.equal(loss_func.level_loss(1).proxies, learned)


def test_fixed_proxies_are_not_parameters():
    loss_func = HierarchicalProxyLoss(C, D, hierarchy=TREE, coarse_proxies="fixed")
    assert [tuple(p.shape) for p in loss_func.parameters()] == [(12, 6)]


@pytest.mark.parametrize("coarse_proxies", ["fixed", "live", "learned"])
@pytest.mark.parametrize("name", ["ProxyAnchorLoss", "SoftTripleLoss", "P2SGradLoss"])
def test_an_update_between_a_forward_and_its_backward(coarse_proxies, name):
    """Gradient accumulation: the update must not spoil the graph of the batch before."""
    loss_func = HierarchicalProxyLoss(
        C,
        D,
        num_superclasses=3,
        warmup=0,
        recluster_every=1,
        coarse_proxies=coarse_proxies,
        base_loss=BASES[name].loss_class,
    ).double()
    first, second = batch(), batch()
    loss = loss_func(*first)
    expected = torch.autograd.grad(loss, first[0], retain_graph=True)[0]
    loss_func(*second)
    torch.testing.assert_close(torch.autograd.grad(loss, first[0])[0], expected)


# ---------------------------------------------------------------- clustering
def random_proxies():
    return torch.randn(C, D, generator=torch.Generator().manual_seed(3), dtype=torch.float64)


def same_partition(a, b):
    return (np.equal.outer(a, a) == np.equal.outer(b, b)).all()


def test_agglomerative():
    loss_func = HierarchicalProxyLoss(C, D, num_superclasses=4, clusterer="agglomerative")
    loss_func.proxies.data = random_proxies()
    found = loss_func.recluster().class_labels[:, 1]
    expected = AgglomerativeClustering(4, metric="cosine", linkage="average").fit_predict(
        random_proxies()
    )
    assert same_partition(found, expected)


def test_a_users_function():
    loss_func = HierarchicalProxyLoss(
        C, D, num_superclasses=3, clusterer=lambda points, k: np.argsort(points[:, 0]).argsort() % k
    )
    loss_func.proxies.data = random_proxies()
    first = torch.nn.functional.normalize(random_proxies())[:, 0]
    expected = first.argsort().argsort().numpy() % 3
    assert same_partition(loss_func.recluster().class_labels[:, 1], expected)


def test_the_papers_step_reassigns_to_the_coarse_proxies_in_use():
    """To those of the last update, not to the means of where the classes are now."""
    loss_func = HierarchicalProxyLoss(C, D, num_superclasses=4, clusterer="kmeans_step").double()
    before = loss_func.recluster().class_labels[:, 1]
    coarse = torch.nn.functional.normalize(loss_func.level_loss(1).proxies)
    loss_func.proxies.data += 0.3 * random_proxies()
    now = torch.nn.functional.normalize(loss_func.proxies.detach())
    means = torch.stack([now[before == node].mean(dim=0) for node in range(4)])
    nearest = (now @ coarse.T).argmax(dim=1)
    assert len(nearest.unique()) == 4
    assert not torch.equal(nearest, (now @ torch.nn.functional.normalize(means).T).argmax(dim=1))
    np.testing.assert_array_equal(loss_func.recluster().class_labels[:, 1], nearest)


def test_a_hook_that_comes_late_builds_the_hierarchy_at_once():
    loss_func = HierarchicalProxyLoss(C, D, warmup=2, recluster_every=None)
    due = []
    for number in range(10):
        if number == 5:
            loss_func.recluster()
        due.append(loss_func.is_due(every=4))
        loss_func.superclasses.count_step()
    assert due == [False, False, True, True, True, False, False, False, False, True]


def test_balanced_sizes_and_where_they_are_recorded():
    loss_func = HierarchicalProxyLoss(C, D, num_superclasses=3, clusterer=KMeans(balance=1.0))
    loss_func.recluster()
    assert (loss_func.smallest_superclass, loss_func.largest_superclass) == (4, 4)


def test_names_of_a_mixed_tree():
    tree = Hierarchy.from_paths([f"{'abc'[c % 3]}/{c}" for c in range(C)])
    loss_func = HierarchicalProxyLoss(C, D, hierarchy=tree, num_superclasses=6, warmup=0)
    names = loss_func.recluster().names
    assert names == (tree.names[0], None, tree.names[1])


def test_mixed_tree_below_between_and_above():
    tree = Hierarchy.from_parents([np.arange(C) // 2])
    loss_func = HierarchicalProxyLoss(C, D, hierarchy=tree, num_superclasses=(9, 3), warmup=0)
    assert loss_func.sizes == (12, 9, 6, 3)
    assert loss_func.is_given == (True, False, True, False)
    found = loss_func.recluster()
    np.testing.assert_array_equal(found.class_labels[:, 2], np.arange(C) // 2)
    step(loss_func)


@pytest.mark.parametrize("name", ["ProxyAnchorLoss", "SubCenterArcFaceLoss", "SoftTripleLoss"])
def test_numbering_of_the_classes_changes_nothing(name):
    base = BASES[name]

    def loss_of(order):
        loss_func = HierarchicalProxyLoss(
            C, D, base_loss=base.loss_class, num_superclasses=(5, 2), warmup=0, **base.kwargs
        ).double()
        proxies = torch.randn(C, base.centers, D, generator=torch.Generator().manual_seed(9))
        base.write(loss_func.level_loss(0), proxies.double()[order])
        return loss_func

    order = torch.randperm(C)
    embeddings, labels = batch()
    expected = loss_of(torch.arange(C))(embeddings, labels)
    torch.testing.assert_close(loss_of(order)(embeddings, order.argsort()[labels]), expected)


# ---------------------------------------------------------------- new classes
def trained(**kwargs):
    loss_func = HierarchicalProxyLoss(C, D, warmup=1, recluster_every=2, **kwargs)
    optimizer = torch.optim.Adam(loss_func.parameters(), lr=0.1)
    for _ in range(4):
        step(loss_func, optimizer)
    return loss_func, optimizer


@pytest.mark.parametrize("name", BASES)
@pytest.mark.parametrize("kwargs", [{"num_superclasses": 4}, {"hierarchy": TREE}])
def test_new_classes(name, kwargs):
    base = BASES[name]
    loss_func, optimizer = trained(base_loss=base.loss_class, **base.kwargs, **kwargs)
    before = base.proxies(loss_func).detach().clone()
    averages = optimizer.state[getattr(loss_func, base.attribute)]["exp_avg"].clone()
    coarse = [p.detach().clone() for p in list(loss_func.parameters())[1:]]
    new = torch.nn.functional.normalize(torch.randn(3, D))
    parents = [3, 0, 0] if "hierarchy" in kwargs else None
    loss_func.add_classes(3, parents, proxies=new, optimizer=optimizer)
    assert loss_func.num_classes == C + 3
    after = base.proxies(loss_func).detach().clone()
    assert torch.equal(after[:C], before)
    torch.testing.assert_close(after[C:], new[:, None].expand(-1, base.centers, -1))
    if parents:
        np.testing.assert_array_equal(loss_func.hierarchy.class_labels[C:, 1], parents)
        np.testing.assert_array_equal(loss_func.hierarchy.class_labels[C:, 2], [1, 0, 0])
        assert loss_func.sizes == (C + 3, 4, 2)
    parameter = getattr(loss_func, base.attribute)
    trained_ones = [p for group in optimizer.param_groups for p in group["params"]]
    assert [*map(id, trained_ones)] == [*map(id, loss_func.parameters())]
    assert trained_ones[0] is parameter
    assert all(map(torch.equal, trained_ones[1:], coarse))  # learned ones stay as they are
    grown = optimizer.state[parameter]["exp_avg"]
    old = grown[:C] if base.class_dim == 0 else grown[:, : C * base.centers]
    assert torch.equal(old, averages)
    assert grown.count_nonzero() == averages.count_nonzero()
    embeddings, labels = torch.randn(B, D), torch.randint(C, C + 3, (B,))
    loss_func(embeddings, labels).backward()
    optimizer.step()
    moved = base.proxies(loss_func).detach()[C:]
    assert not torch.allclose(moved, after[C:])


def test_names_of_levels_that_do_not_grow_are_kept():
    paths = ["fruit/apple", "fruit/pear", "dairy/milk"]
    loss_func = HierarchicalProxyLoss(3, D, hierarchy=paths)
    loss_func.add_classes(2, parents=torch.tensor([1, 0]))
    assert loss_func.hierarchy.names == (None, ("fruit", "dairy"))
    loss_func.add_classes(1, parents=[[2]])
    assert loss_func.hierarchy.names is None


def test_new_superclasses():
    loss_func, _ = trained(hierarchy=TREE)
    learned = loss_func.level_loss(1).proxies.detach().clone()
    loss_func.add_classes(2, parents=[[4, 2], [4, 2]])
    assert loss_func.sizes == (C + 2, 5, 3)
    assert torch.equal(loss_func.level_loss(1).proxies[:4], learned)
    mean = torch.nn.functional.normalize(loss_func.proxies[C:].detach()).mean(dim=0)
    torch.testing.assert_close(loss_func.level_loss(1).proxies[4].detach(), mean)


@pytest.mark.parametrize("mode", ["learned", "fixed"])
def test_one_new_class_moves_few_of_the_others(mode):
    torch.manual_seed(0)
    loss_func = HierarchicalProxyLoss(200, 16, num_superclasses=20, coarse_proxies=mode)
    for _ in range(3):  # until k-means has settled
        loss_func.recluster()
    before = loss_func.class_labels[:, 1].clone()
    loss_func.add_classes(1)
    assert (loss_func.class_labels[:-1, 1] != before).double().mean() < 0.1


def means_of(loss_func):
    """The mean of the proxies of each superclass of level 1."""
    members = loss_func.class_labels[:, 1]
    return torch.stack(
        [loss_func.class_vectors()[members == s].mean(0) for s in range(loss_func.sizes[1])]
    )


def test_superclasses_stay_in_their_given_class_when_others_grow():
    torch.manual_seed(0)
    given = Hierarchy.from_parents([[0] * 10 + [1] * 10])
    loss_func = HierarchicalProxyLoss(20, 8, hierarchy=given, num_superclasses=6, warmup=0)
    loss_func.recluster()
    before = loss_func.class_labels.clone()
    loss_func.add_classes(40, parents=[0] * 40)
    assert torch.equal(loss_func.class_labels[:20], before)
    proxies = loss_func.level_loss(1).proxies
    assert torch.cosine_similarity(proxies, means_of(loss_func)).min() > 0.3


def test_a_new_given_class_takes_superclasses_that_start_again():
    torch.manual_seed(0)
    given = Hierarchy.from_parents([[0] * 10 + [1] * 10])
    loss_func = HierarchicalProxyLoss(20, 8, hierarchy=given, num_superclasses=6, warmup=0)
    loss_func.recluster()
    loss_func.add_classes(40, parents=[2] * 40)
    proxies = loss_func.level_loss(1).proxies
    assert torch.cosine_similarity(proxies, means_of(loss_func)).min() > 0.99


def test_new_classes_of_a_mixed_tree_and_before_the_first_update():
    loss_func, _ = trained(hierarchy=Hierarchy(TREE.class_labels[:, [0, 2]]), num_superclasses=5)
    loss_func.add_classes(4, parents=[0, 0, 1, 1])
    assert loss_func.hierarchy.sizes == (C + 4, 5, 2)
    np.testing.assert_array_equal(loss_func.hierarchy.class_labels[C:, 2], [0, 0, 1, 1])
    fresh = HierarchicalProxyLoss(C, D)
    fresh.add_classes(1)
    assert not fresh.is_active
    assert fresh.proxies.shape == (C + 1, D)
    flat = HierarchicalProxyLoss(C, D, num_superclasses=())
    flat.add_classes(1)
    flat(torch.randn(1, D), torch.tensor([C]))


@pytest.mark.parametrize(
    ("tree", "args", "error", "message"),
    [
        (TREE, {"num_new": 0}, ValueError, "num_new must be at least 1, got 0"),
        (TREE, {"num_new": 2}, TypeError, r"parents must say .*\(2,\) or \(2, 2\)"),
        (TREE, {"num_new": 2, "parents": [0]}, ValueError, r"shape \(2,\) or .* got \(1,\)"),
        (TREE, {"num_new": 1, "parents": [4]}, ValueError, r"exist, 0\.\.3, got 4\.\.4"),
        (
            TREE,
            {"num_new": 1, "parents": [0.5]},
            TypeError,
            "parents must be integers, got dtype float",
        ),
        (TREE, {"num_new": 1, "parents": [[0, 1]]}, ValueError, "class 0 of level 1 has two par"),
        (TREE, {"num_new": 1, "parents": [[6, 2]]}, ValueError, "class 4 is missing"),
        (None, {"num_new": 1, "parents": [0]}, TypeError, "is discovered: leave it out"),
        (None, {"num_new": 2, "proxies": torch.zeros(1, D)}, ValueError, r"shape \(2, 6\)"),
        (
            None,
            {"num_new": 1, "optimizer": torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))])},
            ValueError,
            "optimizer does not train the proxies",
        ),
    ],
)
def test_bad_new_classes_change_nothing(tree, args, error, message):
    loss_func = HierarchicalProxyLoss(C, D, hierarchy=tree)
    before = {k: v.clone() for k, v in loss_func.state_dict().items()}
    with pytest.raises(error, match=message):
        loss_func.add_classes(**args)
    after = loss_func.state_dict()
    assert all(torch.equal(after[key], value) for key, value in before.items())
    assert loss_func.num_classes == C


@pytest.mark.parametrize("coarse_proxies", ["learned", "fixed", "live"])
@pytest.mark.parametrize("sizes", [3, (6, 3)])
def test_a_clustering_that_fails_changes_nothing(sizes, coarse_proxies):
    def fixed(points, num_clusters):  # known groups of the old classes
        return np.arange(len(points)) % num_clusters if len(points) <= C else np.zeros(C, int)

    options = {"warmup": 0, "clusterer": fixed, "coarse_proxies": coarse_proxies}
    loss_func = HierarchicalProxyLoss(C, D, num_superclasses=sizes, **options)
    optimizer = torch.optim.Adam(loss_func.parameters())
    loss_func(torch.randn(C, D), torch.arange(C)).backward()
    optimizer.step()
    before = {k: v.clone() for k, v in loss_func.state_dict().items()}
    parameters, tree = list(loss_func.parameters()), loss_func.hierarchy
    with pytest.raises(ValueError, match="fixed must return integers"):
        loss_func.add_classes(2, optimizer=optimizer)
    after = loss_func.state_dict()
    assert list(after) == list(before)
    assert all(map(torch.equal, after.values(), before.values()))
    assert (loss_func.num_classes, loss_func.hierarchy) == (C, tree)
    kept = [*loss_func.parameters(), *optimizer.param_groups[0]["params"], *optimizer.state]
    assert all(one is other for one, other in zip(kept, 3 * parameters, strict=True))
    loss_func.clusterer = "kmeans"  # also by its name
    loss_func.add_classes(2, optimizer=optimizer)
    assert (loss_func.num_classes, loss_func.is_active) == (C + 2, True)


@pytest.mark.parametrize("base", [losses.ProxyNCALoss, losses.ProxyAnchorLoss])
def test_class_weights_are_extended_before_new_classes_come(base):
    """Proxy-Anchor has a copy of the reducer for each of its two terms."""
    weights = torch.rand(C)
    reducer = reducers.ClassWeightedReducer(weights)
    loss_func = HierarchicalProxyLoss(C, D, base, TREE, warmup=0, reducer=reducer)
    before = {k: v.clone() for k, v in loss_func.state_dict().items()}
    with pytest.raises(ValueError, match=r"level 0 has 12 weights.* 14 classes.*reducer"):
        loss_func.add_classes(2, parents=[0, 3])
    assert all(map(torch.equal, loss_func.state_dict().values(), before.values()))
    assert loss_func.num_classes == C
    own = [one for one in loss_func.level_loss(0).reducer.modules() if hasattr(one, "weights")]
    for one in own:
        one.weights = torch.cat([weights, torch.ones(2)])
    loss_func.add_classes(2, parents=[0, 3])
    labels = torch.arange(C + 2)
    loss_func(torch.randn(C + 2, D), labels)
    kept = [one for one in loss_func.level_loss(0).reducer.modules() if hasattr(one, "weights")]
    assert [len(one.weights) for one in kept] == [C + 2] * len(own)


@pytest.mark.parametrize("base", [losses.ProxyNCALoss, losses.ProxyAnchorLoss])
def test_the_reducer_of_the_only_level_is_the_one_in_use(base):
    """PML copies a reducer that is not a ``MultipleReducers``, as Proxy-Anchor's is."""
    reducer = reducers.ClassWeightedReducer(torch.ones(C))
    loss_func = HierarchicalProxyLoss(C, D, base, num_superclasses=(), reducer=reducer)
    with pytest.raises(ValueError, match=r"level 0 has 12 weights.* 14 classes"):
        loss_func.add_classes(2)
    for one in loss_func.level_loss(0).reducer.modules():
        if hasattr(one, "weights"):
            one.weights = torch.ones(C + 2)
    loss_func.add_classes(2)
    embeddings, labels = torch.randn(C + 2, D), torch.arange(C + 2)
    value = loss_func(embeddings, labels)
    for one in loss_func.reducer.modules():
        if hasattr(one, "weights"):
            one.weights = torch.full((C + 2,), 3.0)
    torch.testing.assert_close(loss_func(embeddings, labels), 3 * value)
    loss_func.level_loss(0).reducer = reducers.DoNothingReducer()
    assert isinstance(loss_func(embeddings, labels), dict)


def test_new_classes_keep_what_was_set_on_a_level():
    """Where ``__setattr__`` says that these are to be set."""
    names, base = ("embedding_regularizer", "weight_regularizer"), losses.NormalizedSoftmaxLoss
    given = {name: regularizers.LpRegularizer() for name in names}
    loss_func = HierarchicalProxyLoss(C, D, base, num_superclasses=3, **given)
    fine, kept = loss_func.level_loss(0), regularizers.LpRegularizer(p=1)
    fine.distance = distances.CosineSimilarity()
    fine.embedding_regularizer = fine.weight_regularizer = kept
    loss_func.add_classes(2)
    grown = loss_func.level_loss(0)
    assert grown is not fine
    assert (grown.distance, grown.reducer) == (fine.distance, fine.reducer)
    assert grown.embedding_regularizer is grown.weight_regularizer is kept
    loss_func(torch.randn(C + 2, D), torch.arange(C + 2)).backward()


def test_weights_are_set_in_place_of_a_function_of_the_step():
    def schedule(step):
        return (1, 0.1 * (step + 1))

    kwargs = {"num_superclasses": 3, "warmup": 0}
    loss_func = HierarchicalProxyLoss(C, D, level_weights=schedule, **kwargs)
    step(loss_func)
    with pytest.raises(ValueError, match=r"level_weights .*got 1"):
        loss_func.level_weights = (1,)
    assert loss_func.weight_schedule is schedule
    loss_func.level_weights = (1, 0.7)
    step(loss_func)
    assert loss_func.level_weights == (1, 0.7)
    loss_func.level_weights = schedule
    assert loss_func.level_weights == pytest.approx((1, 0.3))
    for _ in range(2):
        step(loss_func)
    assert loss_func.level_weights == pytest.approx((1, 0.4))


def test_miners_weigh_every_level_and_distances_reach_them():
    distance = distances.LpDistance(power=2)
    kwargs = {"base_loss": losses.ProxyNCALoss, "distance": distance, "coarse_scale": 1}
    loss_func = built(hierarchy=TREE, **kwargs)
    assert all(loss_func.level_loss(level).distance is distance for level in range(3))
    embeddings, labels = batch()
    pairs = tuple(torch.tensor(x) for x in ([0, 1], [2, 3], [4], [5]))
    loss_func(embeddings, labels, pairs)
    for level in range(3):
        theirs = losses.ProxyNCALoss(TREE.sizes[level], D)
        theirs.proxies.data = loss_func.level_loss(level).proxies.data
        expected = theirs(embeddings, TREE.ancestors(labels, level), pairs)
        torch.testing.assert_close(getattr(loss_func, f"loss_level{level}"), expected.detach())


def test_numbers_of_updates():
    loss_func = HierarchicalProxyLoss(C, D, num_superclasses=3, warmup=3, recluster_every=2)
    seen = []
    for _ in range(8):
        step(loss_func)
        seen.append(loss_func.num_updates)
    assert seen == list(itertools.accumulate([0, 0, 0, 1, 0, 1, 0, 1]))


class RowwiseAdagrad(torch.optim.Optimizer):
    """One accumulator for each row, as embedding tables of recommenders are trained."""

    def __init__(self, params, lr=0.1):
        super().__init__(params, {"lr": lr})

    @torch.no_grad()
    def step(self):
        for group in self.param_groups:
            for p in group["params"]:
                if p.grad is None:
                    continue
                state = self.state[p]
                state.setdefault("sum", torch.zeros(len(p)))
                state["sum"] += p.grad.square().sum(dim=1)
                p -= group["lr"] * p.grad / (state["sum"].sqrt() + 1e-8)[:, None]


@pytest.mark.parametrize("make", [torch.optim.Adafactor, RowwiseAdagrad, torch.optim.Adagrad])
@pytest.mark.parametrize("name", ["ProxyAnchorLoss", "NormalizedSoftmaxLoss"])
def test_statistics_of_rows_and_columns_grow(name, make):
    """The old proxies are trained on as if nothing was added, where their gradients are the same:
    here gradients are given, and those of the new classes are 0.
    """
    base = BASES[name]
    loss_func = HierarchicalProxyLoss(C, D, base.loss_class, TREE, recluster_every=None)
    twin = torch.nn.Parameter(getattr(loss_func, base.attribute).detach().clone())
    optimizer, reference = make(loss_func.parameters()), make([twin])

    def step(gradient):
        parameter = getattr(loss_func, base.attribute)
        parameter.grad = torch.zeros_like(parameter)
        parameter.grad[tuple(slice(size) for size in gradient.shape)] = gradient
        twin.grad = gradient.clone()
        optimizer.step()
        reference.step()

    for _ in range(3):
        step(torch.randn_like(twin))
    loss_func.add_classes(2, [0, 1], optimizer=optimizer)
    parameter = getattr(loss_func, base.attribute)
    found, expected = optimizer.state[parameter], reference.state[twin]
    for key, value in expected.items():
        old = found[key][tuple(slice(size) for size in value.shape)] if value.ndim else found[key]
        torch.testing.assert_close(old, value)
    step(torch.randn_like(twin))
    if make is not torch.optim.Adafactor:  # which scales a step by the mean over all classes
        kept = parameter.detach()[tuple(slice(size) for size in twin.shape)]
        torch.testing.assert_close(kept, twin.detach())
    loss_func(torch.randn(B, D), torch.randint(C + 2, (B,))).backward()
    optimizer.step()
    assert getattr(loss_func, base.attribute).isfinite().all()


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("name", [name for name in BASES if name != "P2SGradLoss"])
def test_logits_of_embeddings_of_another_type(name, dtype):
    """Those of PML's loss cast to the type; the loss keeps its own."""
    base = BASES[name]
    loss_func = HierarchicalProxyLoss(C, D, base.loss_class, TREE, **base.kwargs)
    loss_func.recluster()
    embeddings = torch.randn(B, D, dtype=dtype)
    for level in range(3):
        theirs = copy.deepcopy(loss_func.level_loss(level)).to(dtype)
        try:
            expected = theirs.get_logits(embeddings)
        except RuntimeError as error:  # torch has no cdist of halves
            with pytest.raises(RuntimeError, match=re.escape(str(error)[:20])):
                loss_func.get_logits(embeddings, level)
            continue
        torch.testing.assert_close(loss_func.get_logits(embeddings, level), expected)
    assert getattr(loss_func, base.attribute).dtype == torch.float32
