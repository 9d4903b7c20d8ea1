"""What ``HierarchicalProxyLoss`` promises, against PML's own losses; see ``conftest.py``."""

from __future__ import annotations

import copy
import itertools
from collections import defaultdict

import numpy as np
import pytest
import torch
import torch.distributed as dist
from pytorch_metric_learning import losses, miners, reducers, regularizers, trainers
from pytorch_metric_learning.utils import common_functions as c_f
from pytorch_metric_learning.utils import logging_presets
from pytorch_metric_learning.utils.inference import FaissKMeans

C, D, B = 12, 6, 20
PARENTS = [[0, 0, 0, 0, 1, 1, 2, 2, 2, 3, 3, 3], [0, 0, 1, 1]]
WEIGHTS = (1.0, 0.5, 0.2)
KWARGS = {
    "ProxyAnchorLoss": {},
    "ProxyNCALoss": {"softmax_scale": 8},
    "NormalizedSoftmaxLoss": {},
    "ArcFaceLoss": {},
    "CosFaceLoss": {},
    "SphereFaceLoss": {},
    "LargeMarginSoftmaxLoss": {},
    "SubCenterArcFaceLoss": {},
    "SoftTripleLoss": {"centers_per_class": 4},
}
PROXIES = {"ProxyAnchorLoss": "proxies", "ProxyNCALoss": "proxies", "SoftTripleLoss": "fc"}
# by default, the coarse levels have a quarter of the fine level's scale
OF_COARSE_LEVELS = {
    "ProxyAnchorLoss": {"alpha": 8},
    "ProxyNCALoss": {"softmax_scale": 2},
    "NormalizedSoftmaxLoss": {"temperature": 0.2},
    "SphereFaceLoss": {"scale": 0.25},
    "LargeMarginSoftmaxLoss": {"scale": 0.25},
    "SoftTripleLoss": {"la": 5, "centers_per_class": 4},
}
every_base = pytest.mark.parametrize("name", KWARGS)


def batch(dtype=torch.float32):
    return torch.randn(B, D, dtype=dtype, requires_grad=True), torch.randint(C, (B,))


def one_level(api, name, **kwargs):
    """The hierarchical loss with one level and PML's own, of the same random numbers."""
    base, kwargs = getattr(losses, name), {**KWARGS[name], **kwargs}
    torch.manual_seed(1)
    theirs = base(num_classes=C, embedding_size=D, **kwargs)
    torch.manual_seed(1)
    return api.HierarchicalProxyLoss(C, D, base, num_superclasses=(), **kwargs), theirs


def three_levels(api, name="ProxyAnchorLoss", **kwargs):
    tree = tree_of(api)
    options = {"level_weights": WEIGHTS, "warmup": 0, **KWARGS[name], **kwargs}
    return api.HierarchicalProxyLoss(C, D, getattr(losses, name), tree, **options)


def tree_of(api):
    levels = [labels_of(torch.arange(C), level) for level in range(3)]
    return api.Hierarchy(torch.stack(levels, dim=1))


def step_of(loss_func):
    return loss_func.superclasses.read().step


def labels_of(labels, level):
    for parents in PARENTS[:level]:
        labels = torch.tensor(parents)[labels]
    return labels


def assert_same(ours, theirs, embeddings, *args):
    found, expected = ours(embeddings, *args), theirs(embeddings, *args)
    assert torch.equal(found, expected)
    wanted = torch.autograd.grad(expected, [embeddings, *theirs.parameters()])
    gradients = torch.autograd.grad(found, [embeddings, *ours.parameters()])
    assert all(torch.equal(a, b) for a, b in zip(gradients, wanted, strict=True))


def summed_by_hand(loss_func, name, embeddings, labels, indices=None):
    """PML's losses of all levels, with means of the fine proxies written into the coarse ones; and
    the proxies of each level.
    """
    attribute = PROXIES.get(name, "W")
    fine = copy.deepcopy(loss_func.level_loss(0))
    stored = getattr(fine, attribute)
    rows = stored.detach() if attribute == "proxies" else stored.detach().t()
    centers = len(rows) // C
    if name != "LargeMarginSoftmaxLoss":  # its logits grow with the length of a proxy
        rows = torch.nn.functional.normalize(rows)
    vectors = rows.unflatten(0, (C, centers)).mean(dim=1)
    total, levels = WEIGHTS[0] * fine(embeddings, labels, indices), [fine]
    for level, weight in enumerate(WEIGHTS[1:], start=1):
        of_class = labels_of(torch.arange(C), level)
        size = int(of_class.max()) + 1
        kwargs = OF_COARSE_LEVELS.get(name, {"scale": 16})
        coarse = getattr(losses, name)(num_classes=size, embedding_size=D, **kwargs).double()
        means = torch.stack([vectors[of_class == c].mean(dim=0) for c in range(size)])
        proxies = means.repeat_interleave(centers, dim=0)
        with torch.no_grad():
            getattr(coarse, attribute).copy_(proxies if attribute == "proxies" else proxies.t())
        levels.append(coarse)
        total = total + weight * coarse(embeddings, labels_of(labels, level), indices)
    return total, [getattr(level, attribute) for level in levels]


# ---------------------------------------------------------------- one level is the base loss
@every_base
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_one_level_is_the_loss_of_pml(api, name, dtype):
    ours, theirs = one_level(api, name)
    assert all(map(torch.equal, ours.parameters(), theirs.parameters()))
    assert ours.sub_loss_names() == theirs.sub_loss_names()
    assert_same(ours.to(dtype), theirs.to(dtype), *batch(dtype))


@every_base
def test_one_level_has_the_logits_of_pml(api, name):
    ours, theirs = one_level(api, name)
    embeddings, _ = batch()
    if not hasattr(theirs, "get_logits"):
        pytest.skip("PML has none")
    assert torch.equal(ours.get_logits(embeddings), theirs.get_logits(embeddings))


def test_logits_of_every_level(api):
    loss_func = three_levels(api, "NormalizedSoftmaxLoss").double()
    loss_func.recluster()
    embeddings, labels = batch(torch.float64)
    _, proxies = summed_by_hand(loss_func, "NormalizedSoftmaxLoss", embeddings, labels)
    unit = torch.nn.functional.normalize(embeddings)
    for level, (stored, temperature) in enumerate(zip(proxies, (0.05, 0.2, 0.2), strict=True)):
        expected = unit @ torch.nn.functional.normalize(stored, dim=0) / temperature
        torch.testing.assert_close(loss_func.get_logits(embeddings, level), expected)


@pytest.mark.parametrize("reducer", ["MeanReducer", "SumReducer", "AvgNonZeroReducer"])
def test_one_level_with_a_reducer(api, reducer):
    ours, theirs = one_level(api, "CosFaceLoss", reducer=getattr(reducers, reducer)())
    assert_same(ours, theirs, *batch())


def test_one_level_with_regularizers_and_a_miner(api):
    kwargs = {
        "weight_regularizer": regularizers.LpRegularizer(),
        "embedding_regularizer": regularizers.LpRegularizer(),
    }
    ours, theirs = one_level(api, "ProxyAnchorLoss", **kwargs)
    assert ours.sub_loss_names() == theirs.sub_loss_names()
    embeddings, labels = batch()
    pairs = miners.MultiSimilarityMiner()(embeddings, labels)
    assert_same(ours, theirs, embeddings, labels, pairs)


# ---------------------------------------------------------------- three levels
@every_base
@pytest.mark.parametrize("mined", [False, True])
@pytest.mark.parametrize("coarse_proxies", ["learned", "fixed"])
def test_three_levels_are_summed(api, name, mined, coarse_proxies):
    loss_func = three_levels(api, name, coarse_proxies=coarse_proxies).double()
    loss_func.recluster()
    embeddings, labels = batch(torch.float64)
    indices = miners.MultiSimilarityMiner()(embeddings, labels) if mined else None
    found = loss_func(embeddings, labels, indices)
    expected, proxies = summed_by_hand(loss_func, name, embeddings, labels, indices)
    torch.testing.assert_close(found, expected)
    trained = proxies if coarse_proxies == "learned" else proxies[:1]
    wanted = torch.autograd.grad(expected, [embeddings, *trained])
    gradients = torch.autograd.grad(found, [embeddings, *loss_func.parameters()])
    for a, b in zip(gradients, wanted, strict=True):
        torch.testing.assert_close(a, b)


@pytest.mark.parametrize("kwargs", [{}, {"coarse_proxies": "fixed"}], ids=["default", "fixed"])
def test_coarse_proxies_between_updates(api, kwargs):
    """Learned from the means on, by an optimizer made before; fixed ones change at updates alone,
    in the first and the fourth step after the warm-up.
    """
    loss_func = three_levels(api, warmup=2, recluster_every=3, **kwargs)
    is_fixed = bool(kwargs)
    assert len(list(loss_func.parameters())) == (1 if is_fixed else 3)
    optimizer = torch.optim.AdamW(loss_func.parameters(), lr=0.1, weight_decay=0.1)
    seen = []
    for _ in range(7):
        optimizer.zero_grad()
        loss_func(*batch()).backward()
        optimizer.step()
        seen.append(loss_func.level_loss(1).proxies.detach().clone())
    assert not seen[0].any()
    assert not seen[1].any()
    changed = [not torch.equal(*pair) for pair in itertools.pairwise(seen)]
    assert changed == [False, True, *([False, False, True, False] if is_fixed else [True] * 4)]


@pytest.mark.parametrize("kwargs", [{}, {"coarse_proxies": "fixed"}, {"num_superclasses": ()}])
def test_distributed_data_parallel_trains_it_from_the_first_step_on(api, kwargs):
    """Which is an error after a step in which a parameter had no gradient."""
    dist.init_process_group("gloo", store=dist.HashStore(), rank=0, world_size=1)
    try:
        options = {"num_superclasses": 3, "warmup": 3, **kwargs}
        loss_func = api.HierarchicalProxyLoss(C, D, **options)
        wrapped = torch.nn.parallel.DistributedDataParallel(loss_func)
        optimizer = torch.optim.AdamW(loss_func.parameters(), lr=0.1, weight_decay=0.1)
        for step in range(6):
            optimizer.zero_grad()
            wrapped(*batch()).backward()
            optimizer.step()
            for coarse in list(loss_func.parameters())[1:]:
                assert coarse.any() == coarse.grad.any() == (step >= 3)
    finally:
        dist.destroy_process_group()


def test_sum_reducer_is_applied_at_every_level(api):
    base = "NormalizedSoftmaxLoss"
    mean, total = (
        three_levels(api, base, reducer=reducer)
        for reducer in (reducers.MeanReducer(), reducers.SumReducer())
    )
    total.load_state_dict(mean.state_dict())
    embeddings, labels = batch()
    torch.testing.assert_close(total(embeddings, labels), B * mean(embeddings, labels))


def test_do_nothing_reducer_leaves_the_elements_of_every_level(api):
    base = "NormalizedSoftmaxLoss"
    nothing = three_levels(api, base, reducer=reducers.DoNothingReducer())
    mean = three_levels(api, base)
    mean.load_state_dict(nothing.state_dict())
    embeddings, labels = batch()
    elements = nothing(embeddings, labels)
    assert list(elements) == ["loss_level0", "loss_level1", "loss_level2"]
    found = sum(info["losses"].mean() for info in elements.values())
    torch.testing.assert_close(found, mean(embeddings, labels))


def test_labels_that_are_floats_are_refused_as_by_the_base_loss(api):
    embeddings, labels = batch()
    for loss_func in (*one_level(api, "ProxyAnchorLoss"), three_levels(api)):
        with pytest.raises((TypeError, RuntimeError)):
            loss_func(embeddings, labels + 0.7)


BAD_WEIGHTS = [
    (WEIGHTS[:2], ValueError, "each of the 3 levels.*got 2"),
    ((*WEIGHTS, 0.1), ValueError, "each of the 3 levels.*got 4"),
    (-1.0, ValueError, "not negative"),
    ("heavy", TypeError, "must be a number or one per level, got 'heavy'"),
    (None, TypeError, "must be a number or one per level, got None"),
    ({0: 1, 1: 0.5, 2: 0.2}, TypeError, "must be a number or one per level, got {0: 1"),
    ({1, 0.5, 0.2}, TypeError, "must be a number or one per level, got {"),
]


@pytest.mark.parametrize(("weights", "error", "message"), BAD_WEIGHTS)
def test_a_weight_for_each_level(api, weights, error, message):
    with pytest.raises(error, match=f"level_weights .*{message}"):
        three_levels(api, level_weights=weights)
    loss_func = three_levels(api)
    with pytest.raises(error, match=f"level_weights .*{message}"):
        loss_func.level_weights = weights
    assert loss_func.level_weights == WEIGHTS


@pytest.mark.parametrize("weights", [0.5, np.float32(0.5), [1, 0.5, 0.5]])
def test_weights_are_set_as_on_construction(api, weights):
    new, changed = three_levels(api, level_weights=weights), three_levels(api)
    changed.load_state_dict(new.state_dict())
    embeddings, labels = batch()
    value = changed(embeddings, labels)
    changed.level_weights = weights
    assert new.level_weights == changed.level_weights == (1, 0.5, 0.5)
    assert torch.equal(new(embeddings, labels), changed(embeddings, labels))
    assert not torch.equal(value, changed(embeddings, labels))


@pytest.mark.parametrize(
    ("kwargs", "error", "message"),
    [
        ({"coarse_proxies": "lerned"}, ValueError, "coarse_proxies must be .*'learned'.*'lerned'"),
        ({"level_kwargs": {3: {"margin": 0.2}}}, ValueError, r"level_kwargs .*level 3.*0\.\.2"),
        ({"level_kwargs": {-1: {}}}, ValueError, r"level_kwargs .*level -1.*0 is the finest"),
    ],
)
def test_bad_arguments(api, kwargs, error, message):
    with pytest.raises(error, match=message):
        three_levels(api, **kwargs)


def test_weights_without_coarse_levels(api):
    with pytest.raises(ValueError, match=r"level_weights .*has no effect\); got 1: \(0.5,\)"):
        api.HierarchicalProxyLoss(C, D, num_superclasses=(), level_weights=(0.5,))
    assert one_level(api, "ProxyAnchorLoss")[0].level_weights == (1,)


@pytest.mark.parametrize("num_superclasses", [None, 3, ()])
def test_made_on_the_meta_device(api, num_superclasses):
    loss_func = api.HierarchicalProxyLoss(C, D, num_superclasses=num_superclasses, warmup=0)
    embeddings, labels = batch()
    loss_func(embeddings, labels)
    with torch.device("meta"):
        fresh = api.HierarchicalProxyLoss(C, D, num_superclasses=num_superclasses, warmup=0)
    fresh.to_empty(device="cpu").load_state_dict(loss_func.state_dict())
    assert torch.equal(fresh(embeddings, labels), loss_func(embeddings, labels))
    assert fresh.hierarchy == loss_func.hierarchy


@pytest.mark.parametrize("tree", [3, {0, 1}, "a tree"])
def test_a_hierarchy_that_is_none(api, tree):
    with pytest.raises(TypeError, match=f"hierarchy must be .*Hierarchy.*got {tree!r}"):
        api.HierarchicalProxyLoss(C, D, hierarchy=tree)


# ---------------------------------------------------------------- trees
@pytest.mark.parametrize("clusterer", [None, FaissKMeans(min_points_per_centroid=1, niter=5)])
@pytest.mark.parametrize(
    ("is_given", "sizes"), [(False, (6, 2)), (False, (3,)), (True, (8,)), (True, ())]
)
def test_given_discovered_and_mixed_trees(api, clusterer, is_given, sizes):
    """With the default and with PML's ``FaissKMeans``."""
    tree = tree_of(api) if is_given else None
    loss_func = api.HierarchicalProxyLoss(
        C, D, hierarchy=tree, num_superclasses=sizes, warmup=0, clusterer=clusterer
    )
    loss_func(*batch()).backward()
    found, given = loss_func.hierarchy, (4, 2) if is_given else ()
    assert found.sizes == (C, *sorted((*sizes, *given), reverse=True))
    for level in range(1, len(found.sizes)):  # one parent for each class, no empty superclass
        pairs = np.unique(found.class_labels[:, level - 1 : level + 1], axis=0)
        assert len(pairs) == found.sizes[level - 1]
        assert len(np.unique(pairs[:, 1])) == found.sizes[level]
    if is_given:
        of_class = labels_of(torch.arange(C), 1).numpy()
        np.testing.assert_array_equal(found.class_labels[:, found.sizes.index(4)], of_class)


def test_discovery_finds_clusters_that_are_there(api):
    loss_func = api.HierarchicalProxyLoss(C, D, num_superclasses=3, warmup=0)
    truth = torch.arange(C) % 3
    with torch.no_grad():
        loss_func.level_loss(0).proxies.copy_(torch.eye(3, D)[truth] + 0.01 * torch.randn(C, D))
    found = torch.tensor(loss_func.recluster().class_labels[:, 1])
    assert torch.equal(found[:, None] == found[None], truth[:, None] == truth[None])


def test_superclasses_keep_their_numbers(api):
    loss_func = api.HierarchicalProxyLoss(C, D, num_superclasses=4, warmup=0)
    first = loss_func.recluster()
    assert loss_func.recluster() == first


# ---------------------------------------------------------------- warm-up and steps
def test_warm_up_is_the_base_loss(api):
    loss_func = api.HierarchicalProxyLoss(C, D, num_superclasses=3, warmup=2, recluster_every=2)
    fine = copy.deepcopy(loss_func.level_loss(0))
    for step in range(6):
        embeddings, labels = batch()
        same = torch.isclose(loss_func(embeddings, labels), fine(embeddings, labels))
        assert same == (step < 2)
        assert step_of(loss_func) == step + 1
    assert loss_func.num_updates == 2


def test_only_training_steps_count(api):
    loss_func = api.HierarchicalProxyLoss(C, D, num_superclasses=3, warmup=0)
    with torch.no_grad():
        loss_func(*batch())
    assert step_of(loss_func) == 0
    assert not loss_func.is_active
    assert loss_func.hierarchy is None


# ---------------------------------------------------------------- state
@pytest.mark.parametrize("is_given", [True, False])
def test_state_dict_round_trip(api, is_given):
    def make():
        if is_given:
            return three_levels(api, recluster_every=3)
        return api.HierarchicalProxyLoss(
            C, D, num_superclasses=(6, 2), level_weights=WEIGHTS, warmup=1, recluster_every=3
        )

    def train(loss_func, batches):
        optimizer = torch.optim.SGD(loss_func.parameters(), lr=1.0)
        for embeddings, labels in batches:
            optimizer.zero_grad()
            loss_func(embeddings, labels).backward()
            optimizer.step()

    batches = [batch() for _ in range(8)]
    through, stopped, resumed = make(), make(), make()
    stopped.load_state_dict(through.state_dict())
    train(through, batches)
    train(stopped, batches[:4])
    assert all(isinstance(value, torch.Tensor) for value in stopped.state_dict().values())
    resumed.load_state_dict(stopped.state_dict())
    assert resumed.hierarchy == stopped.hierarchy
    train(resumed, batches[4:])
    assert resumed.superclasses.read()[:3] == through.superclasses.read()[:3]  # the counters
    for key, value in through.state_dict().items():
        assert torch.equal(resumed.state_dict()[key], value), key


def test_copies_are_independent(api):
    loss_func = three_levels(api)
    embeddings, labels = batch()
    value = loss_func(embeddings, labels)
    twin = copy.deepcopy(loss_func)
    assert torch.equal(twin(embeddings, labels), value)
    assert (step_of(twin), step_of(loss_func)) == (2, 1)


def test_a_loss_follows_the_embeddings_to_their_device(api, monkeypatch):
    """As PML's proxy losses do; ``tests/cuda`` has the same on a GPU, with values."""
    if api.HierarchicalProxyLoss.__module__ == "pml_hierarchical.losses.hierarchical_proxy_loss":
        pytest.skip("the plugin reads the values of a batch, and meta tensors have none")
    monkeypatch.setattr(torch, "is_autocast_enabled", lambda *_: False)
    loss_func = three_levels(api, "NormalizedSoftmaxLoss", coarse_proxies="fixed")
    embeddings, labels = batch()
    loss_func.eval()(embeddings.to("meta"), labels)
    tensors = [*loss_func.parameters(), *loss_func.buffers()]
    assert {one.device.type for one in tensors} == {"meta"}


# ---------------------------------------------------------------- PML's trainer and recorder
def train_with_pml(loss_func, hook):
    torch.manual_seed(0)
    dataset = c_f.EmbeddingDataset(torch.randn(80, D), torch.arange(80) % C)
    trunk = torch.nn.Linear(D, D)
    trainers.MetricLossOnly(
        models={"trunk": trunk},
        optimizers={
            "trunk_optimizer": torch.optim.SGD(trunk.parameters(), lr=0.1),
            "metric_loss_optimizer": torch.optim.SGD(loss_func.parameters(), lr=0.1),
        },
        batch_size=8,
        loss_funcs={"metric_loss": loss_func},
        dataset=dataset,
        iterations_per_epoch=7,
        dataloader_num_workers=0,
        end_of_iteration_hook=hook,
    ).train(num_epochs=1)


def test_recluster_hook_in_a_trainer(api):
    loss_func = api.HierarchicalProxyLoss(C, D, num_superclasses=3, warmup=2, recluster_every=None)
    updates = []
    hook = api.ReclusterHook(3, lambda trainer: updates.append(loss_func.num_updates))
    train_with_pml(loss_func, hook)
    assert updates == [0, 1, 1, 1, 2, 2, 2]


def test_recluster_hook_is_the_schedule_of_the_loss(api):
    torch.manual_seed(1)
    options = {"num_superclasses": 3, "warmup": 2}
    by_hook = api.HierarchicalProxyLoss(C, D, recluster_every=None, **options)
    torch.manual_seed(1)
    by_itself = api.HierarchicalProxyLoss(C, D, recluster_every=3, **options)
    train_with_pml(by_hook, api.ReclusterHook(3))
    train_with_pml(by_itself, None)
    assert torch.equal(by_hook.level_loss(0).proxies, by_itself.level_loss(0).proxies)


def test_what_record_keeper_records(api):
    """By PML's ``HookContainer`` in a trainer, under names that its tables can have."""
    record_keeper = pytest.importorskip("record_keeper")
    records: dict[str, dict[str, list]] = defaultdict(lambda: defaultdict(list))

    class Writer:
        def append(self, group, series, value, iteration):
            records[group][series].append(value)

    hook = logging_presets.HookContainer(
        record_keeper.RecordKeeper(
            record_writer=Writer(),
            attributes_to_search_for=c_f.list_of_recordable_attributes_list_names(),
        ),
        log_freq=1,
    )
    loss_func = three_levels(api, warmup=2, recluster_every=4)
    train_with_pml(loss_func, hook.end_of_iteration_hook)
    found = records["metric_loss_HierarchicalProxyLoss"]
    levels = ["loss_level0", "loss_level1", "loss_level2"]
    assert {"num_updates", *levels} <= set(found)  # the plugin records more
    assert found["num_updates"] == [0, 0, 1, 1, 1, 1, 2]
    assert found["loss_level1"][:2] == [0, 0]
    by_level = torch.tensor([[float(value) for value in found[level]] for level in levels])
    totals = [float(total) for total in records["loss_histories"]["metric_loss"]]
    assert (torch.tensor(WEIGHTS) @ by_level).tolist() == pytest.approx(totals, rel=1e-5)
    assert all(name.isidentifier() for group in records for name in [group, *records[group]])
