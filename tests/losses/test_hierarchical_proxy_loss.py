import copy
import gc
import itertools
import pickle
import warnings

import numpy as np
import pytest
import torch
from pytorch_metric_learning import distances, reducers, regularizers

from pml_hierarchical import Hierarchy, losses
from pml_hierarchical.losses import HierarchicalProxyLoss

C, D, B = 12, 6, 20
TREE = Hierarchy.from_parents([[0, 0, 0, 0, 1, 1, 2, 2, 2, 3, 3, 3], [0, 0, 1, 1]])


@pytest.fixture(autouse=True)
def _seed():
    torch.manual_seed(0)


def batch(dtype=torch.float64):
    return torch.randn(B, D, dtype=dtype, requires_grad=True), torch.randint(C, (B,))


# ---------------------------------------------------------------- one level
def test_one_level_by_asking_for_no_superclasses():
    loss_func = HierarchicalProxyLoss(C, D, num_superclasses=())
    assert loss_func.sub_loss_names() == ["pos_loss", "neg_loss"]
    assert loss_func.hierarchy == Hierarchy.flat(C)
    assert loss_func.recluster() == Hierarchy.flat(C)


# ---------------------------------------------------------------- several levels
def test_coarse_proxies_are_fixed_between_updates_and_not_parameters():
    loss_func = HierarchicalProxyLoss(
        C, D, hierarchy=TREE, warmup=0, recluster_every=3, coarse_proxies="fixed"
    )
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
        assert torch.isclose(loss, flat(embeddings, labels)) == (step < 2)
    assert loss_func.hierarchy.sizes == (C, 3)


def test_evaluation_is_not_a_training_step():
    loss_func = HierarchicalProxyLoss(C, D, warmup=0)
    embeddings, labels = batch(torch.float32)
    with torch.no_grad():
        loss_func(embeddings, labels)
    with torch.no_grad():
        loss_func.eval()(embeddings, labels)
    assert loss_func.step == 0
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
    assert loss_func.proxies is loss_func.level_loss(0).proxies
    with pytest.raises(AttributeError, match=r"level_loss\(0\).margin"):
        _ = loss_func.margin
    for name in ("margin", "alpha", "distance", "reducer"):
        with pytest.raises(AttributeError, match=r"set it on level_loss\(0\)"):
            setattr(loss_func, name, 3)
    assert [loss_func.level_loss(level).margin for level in (0, 1)] == [0.2, 0.2]
    assert [loss_func.level_loss(level).alpha for level in (0, 1)] == [16, 4]
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


# ---------------------------------------------------------------- not silent
def test_a_hierarchy_that_nobody_builds_is_not_silent():
    loss_func = HierarchicalProxyLoss(C, D, warmup=1, recluster_every=None)
    loss_func(*batch(torch.float32))
    loss_func(*batch(torch.float32))
    with pytest.warns(UserWarning, match=r"recluster\(\) has not been called"):
        loss_func(*batch(torch.float32))


def test_training_that_ends_in_the_warm_up_is_not_silent():
    loss_func = HierarchicalProxyLoss(C, D, warmup=10)
    loss_func(*batch(torch.float32))
    objects = [loss_func]
    del loss_func
    with pytest.warns(UserWarning, match="trained for 1 of the 10 training steps of its warm-up"):
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
