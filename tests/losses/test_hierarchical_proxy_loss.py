import copy
import gc
import itertools
import pickle
import warnings

import numpy as np
import pytest
import torch
from pytorch_metric_learning import distances, miners, reducers, regularizers

from pml_hierarchical import Hierarchy, losses
from pml_hierarchical.losses import HierarchicalProxyLoss

BASES = [
    losses.ProxyAnchorLoss,
    losses.ProxyNCALoss,
    losses.NormalizedSoftmaxLoss,
    losses.ArcFaceLoss,
    losses.CosFaceLoss,
]
C, D, B = 12, 6, 20
TREE = Hierarchy.from_parents([[0, 0, 0, 0, 1, 1, 2, 2, 2, 3, 3, 3], [0, 0, 1, 1]])


@pytest.fixture(autouse=True)
def _seed():
    torch.manual_seed(0)


def batch(dtype=torch.float64):
    return torch.randn(B, D, dtype=dtype, requires_grad=True), torch.randint(C, (B,))


def value_and_gradients(loss_func, embeddings, labels, *args):
    loss = loss_func(embeddings, labels, *args)
    return loss, torch.autograd.grad(loss, [embeddings, *loss_func.parameters()])


def assert_same(ours, theirs):
    torch.testing.assert_close(ours[0], theirs[0], rtol=0, atol=0)
    for a, b in zip(ours[1], theirs[1], strict=True):
        torch.testing.assert_close(a, b, rtol=0, atol=0)


def flat_pair(base, **kwargs):
    """The base loss and the one-level hierarchical loss on it, with the same proxies."""
    torch.manual_seed(1)
    theirs = base(num_classes=C, embedding_size=D, **kwargs).double()
    torch.manual_seed(1)
    flat = Hierarchy.flat(C)
    ours = HierarchicalProxyLoss(C, D, base_loss=base, hierarchy=flat, **kwargs).double()
    return ours, theirs


# ---------------------------------------------------------------- one level
@pytest.mark.parametrize("base", BASES)
@pytest.mark.parametrize(
    "kwargs",
    [
        {},
        {"reducer": reducers.ThresholdReducer(low=0.1)},
        {"weight_regularizer": regularizers.LpRegularizer(), "weight_reg_weight": 0.3},
        {"embedding_regularizer": regularizers.LpRegularizer(), "embedding_reg_weight": 0.7},
        {"collect_stats": True},
    ],
    ids=lambda kwargs: next(iter(kwargs), "plain"),
)
def test_one_level_is_the_base_loss(base, kwargs):
    if base is losses.ProxyAnchorLoss and "reducer" in kwargs:
        kwargs = {"reducer": reducers.MeanReducer()}
    ours, theirs = flat_pair(base, **kwargs)
    embeddings, labels = batch()
    assert_same(
        value_and_gradients(ours, embeddings, labels),
        value_and_gradients(theirs, embeddings, labels),
    )
    assert ours.sub_loss_names() == theirs.sub_loss_names()
    torch.testing.assert_close(ours.get_logits(embeddings), theirs.get_logits(embeddings))


@pytest.mark.parametrize("base", BASES)
def test_one_level_weighs_by_the_miner_as_the_base_loss(base):
    ours, theirs = flat_pair(base)
    embeddings, labels = batch()
    pairs = miners.MultiSimilarityMiner()(embeddings, labels)
    assert_same(
        value_and_gradients(ours, embeddings, labels, pairs),
        value_and_gradients(theirs, embeddings, labels, pairs),
    )


def test_one_level_by_asking_for_no_superclasses():
    loss_func = HierarchicalProxyLoss(C, D, num_superclasses=())
    assert loss_func.sub_loss_names() == ["pos_loss", "neg_loss"]
    assert loss_func.hierarchy == Hierarchy.flat(C)
    assert loss_func.recluster() == Hierarchy.flat(C)


# ---------------------------------------------------------------- several levels
@pytest.mark.parametrize("base", BASES)
def test_weighted_sum_over_the_levels(base):
    """Brute force: PML's own loss at every level, with the means written into its proxies."""
    weights = (1.0, 0.5, 0.25)
    loss_func = HierarchicalProxyLoss(
        C, D, base_loss=base, hierarchy=TREE, level_weights=weights, warmup=0
    ).double()
    embeddings, labels = batch()
    attribute, transposed = ("W", True) if hasattr(loss_func, "W") else ("proxies", False)
    fine = getattr(loss_func, attribute).detach()
    fine = fine.t() if transposed else fine
    expected = torch.zeros((), dtype=torch.float64)
    by_level = []
    for level, weight in enumerate(weights):
        level_loss = base(num_classes=TREE.sizes[level], embedding_size=D).double()
        proxies = torch.stack(
            [
                torch.nn.functional.normalize(fine[TREE.members(level, node)]).mean(dim=0)
                for node in range(TREE.sizes[level])
            ]
        )
        proxies = fine if level == 0 else proxies
        getattr(level_loss, attribute).data = proxies.t() if transposed else proxies
        by_level.append(level_loss(embeddings, TREE.ancestors(labels, level)))
        expected = expected + weight * by_level[-1]
    loss = loss_func(embeddings, labels)
    torch.testing.assert_close(loss, expected)
    ours, theirs = (torch.autograd.grad(x, embeddings)[0] for x in (loss, expected))
    torch.testing.assert_close(ours, theirs)
    for level, value in enumerate(by_level):
        torch.testing.assert_close(getattr(loss_func, f"loss_level{level}"), value.detach())
    assert loss_func.sub_loss_names() == ["loss_level0", "loss_level1", "loss_level2"]


def test_gradients_of_every_level_are_right():
    loss_func = HierarchicalProxyLoss(C, D, hierarchy=TREE, warmup=0, recluster_every=None)
    loss_func.double().recluster()
    embeddings, labels = batch()
    assert torch.autograd.gradcheck(lambda x: loss_func(x, labels), embeddings)


def test_coarse_proxies_are_fixed_between_updates_and_not_parameters():
    loss_func = HierarchicalProxyLoss(C, D, hierarchy=TREE, warmup=0, recluster_every=3)
    assert [name for name, _ in loss_func.named_parameters()] == ["level_losses.level0.proxies"]
    optimizer = torch.optim.SGD(loss_func.parameters(), lr=10.0)
    seen = []
    for _ in range(7):
        embeddings, labels = batch(torch.float32)
        optimizer.zero_grad()
        loss_func(embeddings, labels).backward()
        optimizer.step()
        seen.append(loss_func.level_loss(1).proxies.clone())
    changed = [not torch.equal(a, b) for a, b in itertools.pairwise(seen)]
    assert changed == [False, False, True, False, False, True]
    assert loss_func.num_updates == 3


def test_means_are_of_the_raw_proxies_where_the_loss_does_not_normalise():
    distance = distances.DotProductSimilarity(normalize_embeddings=False)
    loss_func = HierarchicalProxyLoss(C, D, hierarchy=TREE, distance=distance)
    loss_func.recluster()
    expected = loss_func.proxies.detach()[TREE.members(1, 0)].mean(dim=0)
    torch.testing.assert_close(loss_func.level_loss(1).proxies[0], expected)


def test_warm_up_trains_the_fine_level_alone():
    loss_func = HierarchicalProxyLoss(C, D, num_superclasses=3, warmup=2, recluster_every=5)
    flat = copy.deepcopy(loss_func.level_loss(0))
    for step in range(4):
        embeddings, labels = batch(torch.float32)
        loss = loss_func(embeddings, labels)
        assert loss_func.is_active == (step >= 2)
        assert (loss_func.hierarchy is None) == (step < 2)
        assert torch.equal(loss, flat(embeddings, labels)) == (step < 2)
    assert loss_func.hierarchy.sizes == (C, 3)


def test_evaluation_is_not_a_training_step():
    loss_func = HierarchicalProxyLoss(C, D, warmup=0)
    embeddings, labels = batch(torch.float32)
    with torch.no_grad():
        loss_func(embeddings, labels)
    loss_func.eval()(embeddings, labels)
    assert loss_func.schedule.step == 0
    assert not loss_func.is_active


def test_superclasses_follow_the_proxies():
    loss_func = HierarchicalProxyLoss(C, D, num_superclasses=3, warmup=0)
    centres = torch.eye(3, D)
    truth = torch.arange(C) % 3
    loss_func.proxies.data = centres[truth] + 0.01 * torch.randn(C, D)
    tree = loss_func.recluster()
    same = tree.lca_height(np.arange(C)[:, None], np.arange(C)[None]) <= 1
    np.testing.assert_array_equal(same, (truth[:, None] == truth[None]).numpy())
    assert (loss_func.smallest_superclass, loss_func.largest_superclass) == (4, 4)
    loss_func.proxies.data[0] = centres[1]  # one of twelve classes moves
    loss_func.recluster()
    assert loss_func.share_moved == pytest.approx(1 / 12)


def test_deeper_discovered_tree():
    loss_func = HierarchicalProxyLoss(C, D, num_superclasses=(6, 2), warmup=0)
    loss_func(*batch(torch.float32)).backward()
    assert loss_func.hierarchy.sizes == (C, 6, 2)


def test_regularizers_count_once():
    kwargs = {"weight_regularizer": regularizers.LpRegularizer(), "weight_reg_weight": 5.0}
    kwargs |= {"embedding_regularizer": regularizers.LpRegularizer()}
    with_both = HierarchicalProxyLoss(C, D, hierarchy=TREE, warmup=0, **kwargs).double()
    without = HierarchicalProxyLoss(C, D, hierarchy=TREE, warmup=0).double()
    without.proxies.data = with_both.proxies.data
    embeddings, labels = batch()
    extra = 5 * with_both.proxies.norm(dim=1).mean() + embeddings.norm(dim=1).mean()
    torch.testing.assert_close(with_both(embeddings, labels), without(embeddings, labels) + extra)


def test_do_nothing_reducer_leaves_every_element():
    loss_func = HierarchicalProxyLoss(
        C,
        D,
        base_loss=losses.NormalizedSoftmaxLoss,
        hierarchy=TREE,
        level_weights=(1, 0.5, 2),
        warmup=0,
        reducer=reducers.DoNothingReducer(),
    )
    out = loss_func(*batch(torch.float32))
    assert list(out) == ["loss_level0", "loss_level1", "loss_level2"]
    assert out["loss_level2"]["losses"].shape == (B,)


def test_half_embeddings_leave_the_proxies_as_they_are():
    loss_func = HierarchicalProxyLoss(C, D, hierarchy=TREE, warmup=0)
    embeddings, labels = batch(torch.bfloat16)
    loss_func(embeddings, labels).backward()
    assert loss_func.proxies.dtype == torch.float32
    assert loss_func.proxies.grad.dtype == torch.float32


def test_random_numbers_of_the_script_are_those_with_the_base_loss():
    torch.manual_seed(3)
    base = losses.ProxyAnchorLoss(C, D)
    expected = torch.rand(2)
    torch.manual_seed(3)
    ours = HierarchicalProxyLoss(C, D)
    assert torch.equal(torch.rand(2), expected)
    assert torch.equal(ours.proxies, base.proxies)


def test_users_of_the_base_loss_find_its_attributes():
    loss_func = HierarchicalProxyLoss(C, D, margin=0.2, alpha=16)
    assert (loss_func.margin, loss_func.alpha) == (0.2, 16)
    assert loss_func.proxies is loss_func.level_loss(0).proxies
    with pytest.raises(AttributeError, match="no_such_thing"):
        _ = loss_func.no_such_thing


def test_own_loss_after_registration():
    class Own(losses.BaseMetricLossFunction):
        def __init__(self, num_classes, embedding_size, **kwargs):
            super().__init__(**kwargs)
            self.centres = torch.nn.Parameter(torch.randn(num_classes, embedding_size))

        def compute_loss(self, embeddings, labels, indices_tuple, ref_emb, ref_labels):
            distance = (embeddings - self.centres[labels]).square().sum()
            return {
                "loss": {"losses": distance, "indices": None, "reduction_type": "already_reduced"}
            }

    with pytest.raises(TypeError, match="register_proxy_loss"):
        HierarchicalProxyLoss(C, D, base_loss=Own)
    losses.register_proxy_loss(Own, "centres")
    loss = HierarchicalProxyLoss(C, D, base_loss=Own, warmup=0)(*batch(torch.float32))
    assert loss > 0


# ---------------------------------------------------------------- life
@pytest.mark.parametrize("stop_at", [1, 3, 4, 5])
def test_resumed_training_equals_uninterrupted_training(stop_at):
    data = [batch(torch.float32) for _ in range(8)]

    def make():
        torch.manual_seed(5)
        loss_func = HierarchicalProxyLoss(C, D, num_superclasses=3, warmup=2, recluster_every=2)
        return loss_func, torch.optim.Adam(loss_func.parameters(), lr=0.1)

    def train(loss_func, optimizer, batches):
        for embeddings, labels in batches:
            optimizer.zero_grad()
            loss_func(embeddings, labels).backward()
            optimizer.step()

    whole, optimizer = make()
    train(whole, optimizer, data)
    first, optimizer = make()
    train(first, optimizer, data[:stop_at])
    saved = pickle.loads(pickle.dumps((first.state_dict(), optimizer.state_dict())))
    second, optimizer = make()
    second.load_state_dict(saved[0])
    optimizer.load_state_dict(saved[1])
    train(second, optimizer, data[stop_at:])
    for name, tensor in whole.state_dict().items():
        if name == "_extra_state":
            assert second.state_dict()[name] == tensor
        else:
            assert torch.equal(second.state_dict()[name], tensor), name


def test_deepcopy_pickle_and_whole_module(tmp_path):
    loss_func = HierarchicalProxyLoss(C, D, num_superclasses=3, warmup=0)
    embeddings, labels = batch(torch.float32)
    value = loss_func(embeddings, labels)
    torch.save(loss_func, tmp_path / "loss.pt")
    for twin in (
        copy.deepcopy(loss_func),
        pickle.loads(pickle.dumps(loss_func)),
        torch.load(tmp_path / "loss.pt", weights_only=False),
    ):
        assert torch.equal(twin(embeddings, labels), value)
        assert twin.hierarchy == loss_func.hierarchy


# ---------------------------------------------------------------- bad input
@pytest.mark.parametrize(
    ("kwargs", "error", "message"),
    [
        ({"num_superclasses": C}, ValueError, f"got {C} superclasses for {C} classes"),
        ({"num_superclasses": C + 1}, ValueError, "smaller than num_classes"),
        ({"num_superclasses": 0}, ValueError, "at least 2"),
        ({"num_superclasses": 2.5}, TypeError, "integers, got 2.5"),
        ({"num_superclasses": (3, 3)}, ValueError, "smaller than the level below"),
        ({"hierarchy": Hierarchy.flat(5)}, ValueError, "5 fine classes, but num_classes=12"),
        ({"hierarchy": [0, 0, 1]}, ValueError, "2-D"),
        ({"hierarchy": [[0.0, 1.0]]}, TypeError, "integers"),
        ({"hierarchy": TREE, "num_superclasses": 3}, ValueError, "not both"),
        (
            {"hierarchy": np.stack([np.arange(C)] * 2, axis=1)},
            ValueError,
            "a coarser level must be smaller",
        ),
        ({"hierarchy": TREE, "level_weights": (1, 1)}, ValueError, "each of the 3 levels"),
        ({"level_weights": -1.0}, ValueError, "not negative"),
        ({"level_weights": (0, 0)}, ValueError, "not all 0"),
        ({"level_weights": float("nan")}, ValueError, "finite"),
        ({"warmup": -1}, ValueError, "warmup must be at least 0"),
        ({"warmup": 1.5}, TypeError, "warmup must be an integer"),
        ({"recluster_every": 0}, ValueError, "recluster_every must be at least 1"),
        ({"base_loss": losses.TripletMarginLoss}, TypeError, "num_classes"),
        ({"base_loss": lambda **_: losses.ContrastiveLoss()}, TypeError, "pair and triplet"),
        ({"base_loss": losses.SubCenterArcFaceLoss}, TypeError, "several centres"),
        ({"base_loss": losses.SoftTripleLoss}, TypeError, "SoftTripleLoss"),
        ({"margn": 0.1}, TypeError, "margn"),
    ],
)
def test_bad_arguments(kwargs, error, message):
    with pytest.raises(error, match=message):
        HierarchicalProxyLoss(C, D, **kwargs)


@pytest.mark.parametrize(
    ("labels", "error", "message"),
    [
        (torch.tensor([0, C]), ValueError, rf"labels must be in 0\.\.{C - 1}.*from 0 to {C}"),
        (torch.tensor([-1, 0]), ValueError, "from -1 to 0"),
        (torch.tensor([0.0, 1.0]), TypeError, "float32"),
        (torch.tensor([[0], [1]]), ValueError, "1D"),
        (torch.tensor([0]), ValueError, "Number of embeddings"),
        (None, ValueError, "labels are required"),
    ],
)
@pytest.mark.parametrize("hierarchy", [TREE, Hierarchy.flat(C)])
def test_bad_labels(labels, error, message, hierarchy):
    with pytest.raises(error, match=message):
        HierarchicalProxyLoss(C, D, hierarchy=hierarchy)(torch.randn(2, D), labels)


def test_bad_embeddings():
    loss_func = HierarchicalProxyLoss(C, D)
    with pytest.raises(ValueError, match=r"shape \(batch_size, 6\), got \(2, 5\)"):
        loss_func(torch.randn(2, 5), torch.tensor([0, 1]))
    with pytest.raises(ValueError, match="empty"):
        loss_func(torch.randn(0, D), torch.tensor([], dtype=torch.long))
    with pytest.raises(ValueError, match="ref_emb"):
        loss_func(torch.randn(2, D), torch.tensor([0, 1]), None, torch.randn(2, D))


def test_level_without_proxies_has_no_logits():
    with pytest.raises(RuntimeError, match="warm-up of 100"):
        HierarchicalProxyLoss(C, D).get_logits(torch.randn(2, D), level=1)


def test_a_hierarchy_that_nobody_builds_is_not_silent():
    loss_func = HierarchicalProxyLoss(C, D, warmup=1, recluster_every=None)
    loss_func(*batch(torch.float32))
    loss_func(*batch(torch.float32))
    with pytest.warns(UserWarning, match=r"nobody has called recluster\(\)"):
        loss_func(*batch(torch.float32))


def test_training_that_ends_in_the_warm_up_is_not_silent():
    loss_func = HierarchicalProxyLoss(C, D, warmup=10)
    loss_func(*batch(torch.float32))
    objects = [loss_func]
    del loss_func
    with pytest.warns(UserWarning, match="trained for 1 steps"):
        objects.clear()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        HierarchicalProxyLoss(C, D, warmup=10)  # never trained
        gc.collect()


def test_losses_is_a_drop_in_for_the_losses_of_pml():
    from pytorch_metric_learning import losses as pml_losses

    for name in vars(pml_losses):
        if name.endswith("Loss"):
            assert getattr(losses, name) is getattr(pml_losses, name)
    assert {"TripletMarginLoss", "HierarchicalProxyLoss"} <= set(losses.__all__)
