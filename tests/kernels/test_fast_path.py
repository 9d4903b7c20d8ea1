"""When the fast path is taken, and what it does then."""

import copy

import pytest
import torch
from pml_levels import CLASSES, KINDS, TOLERANCES, make, plain_sum, reference, stored
from pytorch_metric_learning import distances, losses, reducers, regularizers
from torch.nn import Parameter

from pml_hierarchical.losses.fast_path import FastPath

WEIGHTS = (1.0, 0.5, 0.2)
STEP = torch.tensor(0)


def call(levels, embeddings, labels, fast_path=None, proxies=None):
    proxies = stored(levels) if proxies is None else proxies
    plain = plain_sum(levels, labels, WEIGHTS)
    return (fast_path or FastPath())(
        levels, proxies, embeddings, labels, WEIGHTS[: len(levels)], STEP, plain
    )


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("dtype", TOLERANCES, ids=str)
@pytest.mark.parametrize("sizes", [(30,), (30, 8, 3), (20000, 8)], ids=str)
def test_same_value_and_gradients(kind, dtype, sizes):
    levels, embeddings, labels = make(kind, sizes, dtype=dtype)
    expected, gradients = reference(levels, embeddings, labels, WEIGHTS)
    total, found = call(levels, embeddings, labels)
    close = {"rtol": TOLERANCES[dtype], "atol": TOLERANCES[dtype]}
    torch.testing.assert_close(found, expected, **close)
    ours = torch.autograd.grad(total, [embeddings, *stored(levels)])
    torch.testing.assert_close(list(ours), list(gradients), **close)


@pytest.mark.parametrize("kind", KINDS)
def test_proxies_in_the_place_of_a_losss_own(kind):
    """As live coarse proxies are given: their gradient reaches what they are made of."""
    levels, embeddings, labels = make(kind, (30, 8))
    proxies = [one.detach() * 1.5 + 0.1 for one in stored(levels)]
    source = torch.ones((), dtype=torch.float64, requires_grad=True)
    proxies[1] = proxies[1] + source
    total, _ = call(levels, embeddings, labels, proxies=proxies)
    expected = plain_sum(levels, labels, WEIGHTS)(embeddings, proxies)
    torch.testing.assert_close(total, expected)
    found, wanted = (torch.autograd.grad(one, [embeddings, source]) for one in (total, expected))
    torch.testing.assert_close(found, wanted)


@pytest.mark.parametrize("kind", KINDS)
def test_gradients_of_gradients_are_those_of_pml(kind):
    levels, embeddings, labels = make(kind, (9, 4), 6, 4)
    plain = plain_sum(levels, labels, WEIGHTS)
    found, expected = (
        torch.autograd.functional.hessian(function, embeddings)
        for function in (
            lambda x: call(levels, x, labels)[0],
            lambda x: plain(x, stored(levels)),
        )
    )
    torch.testing.assert_close(found, expected)
    assert expected.abs().max() > 0


class Own(losses.CosFaceLoss):
    """A subclass may compute anything."""


class OwnDistance(distances.CosineSimilarity):
    """So may a distance."""


@pytest.mark.parametrize(
    "kwargs",
    [
        {"distance": OwnDistance()},
        {"reducer": reducers.SumReducer()},
        {"reducer": reducers.AvgNonZeroReducer()},
        {"reducer": reducers.DoNothingReducer()},
        {"weight_regularizer": regularizers.LpRegularizer()},
        {"embedding_regularizer": regularizers.LpRegularizer()},
        {"collect_stats": True},
    ],
    ids=lambda kwargs: next(iter(kwargs)),
)
def test_not_taken_for_what_is_not_plain(kwargs):
    plain, embeddings, labels = make("cosface", (30, 8))
    assert call(plain, embeddings, labels) is not None
    others, *_ = make("cosface", (30, 8), **kwargs)
    assert call(others, embeddings, labels) is None
    assert call([plain[0], others[1]], embeddings, labels) is None  # a coarse level alone


def test_not_taken_for_other_classes():
    levels, embeddings, labels = make("cosface", (30, 8))
    assert call([Own(30, 8).double(), levels[1]], embeddings, labels) is None
    assert call([levels[0], CLASSES["arcface"](8, 8).double()], embeddings, labels) is None
    assert call([losses.SphereFaceLoss(30, 8).double()], embeddings, labels[:1]) is None


@pytest.mark.parametrize(
    ("kind", "distance"),
    [
        ("proxy_anchor", distances.CosineSimilarity(p=1)),
        ("proxy_anchor", distances.DotProductSimilarity()),
        ("proxy_nca", distances.LpDistance(power=1)),
        ("proxy_nca", distances.LpDistance(power=2, normalize_embeddings=False)),
        ("normalized_softmax", distances.LpDistance()),
        ("normalized_softmax", distances.DotProductSimilarity(power=2)),
    ],
)
def test_not_taken_for_another_distance(kind, distance):
    assert call(*make(kind, (30, 8), distance=distance)) is None


def test_embeddings_of_any_length_where_the_distance_says_so():
    distance = distances.DotProductSimilarity(normalize_embeddings=False)
    levels, embeddings, labels = make("normalized_softmax", (30, 8), distance=distance)
    total, _ = call(levels, 3 * embeddings, labels)
    expected = plain_sum(levels, labels, WEIGHTS)(3 * embeddings, stored(levels))
    torch.testing.assert_close(total, expected)


LEARNED = {
    "proxy_anchor": ["margin", "alpha"],
    "proxy_nca": ["softmax_scale"],
    "normalized_softmax": ["temperature"],
    "cosface": ["margin", "scale"],
    "arcface": ["margin", "scale"],
}


@pytest.mark.parametrize(("kind", "name"), [(k, n) for k, names in LEARNED.items() for n in names])
def test_not_taken_for_settings_that_are_learned(kind, name):
    """Nor for any other tensor; PML's losses give it its gradient."""
    levels, embeddings, labels = make(kind, (30, 8))
    assert call(levels, embeddings, labels) is not None
    value = getattr(levels[1], name)
    for learned in (Parameter(torch.tensor(float(value))), torch.tensor(float(value))):
        if hasattr(levels[1], name):
            delattr(levels[1], name)
        setattr(levels[1], name, learned)
        assert call(levels, embeddings, labels) is None


def test_not_taken_for_half_mixed_numbers_and_autocast():
    levels, embeddings, labels = make("proxy_anchor", (30, 8), dtype=torch.float32)
    assert call(levels, embeddings, labels) is not None
    for dtype in (torch.float16, torch.bfloat16):
        assert call(levels, embeddings.to(dtype), labels) is None
        halves = [copy.deepcopy(level).to(dtype) for level in levels]
        assert call(halves, embeddings.to(dtype), labels) is None
    assert call(levels, embeddings.double(), labels) is None
    assert call([levels[0], copy.deepcopy(levels[1]).double()], embeddings, labels) is None
    assert call(levels, embeddings.to("meta"), labels) is None
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert call(levels, embeddings, labels) is None


def test_settings_changed_later_are_seen():
    levels, embeddings, labels = make("proxy_anchor", (30, 8))
    before, _ = call(levels, embeddings, labels)
    levels[0].alpha = 8
    after, _ = call(levels, embeddings, labels)
    assert not torch.isclose(before, after)
    levels[0].reducer = reducers.MultipleReducers(
        {"pos_loss": reducers.MeanReducer(), "neg_loss": reducers.MeanReducer()}
    )
    assert call(levels, embeddings, labels) is None
    levels[0].reducer = reducers.MultipleReducers({"neg_loss": reducers.DivisorReducer()})
    assert call(levels, embeddings, labels) is None  # pos_loss has the default, a mean


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"class_share": 0.3}, r"class_share=0.3 and .* need the fast path"),
        ({"save_memory": True}, r"save_memory=True need the fast path"),
    ],
)
def test_what_needs_the_fast_path(settings, message):
    levels, embeddings, labels = make("cosface", (30, 8), reducer=reducers.SumReducer())
    with pytest.raises(ValueError, match=message):
        call(levels, embeddings, labels, FastPath(**settings))
    plain, embeddings, labels = make("cosface", (30, 8))
    with torch.autocast("cpu", dtype=torch.bfloat16), pytest.raises(ValueError, match="autocast"):
        call(plain, embeddings, labels, FastPath(**settings))
    with torch.no_grad():
        assert call(levels, embeddings, labels, FastPath(**settings)) is None
    for level in levels:
        level.eval()
    assert call(levels, embeddings, labels, FastPath(**settings)) is None


@pytest.mark.parametrize(
    ("settings", "error", "message"),
    [
        ({"class_share": 0}, ValueError, "class_share must be above 0 and at most 1"),
        ({"class_share": 1.5}, ValueError, "got 1.5"),
        ({"class_share": "half"}, TypeError, "class_share must be a number, got 'half'"),
        ({"class_share": True}, TypeError, "class_share must be a number, got True"),
        ({"save_memory": 1}, TypeError, "save_memory must be True or False, got 1"),
        ({"seed": -1}, ValueError, "seed must be at least 0, got -1"),
        ({"seed": 0.5}, TypeError, "seed must be an integer, got 0.5"),
    ],
)
def test_bad_settings(settings, error, message):
    with pytest.raises(error, match=message):
        FastPath(**settings)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("sizes", [(30, 8), (20000, 8)], ids=["small", "blocks"])
def test_compiled(kind, sizes):
    levels, embeddings, labels = make(kind, sizes)
    for loss in levels[1:]:
        stored([loss])[0].requires_grad_(False)
    expected, _ = call(levels, embeddings, labels)
    leaves = [embeddings, stored(levels)[0]]
    gradients = torch.autograd.grad(3 * expected, leaves)
    fast_path, proxies = FastPath(), stored(levels)

    @torch.compile(backend="aot_eager", fullgraph=True)
    def compiled(embeddings, labels, *proxies):
        return fast_path(levels, proxies, embeddings, labels, WEIGHTS[:2], STEP, None)

    torch._dynamo.reset()
    total, losses = compiled(embeddings, labels, *proxies)
    assert not losses.requires_grad
    torch.testing.assert_close(total, expected)
    torch.testing.assert_close(torch.autograd.grad(3 * total, leaves), gradients)

    def penalty():
        total, _ = compiled(embeddings, labels, *proxies)
        (gradient,) = torch.autograd.grad(total, embeddings, create_graph=True)
        torch.autograd.grad(total + gradient.square().sum(), embeddings)

    # the message depends on the version of torch; PML's losses fare no better
    with pytest.raises(RuntimeError, match=r"double backward|create_graph=False"):
        penalty()


def test_five_frames_to_the_first_operation():
    """A reader passes few functions: the call, the node, the driver."""
    import traceback

    from torch.utils._python_dispatch import TorchDispatchMode

    class First(TorchDispatchMode):
        names = None

        def __torch_dispatch__(self, func, types, args=(), kwargs=None):
            if self.names is None:
                frames = traceback.extract_stack()
                self.names = [one.name for one in frames if "pml_hierarchical" in one.filename]
            return func(*args, **(kwargs or {}))

    for sizes in ((30, 8), (20000, 8)):
        levels, embeddings, labels = make("proxy_anchor", sizes)
        with First() as first:
            call(levels, embeddings, labels)
        assert len(first.names) <= 3, first.names
