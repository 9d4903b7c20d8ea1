"""The fast path against PML's losses, and when it must not be taken."""

import pytest
import torch
from bases import BASES
from pytorch_metric_learning import distances, miners, reducers, regularizers

from pml_hierarchical import Hierarchy, losses
from pml_hierarchical.losses import HierarchicalProxyLoss, hierarchical_proxy_loss
from pml_hierarchical.losses.level_sum import LevelSum

C, D, B = 30, 6, 20
TREE = Hierarchy.from_parents([[i // 4 for i in range(C)], [i // 3 for i in range(8)]])
FAST = ("ProxyAnchorLoss", "ProxyNCALoss", "NormalizedSoftmaxLoss", "ArcFaceLoss", "CosFaceLoss")


def make(name, **kwargs):
    torch.manual_seed(4)
    base = BASES[name]
    kwargs = {"hierarchy": TREE, "level_weights": (1, 0.5, 0.2), **base.kwargs, **kwargs}
    loss_func = HierarchicalProxyLoss(C, D, base.loss_class, recluster_every=None, **kwargs)
    loss_func.recluster()
    return loss_func


def batch(dtype=torch.float32):
    return torch.randn(B, D, dtype=dtype, requires_grad=True), torch.randint(C, (B,))


@pytest.fixture
def taken(monkeypatch):
    """Whether each call took the fast path."""
    calls = []
    original = hierarchical_proxy_loss.fast_losses

    def watched(*args):
        found = original(*args)
        calls.append(found is not None)
        return found

    monkeypatch.setattr(hierarchical_proxy_loss, "fast_losses", watched)
    return calls


@pytest.mark.parametrize("name", FAST)
@pytest.mark.parametrize("coarse_proxies", ["fixed", "live", "learned"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_same_value_and_gradients(name, coarse_proxies, dtype, taken):
    level_kwargs = {
        1: {"softmax_scale": 3} if name == "ProxyNCALoss" else {},
        2: {"margin": 0.2} if name in ("ProxyAnchorLoss", "CosFaceLoss") else {},
    }
    fast, reference = (
        make(name, coarse_proxies=coarse_proxies, level_kwargs=level_kwargs, fast_path=fast_path)
        for fast_path in (True, False)
    )
    for loss_func in (fast, reference):
        loss_func.to(dtype)
    embeddings, labels = batch(dtype)
    found, expected = (loss_func(embeddings, labels) for loss_func in (fast, reference))
    accuracy = 1e-5 if dtype == torch.float32 else 1e-10

    def assert_close(a, b):  # relative to the largest element
        torch.testing.assert_close(a, b, rtol=accuracy, atol=accuracy * float(b.abs().max()))

    assert_close(found, expected)
    wanted = torch.autograd.grad(3 * expected, [embeddings, *reference.parameters()])
    gradients = torch.autograd.grad(3 * found, [embeddings, *fast.parameters()])
    for a, b in zip(gradients, wanted, strict=True):
        assert_close(a, b)
    for level in range(3):
        a, b = (getattr(loss_func, f"loss_level{level}") for loss_func in (fast, reference))
        assert_close(a, b)
    assert taken == [True]


@pytest.mark.parametrize("name", FAST)
def test_warm_up_takes_it_too(name, taken):
    loss_func = make(name)
    loss_func.schedule.load_state({"step": 0, "num_updates": 0})
    embeddings, labels = batch()
    expected = loss_func.level_loss(0)(embeddings, labels)
    torch.testing.assert_close(loss_func(embeddings, labels), expected)
    assert taken == [True]


def test_levels_are_added():
    """As PML's MultipleReducers does, for one number a level and for anything else."""
    embeddings, labels = torch.randn(3, 2, dtype=torch.float16), torch.arange(3)
    numbers = {
        name: {"losses": torch.tensor(x), "indices": None, "reduction_type": "already_reduced"}
        for name, x in (("loss_level0", 1.0), ("loss_level1", 2.5))
    }
    elements = {"losses": torch.ones(3), "indices": labels, "reduction_type": "element"}
    for loss_dict in (numbers, {**numbers, "loss_level2": elements}):
        expected = reducers.MultipleReducers({})(loss_dict, embeddings, labels)
        found = LevelSum()(loss_dict, embeddings, labels)
        assert torch.equal(found, expected)
        assert found.dtype == torch.float16
    assert type(make("CosFaceLoss").reducer) is LevelSum


class Own(losses.CosFaceLoss):
    """A subclass may compute anything."""


class OwnDistance(distances.CosineSimilarity):
    """So may a distance."""


@pytest.mark.parametrize(
    "kwargs",
    [
        {"base_loss": Own},
        {"distance": OwnDistance()},
        {"reducer": reducers.SumReducer()},
        {"reducer": reducers.AvgNonZeroReducer()},
        {"reducer": reducers.DoNothingReducer()},
        {"weight_regularizer": regularizers.LpRegularizer()},
        {"embedding_regularizer": regularizers.LpRegularizer()},
        {"collect_stats": True},
        {"level_kwargs": {2: {"reducer": reducers.SumReducer()}}},
    ],
    ids=lambda kwargs: next(iter(kwargs)),
)
def test_not_taken_for_what_is_not_plain(kwargs, taken):
    kwargs = {"base_loss": losses.CosFaceLoss, **kwargs}
    loss_func = HierarchicalProxyLoss(C, D, hierarchy=TREE, warmup=0, **kwargs)
    loss_func(*batch())
    assert taken == [False]


@pytest.mark.parametrize(
    ("name", "distance"),
    [
        ("ProxyAnchorLoss", distances.CosineSimilarity(p=1)),
        ("ProxyAnchorLoss", distances.DotProductSimilarity()),
        ("ProxyNCALoss", distances.LpDistance(power=1)),
        ("ProxyNCALoss", distances.LpDistance(power=2, normalize_embeddings=False)),
        ("NormalizedSoftmaxLoss", distances.LpDistance()),
        ("NormalizedSoftmaxLoss", distances.DotProductSimilarity(power=2)),
    ],
)
def test_not_taken_for_another_distance(name, distance, taken):
    make(name, distance=distance)(*batch())
    assert taken == [False]


def test_embeddings_of_any_length_where_the_distance_says_so(taken):
    kwargs = {"distance": distances.DotProductSimilarity(normalize_embeddings=False)}
    embeddings, labels = batch()
    found, expected = (
        make("NormalizedSoftmaxLoss", fast_path=fast_path, **kwargs)(3 * embeddings, labels)
        for fast_path in (True, False)
    )
    torch.testing.assert_close(found, expected)
    assert taken == [True]


def test_not_taken_for_miners_half_and_autocast(taken):
    loss_func = make("ProxyAnchorLoss")
    embeddings, labels = batch()
    loss_func(embeddings, labels, miners.MultiSimilarityMiner()(embeddings, labels))
    make("ProxyAnchorLoss", fast_path=False)(embeddings, labels)
    assert taken == []
    loss_func(embeddings.bfloat16(), labels)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        loss_func(embeddings, labels)
    assert taken == [False, False]


def test_settings_changed_later_are_seen(taken):
    loss_func = make("ProxyAnchorLoss")
    embeddings, labels = batch()
    before = loss_func(embeddings, labels)
    loss_func.alpha = 8
    assert not torch.isclose(before, loss_func(embeddings, labels))
    loss_func.reducer = reducers.MultipleReducers(
        {"pos_loss": reducers.MeanReducer(), "neg_loss": reducers.MeanReducer()}
    )
    loss_func(embeddings, labels)
    assert taken == [True, True, False]


def test_backward_twice_and_accumulation():
    fast, reference = (make("CosFaceLoss", fast_path=fast_path) for fast_path in (True, False))
    inputs = batch()
    for loss_func in (fast, reference):
        loss = loss_func(*inputs)
        loss.backward(retain_graph=True)
        loss.backward()
        loss_func(*inputs).backward()
    torch.testing.assert_close(fast.W.grad, reference.W.grad)


@pytest.mark.parametrize("name", FAST)
@pytest.mark.parametrize("num_classes", [30, 5000])  # small, and in blocks
def test_gradients_changed_in_place_between_two_backward_passes(name, num_classes):
    """As by clipping: what the graph keeps must not be what the parameters were given."""
    torch.manual_seed(0)
    loss_class = BASES[name].loss_class
    loss_func = HierarchicalProxyLoss(num_classes, D, loss_class, num_superclasses=5, warmup=0)
    embeddings = torch.randn(B, D, requires_grad=True)
    leaves = [embeddings, *loss_func.parameters()]
    loss = loss_func(embeddings, torch.randint(num_classes, (B,)))
    found = []
    for _ in range(3):
        loss.backward(retain_graph=True)
        found.append([leaf.grad.clone() for leaf in leaves])
        for leaf in leaves:
            leaf.grad.mul_(0.1)
            leaf.grad = None
    for again in found[1:]:
        for one, expected in zip(again, found[0], strict=True):
            assert torch.equal(one, expected)
