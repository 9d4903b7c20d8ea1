"""Settings that levels share, that were changed after construction, or are of other types."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest
import torch
from pytorch_metric_learning.reducers import ClassWeightedReducer, MultipleReducers
from pytorch_metric_learning.regularizers import LpRegularizer

from pml_hierarchical import Hierarchy, losses
from pml_hierarchical.losses import FastPath, HierarchicalProxyLoss

C, D = 10, 8
X, Y = torch.randn(16, D, generator=torch.Generator().manual_seed(0)), torch.arange(16) % C
TREE = Hierarchy.from_parents([[0, 0, 0, 0, 1, 1, 1, 2, 2, 2]])


class LearnedTemperature(losses.NormalizedSoftmaxLoss):
    """As the documentation says of a setting that is a parameter."""

    def __init__(self, *args, temperature=0.05, **kwargs):
        super().__init__(*args, temperature=temperature, **kwargs)
        self.temperature = torch.nn.Parameter(torch.tensor(temperature))


# ---------------------------------------------------------------- tensors
def test_a_scale_that_is_a_tensor_is_scaled_for_each_coarse_level_alone():
    scale = torch.tensor(10.0)
    loss_func = HierarchicalProxyLoss(
        C, D, base_loss=losses.ProxyNCALoss, num_superclasses=(5, 2), softmax_scale=scale
    )
    scales = [float(loss_func.level_loss(level).softmax_scale) for level in range(3)]
    assert scales == [10, 2.5, 2.5]
    assert scale == 10


def test_a_parameter_that_all_levels_share_stays_as_it_is():
    temperature = torch.nn.Parameter(torch.tensor(0.05))
    loss_func = HierarchicalProxyLoss(
        C, D, base_loss=losses.NormalizedSoftmaxLoss, hierarchy=TREE, temperature=temperature
    )
    assert loss_func.level_loss(0).temperature is temperature
    assert temperature == 0.05
    assert isinstance(loss_func.level_loss(1).temperature, torch.nn.Parameter)
    assert float(loss_func.level_loss(1).temperature) == pytest.approx(0.2)


# ---------------------------------------------------------------- of the fine classes
class OwnWeights(ClassWeightedReducer):
    """A subclass with a name of its own."""


@pytest.mark.parametrize(
    "made_by",
    [
        ClassWeightedReducer,
        OwnWeights,
        lambda weights: MultipleReducers({"loss": ClassWeightedReducer(weights)}),
    ],
    ids=["plain", "subclass", "among others"],
)
def test_class_weights_are_those_of_the_fine_level(made_by):
    weights = torch.ones(C)
    weights[0] = 100  # a number that is also that of a superclass
    args = {"base_loss": losses.CosFaceLoss, "hierarchy": TREE, "warmup": 0}
    torch.manual_seed(0)
    weighted = HierarchicalProxyLoss(C, D, reducer=made_by(weights), **args)
    torch.manual_seed(0)
    plain = HierarchicalProxyLoss(C, D, **args)
    labels = Y.clamp(min=1)
    weighted(X, labels)
    plain(X, labels)
    assert weighted.loss_level0 == pytest.approx(plain.loss_level0)
    assert weighted.loss_level1 == pytest.approx(plain.loss_level1)
    weighted(X, Y)
    plain(X, Y)
    assert weighted.loss_level0 > 2 * plain.loss_level0
    assert weighted.loss_level1 == pytest.approx(plain.loss_level1)


# ---------------------------------------------------------------- after add_classes
@pytest.mark.parametrize("base", [losses.ProxyAnchorLoss, losses.SoftTripleLoss])
def test_new_classes_leave_settings_that_were_changed(base):
    loss_func = HierarchicalProxyLoss(C, D, base_loss=base, hierarchy=TREE, warmup=0)
    loss_func.level_loss(0).margin = 0.5
    loss_func.level_loss(1).margin = C  # a setting may equal a size
    loss_func.level_loss(0).note = 7  # which a new loss of PML does not have
    loss_func.add_classes(2, parents=[0, 3 - 1])
    assert loss_func.level_loss(0).margin == 0.5
    assert loss_func.level_loss(1).margin == C
    assert loss_func.level_loss(0).note == 7
    assert loss_func.level_loss(0).num_classes == 12
    loss_func(X, torch.arange(16) % 12).backward()


def test_new_classes_leave_what_was_learned():
    loss_func = HierarchicalProxyLoss(C, D, base_loss=LearnedTemperature, warmup=0)
    optimizer = torch.optim.SGD(loss_func.parameters(), lr=1e-3)
    loss_func(X, Y).backward()
    optimizer.step()
    temperature = loss_func.level_loss(0).temperature
    before = float(temperature)
    loss_func.add_classes(2, optimizer=optimizer)
    assert loss_func.level_loss(0).temperature is temperature
    assert float(temperature) == before != pytest.approx(0.05)
    optimizer.zero_grad()
    loss_func(X, Y).backward()
    optimizer.step()
    assert float(temperature) != before


def test_new_proxies_that_are_not_finite_change_nothing():
    loss_func = HierarchicalProxyLoss(C, D, num_superclasses=3, warmup=0)
    loss_func.recluster()
    before = loss_func.hierarchy
    with pytest.raises(ValueError, match="one finite vector for each new class"):
        loss_func.add_classes(1, proxies=torch.full((1, D), torch.nan))
    assert (loss_func.num_classes, loss_func.hierarchy) == (C, before)


# ---------------------------------------------------------------- other types
def test_arrays_and_numbers_of_numpy():
    found = HierarchicalProxyLoss(
        C, D, num_superclasses=np.array([5, 2]), level_weights=np.float32(0.5)
    )
    assert (found.sizes, found.level_weights) == ((10, 5, 2), (1, 0.5, 0.5))
    weights = np.array([1, 0.5], dtype=np.float32)
    assert HierarchicalProxyLoss(C, D, level_weights=weights).level_weights == (1, 0.5)


def test_a_partial_has_the_argument_names_of_its_class():
    loss_func = HierarchicalProxyLoss(C, D, base_loss=partial(losses.P2SGradLoss))
    assert loss_func.level_loss(0).weight.shape == (D, C)


# ---------------------------------------------------------------- refused
@pytest.mark.parametrize("name", ["embedding_regularizer", "embedding_reg_weight"])
def test_regularizers_are_set_on_a_level(name):
    loss_func = HierarchicalProxyLoss(C, D)
    with pytest.raises(AttributeError, match="set it on level_loss"):
        setattr(loss_func, name, LpRegularizer())


@pytest.mark.parametrize("engine", [FastPath(class_share=0.5), FastPath(save_memory=True)])
def test_settings_of_the_fast_path_with_a_miner(engine):
    loss_func = HierarchicalProxyLoss(C, D, warmup=0, engine=engine)
    pairs = (torch.tensor([0]), torch.tensor([10]), torch.tensor([0]), torch.tensor([1]))
    loss_func(X, Y)
    with pytest.raises(ValueError, match="no effect: with a miner"):
        loss_func(X, Y, pairs)
