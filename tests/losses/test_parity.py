"""One level against PML's own loss, in the spirit of PML's own tests: options, types, autocast."""

import copy

import pytest
import torch
from bases import BASES
from pytorch_metric_learning import distances, miners, reducers, regularizers
from pytorch_metric_learning.losses import MultipleLosses

from pml_hierarchical import Hierarchy
from pml_hierarchical.losses import HierarchicalProxyLoss

C, D, B = 12, 6, 20
every_base = pytest.mark.parametrize("name", BASES)


def twins(name, **kwargs):
    base = BASES[name]
    torch.manual_seed(1)
    theirs = base.make(C, D, **kwargs)
    torch.manual_seed(1)
    ours = HierarchicalProxyLoss(
        C, D, base_loss=base.loss_class, hierarchy=Hierarchy.flat(C), **{**base.kwargs, **kwargs}
    )
    return ours, theirs


def batch(dtype=torch.float32):
    return torch.randn(B, D).to(dtype).requires_grad_(), torch.randint(C, (B,))


def assert_same(ours, theirs, embeddings, *args):
    found, expected = ours(embeddings, *args), theirs(embeddings, *args)
    assert torch.equal(found, expected)
    wanted = torch.autograd.grad(expected, [embeddings, *theirs.parameters()])
    for a, b in zip(
        torch.autograd.grad(found, [embeddings, *ours.parameters()]), wanted, strict=True
    ):
        assert torch.equal(a, b)
        assert a.dtype == b.dtype


REDUCERS = {
    "mean": reducers.MeanReducer,
    "avg_non_zero": reducers.AvgNonZeroReducer,
    "sum": reducers.SumReducer,
    "threshold": lambda: reducers.ThresholdReducer(low=0.1),
    "class_weighted": lambda: reducers.ClassWeightedReducer(torch.linspace(0.1, 1, C)),
    "per_anchor": reducers.PerAnchorReducer,
}


@every_base
@pytest.mark.parametrize("reducer", REDUCERS)
def test_reducers(name, reducer):
    ours, theirs = twins(name, reducer=REDUCERS[reducer]())
    embeddings, labels = batch()
    try:
        copy.deepcopy(theirs)(embeddings, labels)
    except (NotImplementedError, IndexError, RuntimeError) as error:
        with pytest.raises(type(error)):
            ours(embeddings, labels)
        return
    assert_same(ours, theirs, embeddings, labels)


@every_base
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
@pytest.mark.parametrize("autocast", [True, False])
def test_types(name, dtype, autocast):
    ours, theirs = twins(name)
    embeddings, labels = batch(dtype)
    with torch.autocast("cpu", dtype=torch.bfloat16, enabled=autocast):
        try:
            expected = theirs(embeddings, labels)
        except (AssertionError, RuntimeError) as error:  # P2SGrad checks lengths to 1e-5
            with pytest.raises(type(error)):
                ours(embeddings, labels)
            return
        found = ours(embeddings, labels)
    torch.testing.assert_close(found, expected, rtol=0, atol=0, equal_nan=True)
    found.backward()
    for a, b in zip(ours.parameters(), theirs.parameters(), strict=True):
        assert a.dtype == b.dtype


@every_base
@pytest.mark.parametrize("kind", ["weight", "embedding"])
def test_regularizers(name, kind):
    if name == "P2SGradLoss" and kind == "weight":
        pytest.skip("PML's P2SGradLoss takes no weight regularizer")
    kwargs = {f"{kind}_regularizer": regularizers.LpRegularizer(), f"{kind}_reg_weight": 0.3}
    ours, theirs = twins(name, **kwargs)
    assert_same(ours, theirs, *batch())
    assert ours.sub_loss_names() == theirs.sub_loss_names()


@every_base
def test_miners_and_logits(name):
    ours, theirs = twins(name)
    embeddings, labels = batch()
    pairs = miners.MultiSimilarityMiner()(embeddings, labels)
    if name == "P2SGradLoss":
        with pytest.raises(ValueError, match="indices_tuple"):
            ours(embeddings, labels, pairs)
        return
    assert_same(ours, theirs, embeddings, labels, pairs)
    assert torch.equal(ours.get_logits(embeddings), theirs.get_logits(embeddings))


@every_base
def test_stats(name):
    ours, theirs = twins(name, collect_stats=True)
    assert_same(ours, theirs, *batch())
    for attribute in getattr(theirs, "_record_these_stats", ["avg_angle"]):
        if hasattr(theirs, attribute):
            assert getattr(ours.level_loss(0), attribute) == getattr(theirs, attribute)


@pytest.mark.parametrize(
    "distance",
    [
        distances.CosineSimilarity(),
        distances.DotProductSimilarity(normalize_embeddings=False),
        distances.LpDistance(power=2),
        distances.LpDistance(normalize_embeddings=False, p=1),
    ],
    ids=["cosine", "dot", "l2", "l1"],
)
@pytest.mark.parametrize("name", ["ProxyAnchorLoss", "ProxyNCALoss", "NormalizedSoftmaxLoss"])
def test_distances(name, distance):
    assert_same(*twins(name, distance=distance), *batch())


@every_base
def test_proxies_can_be_assigned(name):
    """As PML's own tests do to compare implementations."""
    ours, theirs = twins(name)
    attribute = BASES[name].attribute
    other = torch.nn.Parameter(torch.randn_like(getattr(theirs, attribute)))
    if name == "P2SGradLoss":
        other.data = torch.nn.functional.normalize(other.data, dim=0)
    setattr(ours, attribute, other)
    setattr(theirs, attribute, copy.deepcopy(other))
    assert getattr(ours.level_loss(0), attribute) is other
    assert list(ours.parameters()) == [other]
    assert_same(ours, theirs, *batch())


def test_settings_can_be_assigned():
    ours, theirs = twins("NormalizedSoftmaxLoss")
    for loss_func in (ours.level_loss(0), theirs):
        loss_func.temperature = 0.2
        loss_func.distance = distances.CosineSimilarity()
    assert_same(ours, theirs, *batch())


def test_attributes_and_methods_of_the_base_loss_answer():
    ours, theirs = twins("SubCenterArcFaceLoss")
    embeddings, labels = batch()
    assert torch.equal(ours.W, theirs.W)
    assert ours.num_classes == theirs.num_classes
    labels = torch.arange(B) % C  # PML leaves the centers of absent classes undefined
    found, expected = (x.get_outliers(embeddings.detach(), labels) for x in (ours, theirs))
    assert all(torch.equal(a, b) for a, b in zip(found, expected, strict=True))
    assert torch.equal(twins("SoftTripleLoss")[0].fc, twins("SoftTripleLoss")[1].fc)
    with pytest.raises(AttributeError, match="no_such_thing"):
        _ = ours.no_such_thing


@every_base
def test_one_class_in_the_batch(name):
    ours, theirs = twins(name)
    embeddings, labels = batch()
    assert_same(ours, theirs, embeddings, torch.full_like(labels, 3))


@every_base
def test_zero_embedding_gives_the_proxies_no_nan(name):
    if name == "P2SGradLoss":
        pytest.skip("an error, see test_bad_arguments")
    base = BASES[name]
    loss_func = HierarchicalProxyLoss(
        C, D, base_loss=base.loss_class, num_superclasses=3, warmup=0, **base.kwargs
    )
    embeddings, labels = batch()
    embeddings.data[4] = 0
    loss_func(embeddings, labels).backward()
    assert all(p.grad.isfinite().all() for p in loss_func.parameters())


def test_p2sgrad_with_its_own_name_for_the_embedding_size():
    torch.manual_seed(1)
    theirs = BASES["P2SGradLoss"].loss_class(descriptors_dim=D, num_classes=C)
    torch.manual_seed(1)
    ours = HierarchicalProxyLoss(
        descriptors_dim=D,
        num_classes=C,
        base_loss=BASES["P2SGradLoss"].loss_class,
        num_superclasses=(),
    )
    assert_same(ours, theirs, *batch())


def test_inside_multiple_losses():
    ours, theirs = twins("CosFaceLoss")
    embeddings, labels = batch()
    other = twins("ProxyNCALoss")[1]
    found = MultipleLosses([ours, copy.deepcopy(other)], weights=[1, 0.5])(embeddings, labels)
    expected = MultipleLosses([theirs, other], weights=[1, 0.5])(embeddings, labels)
    assert torch.equal(found, expected)


@pytest.mark.parametrize("convert", ["half", "bfloat16", "double", "float"])
@every_base
def test_moved_after_construction(name, convert):
    """Several levels, converted as a module: the coarse proxies and the table come along."""
    base = BASES[name]
    loss_func = HierarchicalProxyLoss(
        C, D, base_loss=base.loss_class, num_superclasses=3, warmup=0, **base.kwargs
    )
    loss_func.recluster()
    getattr(loss_func, convert)()
    dtype = next(loss_func.parameters()).dtype
    embeddings, labels = batch(dtype)
    if name in ("P2SGradLoss", "ProxyNCALoss") and dtype is torch.bfloat16:
        pytest.skip("PML checks lengths to 1e-5, or torch has no cdist of bfloat16")
    loss = loss_func(embeddings, labels)
    loss.backward()
    assert loss.dtype == dtype
    assert loss_func.class_labels.dtype == torch.int64
    loss_func.recluster()
    assert next(loss_func.parameters()).dtype == dtype
    assert getattr(loss_func.level_loss(1), base.attribute).dtype == dtype
