"""Averages of losses: of parameters and buffers while training, and of checkpoints afterwards."""

from __future__ import annotations

import copy
import warnings

import numpy as np
import pytest
import torch
from small_models import (
    EVERY,
    NUM_CLASSES,
    SOME,
    WARMUP,
    Net,
    assert_active_with_tree_of,
    assert_same,
    assert_trains_alike,
    assert_usable,
    facts,
    make,
    ours,
    train,
    value,
)
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn


@pytest.fixture(params=SOME)
def name(request):
    return request.param


AVERAGES = {
    "mean": lambda: None,
    "EMA": lambda: get_ema_multi_avg_fn(0.999),
}
#: the tree is built in step WARMUP + 1 and not changed before step WARMUP + EVERY + 1
STARTS = {"in the warm-up": 1, "with a tree": WARMUP + 1}


@pytest.mark.parametrize("start", STARTS.values(), ids=STARTS)
@pytest.mark.parametrize("use_buffers", [False, True])
@pytest.mark.parametrize("average", AVERAGES)
def test_averaged_model(name, average, use_buffers, start):
    model = train(make(name), start)
    averaged = AveragedModel(model, multi_avg_fn=AVERAGES[average](), use_buffers=use_buffers)
    facts(averaged.module)  # was looked at before
    train(model, WARMUP + EVERY - start, after_step=lambda: averaged.update_parameters(model))
    assert_active_with_tree_of(averaged.module, model)
    if not use_buffers:
        assert facts(averaged.module) == facts(model)
    assert_usable(averaged.module)


@pytest.mark.parametrize("start", STARTS.values(), ids=STARTS)
@pytest.mark.parametrize("use_buffers", [False, True])
def test_averaged_model_of_decay_0_is_an_equal_copy(name, use_buffers, start):
    model = train(make(name), start)
    average = get_ema_multi_avg_fn(0.0)
    averaged = AveragedModel(model, multi_avg_fn=average, use_buffers=use_buffers)

    def check():
        averaged.update_parameters(model)
        assert_same(averaged.module, model)

    train(model, WARMUP + 3 * EVERY, seed=1, after_step=check)
    assert_trains_alike(averaged.module, model)


def test_averaged_model_is_saved_and_loaded(name):
    model = train(make(name), 1)
    averaged = AveragedModel(model, use_buffers=True)
    train(model, WARMUP + EVERY - 1, after_step=lambda: averaged.update_parameters(model))
    fresh = AveragedModel(make(name, seed=1), use_buffers=True)
    fresh.load_state_dict(averaged.state_dict())
    assert_trains_alike(fresh.module, averaged.module)


@pytest.mark.parametrize("loads", [1, 2, 3])
def test_a_copy_of_a_loaded_loss_sees_its_first_update(name, loads):
    """The tensors of a copy count their changes anew, up to the count of the original's."""
    model, state = make(name), train(make(name), WARMUP).state_dict()
    for _ in range(loads):
        model.load_state_dict(state)
    facts(model)
    averaged = AveragedModel(model)
    train(model, 1)  # builds the tree
    averaged.update_parameters(model)
    assert_same(averaged.module, model)


@pytest.mark.parametrize("start", STARTS.values(), ids=STARTS)
@pytest.mark.parametrize("decay", [0.0, 0.9999])
@pytest.mark.parametrize("version", ["V2", "V3", "V3 without foreach"])
def test_timm_ema(name, version, decay, start):
    timm_utils = pytest.importorskip("timm.utils")
    net = Net(name)
    train(net.loss_func, start)
    if version == "V2":
        averaged = timm_utils.ModelEmaV2(net, decay=decay)
    else:
        averaged = timm_utils.ModelEmaV3(net, decay=decay, foreach=version == "V3")
    facts(averaged.module.loss_func)
    train(net.loss_func, WARMUP + EVERY - start, after_step=lambda: averaged.update(net))
    assert_active_with_tree_of(averaged.module.loss_func, net.loss_func)
    if decay == 0:
        assert_same(averaged.module.loss_func, net.loss_func)
    averaged.set(net)
    assert_same(averaged.module.loss_func, net.loss_func)
    assert_trains_alike(averaged.module.loss_func, net.loss_func)


# ------------------------------------------------------------ of checkpoints
def plain_mean(states):
    return {key: sum(state[key] for state in states) / len(states) for key in states[0]}


def mean_of_same_type(states):
    return {
        key: torch.stack([state[key].double() for state in states]).mean(0).to(states[0][key].dtype)
        for key in states[0]
    }


def weighted(states, weights):
    return {key: sum(w * state[key] for w, state in zip(weights, states, strict=True))
            for key in states[0]}  # fmt: skip


@pytest.mark.parametrize("mean", [plain_mean, mean_of_same_type])
@pytest.mark.parametrize("count", [2, 3])
def test_mean_of_checkpoints_of_one_tree(name, count, mean):
    loss, states = train(make(name), WARMUP + 1), []
    for _ in range(count):
        train(loss, 1, seed=len(states))
        states.append(copy.deepcopy(loss.state_dict()))
    averaged = make(name, seed=1)
    averaged.load_state_dict(mean(states))
    assert_active_with_tree_of(averaged, loss)
    if facts(loss) and len(loss.sizes) > 1:
        assert WARMUP + 1 < averaged.step <= loss.step
        assert averaged.num_updates == loss.num_updates == 1
    assert_usable(averaged)


@pytest.mark.parametrize("mean", [plain_mean, mean_of_same_type])
def test_mean_of_a_checkpoint_of_the_warmup_and_one_with_a_tree(name, mean):
    early, late = train(make(name), 1), train(make(name), WARMUP + 1)
    averaged = make(name, seed=1)
    averaged.load_state_dict(mean([early.state_dict(), late.state_dict()]))
    assert_active_with_tree_of(averaged, late)
    assert_usable(averaged)


class Scripted:
    """A clusterer that answers with any tree of the right sizes, by chance."""

    def __init__(self, seed: int) -> None:
        self.rng = np.random.default_rng(seed)

    def __call__(self, points, num_clusters):
        extra = self.rng.integers(num_clusters, size=len(points) - num_clusters)
        return self.rng.permutation(np.concatenate([np.arange(num_clusters), extra]))


def with_tree(seed, sizes=(6, 2)):
    loss = ours(num_superclasses=sizes, clusterer=Scripted(seed))
    loss.recluster()
    return loss


@pytest.mark.parametrize("sizes", [6, (6, 2)], ids=str)
@pytest.mark.parametrize("weights", [(0.5, 0.5), (1 / 3,) * 3, (0.25,) * 4, (0.4, 0.35, 0.25),
                                     (0.2,) * 5], ids=str)  # fmt: skip
def test_an_average_of_different_trees_is_one_of_them_or_known_to_be_none(sizes, weights):
    for seed in range(0, 40, len(weights)):
        losses = [with_tree(seed + n, sizes) for n in range(len(weights))]
        averaged = ours(num_superclasses=sizes)
        averaged.load_state_dict(weighted([loss.state_dict() for loss in losses], weights))
        assert averaged.is_active == (averaged.hierarchy is not None)
        if averaged.is_active:  # a tree: every class is where one of the trees has it
            same = [averaged.class_labels == loss.class_labels for loss in losses]
            assert torch.stack(same).all(dim=2).any(dim=0).all()


@pytest.mark.parametrize("weights", [(0.8, 0.2), (0.4, 0.6), (0.2, 0.55, 0.25)], ids=str)
def test_of_different_trees_the_one_with_more_than_half_of_the_weight_stays(weights):
    losses = [with_tree(seed) for seed in range(len(weights))]
    averaged = ours(num_superclasses=(6, 2))
    averaged.load_state_dict(weighted([loss.state_dict() for loss in losses], weights))
    assert_active_with_tree_of(averaged, losses[int(np.argmax(weights))])


def test_an_average_that_is_no_tree_warns_until_an_update():
    losses = [with_tree(seed) for seed in range(3)]
    averaged = ours(num_superclasses=(6, 2))
    averaged.load_state_dict(plain_mean([loss.state_dict() for loss in losses]))
    assert not averaged.is_active
    with pytest.warns(UserWarning, match=r"average of different hierarchies.*recluster\(\)"):
        value(averaged)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        value(averaged)  # said once
    averaged.recluster()
    assert averaged.is_active
    assert averaged.hierarchy.sizes == (NUM_CLASSES, 6, 2)
    assert_usable(averaged)


@pytest.mark.parametrize("decay", [0.5, 0.9])
def test_an_ema_over_changing_trees_has_one_of_them_or_none(decay):
    """Five other trees; then the last one stays for long enough."""
    model = with_tree(0)
    averaged = AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(decay), use_buffers=True)
    trees = [None, facts(model)["tree"]]
    for _ in range(5):
        model.recluster()
        trees.append(facts(model)["tree"])
        for _ in range(3):
            averaged.update_parameters(model)
            assert facts(averaged.module)["tree"] in trees
    for _ in range(30):
        averaged.update_parameters(model)
    assert_active_with_tree_of(averaged.module, model)


def test_averages_of_losses_of_different_given_trees_are_refused():
    trees = [[[c, (c * k) % 7 % 3] for c in range(NUM_CLASSES)] for k in (1, 2)]
    states = [ours(hierarchy=tree).state_dict() for tree in trees]
    with pytest.raises(ValueError, match="another given hierarchy"):
        ours(hierarchy=trees[0]).load_state_dict(plain_mean(states))
