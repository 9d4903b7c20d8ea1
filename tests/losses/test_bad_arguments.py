"""Every bad argument by itself: the error names the argument, what was given, what was expected."""

import sys
from functools import partial

import numpy as np
import pytest
import torch
from pytorch_metric_learning.losses import CrossBatchMemory
from pytorch_metric_learning.reducers import DoNothingReducer

from pml_hierarchical import Hierarchy, losses
from pml_hierarchical.clustering import KMeans
from pml_hierarchical.core import hierarchical_proxy_loss as core
from pml_hierarchical.losses import HierarchicalProxyLoss

C, D = 12, 6
TREE = Hierarchy.from_parents([[0, 0, 0, 0, 1, 1, 2, 2, 2, 3, 3, 3], [0, 0, 1, 1]])


class Pair(losses.BaseMetricLossFunction):
    pass


class TwoFold(losses.BaseMetricLossFunction):
    """Says one centre per class and has two."""

    def __init__(self, num_classes, embedding_size, **kwargs):
        super().__init__(**kwargs)
        self.centres = torch.nn.Parameter(torch.randn(2 * num_classes, embedding_size))


losses.register_proxy_loss(TwoFold, "centres")


@pytest.mark.parametrize(
    ("kwargs", "error", "message"),
    [
        (
            {"num_superclasses": C},
            ValueError,
            f"num_superclasses: got {C} superclasses at level 1 for {C}",
        ),
        ({"num_superclasses": C + 1}, ValueError, "smaller than the level below"),
        ({"num_superclasses": 0}, ValueError, "num_superclasses: got 0 .*at least 2"),
        ({"num_superclasses": 1}, ValueError, "num_superclasses: got 1 .*at least 2"),
        ({"num_superclasses": 2.5}, TypeError, "num_superclasses must be integers.*got 2.5"),
        ({"num_superclasses": True}, TypeError, "got True"),
        ({"num_superclasses": "many"}, TypeError, "'many'"),
        *(
            (
                {"level_kwargs": {level: {"reducer": DoNothingReducer()}}},
                ValueError,
                "DoNothingReducer must be that of every level",
            )
            for level in (0, 1)
        ),
        ({"num_superclasses": (3, 3)}, ValueError, "smaller than the level below"),
        ({"num_superclasses": (3, 5)}, ValueError, "smaller than the level below"),
        ({"hierarchy": TREE, "num_superclasses": 4}, ValueError, "is the size of level 1"),
        ({"hierarchy": Hierarchy.flat(5)}, ValueError, "5 fine classes, but num_classes=12"),
        ({"hierarchy": [0, 0, 1]}, ValueError, "2-D"),
        ({"hierarchy": [[0.0, 1.0]]}, TypeError, "integers"),
        ({"hierarchy": [[0, 0], [1, 0], [0, 1]]}, ValueError, "class 0 of level 0 has two parents"),
        ({"hierarchy": [[0, 0], [2, 0]]}, ValueError, "class 1 is missing"),
        (
            {"hierarchy": np.stack([np.arange(C)] * 2, axis=1)},
            ValueError,
            "hierarchy: .*a coarser level must be smaller",
        ),
        ({"hierarchy": TREE, "level_weights": (1, 1)}, ValueError, "each of the 3 levels.*got 2"),
        ({"num_superclasses": (), "level_weights": (5.0,)}, ValueError, "has no effect"),
        ({"level_weights": ()}, ValueError, "each of the 2 levels.*got 0"),
        ({"level_weights": -1.0}, ValueError, r"not negative.*\(1.0, -1.0\)"),
        ({"level_weights": (0, 0)}, ValueError, "not all 0"),
        ({"level_weights": float("nan")}, ValueError, "finite"),
        ({"level_weights": "heavy"}, TypeError, "level_weights must be a number.*'heavy'"),
        ({"level_weights": (1, None)}, TypeError, r"level_weights must be a number.*\(1, None\)"),
        ({"level_weights": lambda step: -1.0}, ValueError, "not negative"),
        ({"warmup": -1}, ValueError, "warmup must be at least 0, got -1"),
        ({"warmup": 1.5}, TypeError, "warmup must be an integer, got 1.5"),
        ({"recluster_every": 0}, ValueError, "recluster_every must be at least 1, got 0"),
        ({"recluster_every": -3}, ValueError, "recluster_every must be at least 1, got -3"),
        ({"engine": "fast"}, ValueError, "engine must be"),
        *(
            ({"num_superclasses": (), "engine": engine}, ValueError, "engine=.* has no effect")
            for engine in (losses.FastPath(class_share=0.5), losses.FastPath(save_memory=True))
        ),
        ({"clusterer": "dbscan"}, ValueError, "clusterer.*dbscan"),
        ({"clusterer": 3}, TypeError, "clusterer.*3"),
        ({"coarse_proxies": "soft"}, ValueError, "coarse_proxies must be one of.*'soft'"),
        ({"coarse_scale": 0}, ValueError, "coarse_scale must be a positive, finite number, got 0"),
        ({"coarse_scale": float("nan")}, ValueError, "coarse_scale .*got nan"),
        ({"coarse_scale": "soft"}, ValueError, "coarse_scale must be .*got 'soft'"),
        (
            {"base_loss": losses.P2SGradLoss, "coarse_scale": 0.5},
            ValueError,
            "coarse_scale=0.5 has no effect: P2SGradLoss",
        ),
        ({"level_kwargs": {2: {}}}, ValueError, r"level_kwargs .* level 2.*0\.\.1"),
        ({"level_kwargs": [{}, {}]}, TypeError, r"level_kwargs must be a mapping.*\[{}, {}\]"),
        ({"level_kwargs": {1: 0.3}}, TypeError, "level_kwargs .*0.3 for level 1"),
        ({"level_kwargs": {1: {"margn": 1}}}, TypeError, "margn"),
        ({"level_kwargs": {1: {"num_classes": 9}}}, ValueError, "'num_classes' for level 1"),
        ({"level_kwargs": {1: {"embedding_size": 9}}}, ValueError, "'embedding_size' for level 1"),
        (
            {"base_loss": losses.SubCenterArcFaceLoss, "level_kwargs": {1: {"sub_centers": 2}}},
            ValueError,
            "level_kwargs sets 'sub_centers' for level 1, which is for all levels",
        ),
        ({"hierarchy": torch.arange(C)}, ValueError, r"labels must be 2-D.*\(12,\)"),
        ({"margn": 0.1}, TypeError, "'margn': did you mean 'margin'"),
        ({"warm_up": 3}, TypeError, "'warm_up': did you mean 'warmup'"),
        ({"level_kwargs": {1: {"alhpa": 1}}}, TypeError, "'alhpa': did you mean 'alpha'"),
        ({"base_loss": losses.TripletMarginLoss}, TypeError, "TripletMarginLoss.*pair and triplet"),
        ({"base_loss": losses.NTXentLoss}, TypeError, "cannot be a base"),
        ({"base_loss": partial(losses.ContrastiveLoss)}, TypeError, "pair and triplet"),
        ({"base_loss": lambda **_: losses.ContrastiveLoss()}, TypeError, "pair and triplet"),
        ({"base_loss": losses.ProxyAnchorLoss(C, D)}, TypeError, "Pass the class"),
        ({"base_loss": "proxy_anchor"}, TypeError, "base_loss must be a class.*got str"),
        ({"base_loss": Pair}, TypeError, "register_proxy_loss"),
        ({"base_loss": TwoFold}, TypeError, r"shape \(24, 6\), expected 12 proxies in dimension 0"),
    ],
)
def test_arguments(kwargs, error, message):
    with pytest.raises(error, match=message):
        HierarchicalProxyLoss(C, D, **kwargs)


@pytest.mark.parametrize(
    ("num_classes", "embedding_size", "error", "message"),
    [
        (0, D, ValueError, "num_classes must be at least 1, got 0"),
        (2.0, D, TypeError, "num_classes must be an integer, got 2.0"),
        (C, 0, ValueError, "embedding_size must be at least 1, got 0"),
        (C, None, TypeError, "embedding_size must be an integer, got None"),
        (2, D, ValueError, r"num_classes=2 is too few .*num_superclasses=\(\)"),
    ],
)
def test_sizes(num_classes, embedding_size, error, message):
    with pytest.raises(error, match=message):
        HierarchicalProxyLoss(num_classes, embedding_size)


def test_a_size_that_is_missing_or_given_twice():
    with pytest.raises(TypeError, match="missing a required argument: 'embedding_size'"):
        HierarchicalProxyLoss(C)
    with pytest.raises(TypeError, match="multiple values for argument 'embedding_size'"):
        HierarchicalProxyLoss(C, D, losses.P2SGradLoss, descriptors_dim=D + 1)


@pytest.mark.parametrize("kind", [torch.tensor, np.array])
def test_weights_as_tensors_and_arrays(kind):
    """Of a number and of a sequence, as a schedule that counts with tensors returns them."""
    for weights in (0.25, (1, 0.25)):
        schedule = lambda step, weights=weights: kind(weights)  # noqa: E731
        for given in (kind(weights), schedule):
            loss_func = HierarchicalProxyLoss(C, D, num_superclasses=3, level_weights=given)
            assert loss_func.level_weights == (1.0, 0.25)
    with pytest.raises(TypeError, match="level_weights must be a number"):
        HierarchicalProxyLoss(C, D, level_weights=kind([[1, 0.25]]))


@pytest.mark.parametrize("kind", [np.float16, np.float32, np.float64, np.int64])
def test_numbers_of_numpy_are_numbers(kind):
    engine, clusterer = losses.FastPath(class_share=kind(1)), KMeans(balance=kind(2))
    options = {"num_superclasses": 3, "warmup": 0, "engine": engine, "clusterer": clusterer}
    loss_func = HierarchicalProxyLoss(C, D, coarse_scale=kind(1), **options)
    loss_func(torch.randn(C, D), torch.arange(C)).backward()
    assert loss_func.largest_superclass <= 8


def test_weights_of_a_later_step():
    loss_func = HierarchicalProxyLoss(
        C, D, hierarchy=TREE, warmup=0, level_weights=lambda step: (1, 1, 1) if step < 2 else (1,)
    )
    embeddings, labels = torch.randn(2, D), torch.tensor([0, 1])
    loss_func(embeddings, labels)
    loss_func(embeddings, labels)
    with pytest.raises(ValueError, match=r"got 1: .* at step 2"):
        loss_func(embeddings, labels)


@pytest.mark.parametrize(
    ("labels", "error", "message"),
    [
        (torch.tensor([0, C]), ValueError, rf"labels must be in 0\.\.{C - 1}.*from 0 to {C}"),
        (torch.tensor([-1, 0]), ValueError, "labels must be .*from -1 to 0"),
        (torch.tensor([0.0, 1.0]), TypeError, "labels must be integers, got torch.float32"),
        (torch.tensor([True, False]), TypeError, "labels must be integers, got torch.bool"),
        (torch.tensor([[0], [1]]), ValueError, "1D"),
        (torch.tensor([0]), ValueError, "Number of embeddings"),
        (None, ValueError, "labels are required"),
    ],
)
@pytest.mark.parametrize("hierarchy", [TREE, Hierarchy.flat(C)])
def test_labels(labels, error, message, hierarchy):
    with pytest.raises(error, match=message):
        HierarchicalProxyLoss(C, D, hierarchy=hierarchy)(torch.randn(2, D), labels)


@pytest.mark.parametrize("hierarchy", [TREE, Hierarchy.flat(C)])
def test_embeddings(hierarchy):
    loss_func = HierarchicalProxyLoss(C, D, hierarchy=hierarchy, warmup=0)
    labels = torch.tensor([0, 1])
    with pytest.raises(ValueError, match=r"embeddings must have shape \(batch_size, 6\), got \(2,"):
        loss_func(torch.randn(2, 5), labels)
    for value, found in ((np.zeros((2, D), np.float32), "ndarray"), (torch.eye(2, D).int(), "int")):
        with pytest.raises(TypeError, match=f"must be a floating point tensor, got .*{found}"):
            loss_func(value, labels)
    with pytest.raises(ValueError, match="the batch is empty"):
        loss_func(torch.randn(0, D), torch.tensor([], dtype=torch.long))
    with pytest.raises(ValueError, match="ref_emb"):
        loss_func(torch.randn(2, D), labels, None, torch.randn(2, D))
    for value in (float("nan"), float("inf"), -float("inf")):
        embeddings = torch.randn(2, D)
        embeddings[1, 3] = value
        with pytest.raises(ValueError, match=r"embeddings hold NaN or infinite.* 1 of 2 .*row 1"):
            loss_func(embeddings, labels)
    assert loss_func.step == 0


def test_zero_embedding_where_the_loss_divides_by_its_length():
    loss_func = HierarchicalProxyLoss(C, D, base_loss=losses.P2SGradLoss, hierarchy=TREE)
    with pytest.raises(ValueError, match=r"row of zeros \(row 1\)"):
        loss_func(torch.eye(2, D) * torch.tensor([[1.0], [0.0]]), torch.tensor([0, 1]))


def test_levels_of_logits():
    loss_func = HierarchicalProxyLoss(C, D)
    with pytest.raises(RuntimeError, match="warm-up of 100"):
        loss_func.get_logits(torch.randn(2, D), level=1)
    for level in (2, -1, 0.5):
        with pytest.raises(ValueError, match=rf"level must be in 0\.\.1, got {level}"):
            loss_func.get_logits(torch.randn(2, D), level=level)


def test_huge_values_are_finite():
    """Though their sum is not."""
    loss_func = HierarchicalProxyLoss(C, D, num_superclasses=3, warmup=0)
    embeddings = torch.full((2, D), 3e38)
    assert not embeddings.sum().isfinite()
    assert loss_func(embeddings, torch.tensor([0, 1])).shape == ()


def test_nan_proxies_cannot_be_clustered():
    loss_func = HierarchicalProxyLoss(C, D, warmup=0)
    loss_func.proxies.data[3] = float("nan")
    with pytest.raises(ValueError, match=r"proxies .*NaN"):
        loss_func.recluster()


def test_cross_batch_memory_refuses_in_its_own_words():
    with pytest.raises(Exception, match="CrossBatchMemory not supported for HierarchicalProxyLoss"):
        CrossBatchMemory(HierarchicalProxyLoss(C, D), D)


def test_registration():
    with pytest.raises(ValueError, match="class_dim must be 0 or 1, got 2"):
        losses.register_proxy_loss(Pair, "centres", class_dim=2)
    with pytest.raises(TypeError, match="subclass of PML's"):
        losses.register_proxy_loss(torch.nn.Linear, "weight")


@pytest.mark.parametrize(
    ("other", "message"),
    [
        ({"num_classes": C + 1, "num_superclasses": 3}, "shape .12, 6.*which has 12 classes"),
        ({"num_classes": C, "num_superclasses": 4}, r"level 1 have shape \(3, 6\).*\(4, 6\)"),
        ({"num_classes": C, "num_superclasses": (4, 2)}, "with 2 levels, and this one has 3"),
        ({"num_classes": C, "num_superclasses": ()}, "with 2 levels, and this one has 1"),
    ],
)
@pytest.mark.parametrize("strict", [True, False])
def test_checkpoint_of_another_loss(other, message, strict):
    state = HierarchicalProxyLoss(C, D, num_superclasses=3).state_dict()
    loss_func = HierarchicalProxyLoss(embedding_size=D, **other)
    with pytest.raises(ValueError, match=message):
        loss_func.load_state_dict(state, strict=strict)
    with pytest.raises(ValueError, match=message):
        torch.nn.ModuleDict({"loss": loss_func}).load_state_dict(
            {f"loss.{key}": value for key, value in state.items()}
        )


def test_checkpoint_with_other_centres():
    """Which looks like one of another number of classes."""
    state = HierarchicalProxyLoss(C, D, losses.SoftTripleLoss, centers_per_class=3).state_dict()
    loss_func = HierarchicalProxyLoss(C, D, losses.SoftTripleLoss, centers_per_class=4)
    with pytest.raises(ValueError, match=r"num_classes or centres per class .*36 proxies"):
        loss_func.load_state_dict(state)


@pytest.mark.parametrize("loss_class", [core.HierarchicalProxyLoss, HierarchicalProxyLoss])
def test_data_parallel_is_refused(monkeypatch, loss_class):
    """By the function that copies a module to the GPUs, of which only the copying is replaced."""
    replicate = sys.modules["torch.nn.parallel.replicate"]

    def copies(tensors, devices, detach=False):
        return [[tensor.clone() for tensor in tensors] for _ in devices]

    monkeypatch.setattr(replicate, "_broadcast_coalesced_reshape", copies)
    replicate.replicate(losses.ProxyAnchorLoss(C, D), [0, 1])
    model = torch.nn.ModuleList([torch.nn.Linear(D, D), loss_class(C, D)])
    with pytest.raises(RuntimeError, match=r"inside torch.nn.DataParallel: use Distributed"):
        replicate.replicate(model, [0, 1])


def test_names_that_are_set_later():
    loss_func = HierarchicalProxyLoss(C, D, num_superclasses=3, warmup=0)
    loss_func.engine, loss_func.clusterer = "pml", "agglomerative"
    assert loss_func.engine is None
    loss_func(torch.randn(C, D), torch.arange(C))
    for name in ("engine", "clusterer"):
        with pytest.raises(ValueError, match="'kmean'"):
            setattr(loss_func, name, "kmean")


@pytest.mark.parametrize(
    ("name", "value", "error", "message"),
    [
        ("warmup", "100", TypeError, "warmup must be an integer, got '100'"),
        ("warmup", None, TypeError, "warmup must be an integer, got None"),
        ("warmup", -1, ValueError, "warmup must be at least 0, got -1"),
        ("recluster_every", 0, ValueError, "recluster_every must be at least 1, got 0"),
        ("recluster_every", False, TypeError, "recluster_every must be an integer, got False"),
        ("clusterer", None, TypeError, "clusterer must be one of .*got None"),
    ],
)
def test_what_is_set_later_is_checked_as_in_the_constructor(name, value, error, message):
    loss_func = HierarchicalProxyLoss(C, D)
    before = getattr(loss_func, name)
    with pytest.raises(error, match=message):
        setattr(loss_func, name, value)
    assert getattr(loss_func, name) is before


def test_what_cannot_be_set_later():
    """Assigned, it would have no effect, or half of one."""
    loss_func = HierarchicalProxyLoss(C, D, num_superclasses=3)
    later = {
        "coarse_scale": 0.5,
        "coarse_proxies": "live",
        "num_superclasses": 4,
        "hierarchy": TREE,
    }
    for name, value in later.items():
        with pytest.raises(AttributeError, match=f"{name} is fixed by the constructor"):
            setattr(loss_func, name, value)
    with pytest.raises(TypeError, match="clusterer must be one of"):
        loss_func.clusterer = 3
    with pytest.raises(ValueError, match="engine must be a FastPath"):
        loss_func.engine = 3
    loss_func.warmup, loss_func.recluster_every, loss_func.engine = 5, None, "pml"
    assert (loss_func.warmup, loss_func.recluster_every, loss_func.engine) == (5, None, None)
    loss_func.engine = None  # the default, as in the constructor
    assert loss_func.engine == losses.FastPath()
