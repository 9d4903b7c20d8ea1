"""What users of the default meet: coarse proxies that are parameters, and zero in the warm-up."""

from __future__ import annotations

import itertools

import pytest
import torch
from bases import BASES
from pytorch_metric_learning import trainers
from pytorch_metric_learning.utils.common_functions import EmbeddingDataset

from pml_hierarchical.hooks import ReclusterHook
from pml_hierarchical.losses import HierarchicalProxyLoss

C, D, B, WARMUP = 12, 6, 20, 2
OPTIMIZERS = {
    "SGD": lambda parameters: torch.optim.SGD(parameters, lr=0.1, momentum=0.9, weight_decay=0.1),
    "Adam": lambda parameters: torch.optim.Adam(parameters, lr=0.1, weight_decay=0.1),
    "AdamW": lambda parameters: torch.optim.AdamW(parameters, lr=0.1, weight_decay=0.1),
    "fused": lambda parameters: torch.optim.AdamW(parameters, lr=0.1, fused=True),
}


def make(**kwargs):
    torch.manual_seed(0)
    settings = {"num_superclasses": (4, 2), "warmup": WARMUP, "recluster_every": 2, **kwargs}
    return HierarchicalProxyLoss(C, D, **settings)


def batches(count):
    generator = torch.Generator().manual_seed(1)
    for _ in range(count):
        embeddings = torch.randn(B, D, generator=generator)
        yield embeddings, torch.randint(C, (B,), generator=generator)


def coarse(loss_func):
    """A copy of the coarse proxies, one tensor per level."""
    of_levels = loss_func.proxies_in_use(len(loss_func.sizes))[1:]
    return [proxies.detach().clone() for proxies in of_levels]


def train(loss_func, optimizer, steps, before_step=lambda: None):
    """The coarse proxies after each step."""
    seen = []
    for embeddings, labels in batches(steps):
        optimizer.zero_grad()
        loss_func(embeddings, labels).backward()
        before_step()
        optimizer.step()
        seen.append(coarse(loss_func))
    return seen


@pytest.mark.parametrize("name", BASES)
def test_one_parameter_per_level(name):
    base = BASES[name]
    loss_func = make(base_loss=base.loss_class, **base.kwargs)
    parameters = [(n, p) for n, p in loss_func.named_parameters() if p.requires_grad]
    names = [f"level_losses.level{level}.{base.attribute}" for level in range(3)]
    assert [n for n, _ in parameters] == names
    sizes = [p.shape[base.class_dim] // base.centers for _, p in parameters]
    assert sizes == [C, 4, 2]


@pytest.mark.parametrize("clip", [False, True])
@pytest.mark.parametrize("name", OPTIMIZERS)
def test_an_optimizer_of_before_the_warm_up_trains_them_afterwards(name, clip):
    """Until then they have no gradient: nothing is decayed, counted or clipped."""
    loss_func = make()
    optimizer = OPTIMIZERS[name](loss_func.parameters())
    norms = []

    def before_step():
        if clip:
            norms.append(torch.nn.utils.clip_grad_norm_(loss_func.parameters(), 0.01))
            grads = [p.grad.norm() for p in loss_func.parameters() if p.grad is not None]
            torch.testing.assert_close(torch.stack(grads).norm(), torch.tensor(0.01))

    for _ in range(WARMUP):
        train(loss_func, optimizer, 1, before_step)
        assert not any(map(torch.Tensor.any, coarse(loss_func)))
        assert all(p.grad is None for p in list(loss_func.parameters())[1:])
        assert len(optimizer.state) == 1
    seen = train(loss_func, optimizer, 5, before_step)
    for before, after in itertools.pairwise(seen):
        assert not any(map(torch.equal, before, after))
    assert len(optimizer.state) == 3
    assert all(proxies.isfinite().all() for proxies in seen[-1])
    assert all(norm > 0.01 for norm in norms)


def test_gradients_of_zero_leave_them_zero():
    """With ``set_to_none=False``, or where a training in processes writes zeros."""
    for make_optimizer in OPTIMIZERS.values():
        loss_func = make()
        optimizer = make_optimizer(loss_func.parameters())
        for parameter in loss_func.parameters():
            parameter.grad = torch.zeros_like(parameter)
        for embeddings, labels in batches(WARMUP):
            optimizer.zero_grad(set_to_none=False)
            loss_func(embeddings, labels).backward()
            optimizer.step()
        assert not any(map(torch.Tensor.any, coarse(loss_func)))


def test_the_trainer_of_pml_with_recluster_hook():
    loss_func = make(recluster_every=None)
    generator = torch.Generator().manual_seed(2)
    data = EmbeddingDataset(torch.randn(96, D, generator=generator), torch.arange(96) % C)
    trunk = torch.nn.Linear(D, D)
    seen = [coarse(loss_func)]
    trainers.MetricLossOnly(
        models={"trunk": trunk},
        optimizers={
            "trunk_optimizer": torch.optim.AdamW(trunk.parameters(), lr=0.01),
            "metric_loss_optimizer": torch.optim.AdamW(loss_func.parameters(), lr=0.1),
        },
        batch_size=16,
        loss_funcs={"metric_loss": loss_func},
        dataset=data,
        iterations_per_epoch=6,
        dataloader_num_workers=0,
        data_device=torch.device("cpu"),
        end_of_iteration_hook=ReclusterHook(2, lambda _: seen.append(coarse(loss_func))),
    ).train(num_epochs=1)
    assert loss_func.num_updates == 3  # after iterations 2, 4 and 6
    moved = [not torch.equal(one[0], other[0]) for one, other in itertools.pairwise(seen)]
    assert moved == [False, True, True, True, True, True]


@pytest.mark.parametrize("assign", [False, True])
@pytest.mark.parametrize("steps", [WARMUP - 1, WARMUP + 3])
@pytest.mark.parametrize(("saved", "loading"), [("fixed", "learned"), ("learned", "fixed")])
def test_a_checkpoint_of_the_other_kind(saved, loading, steps, assign):
    """The same keys and values. What was loaded then goes on as its own kind does."""
    source, loss_func = make(coarse_proxies=saved), make(coarse_proxies=loading)
    train(source, torch.optim.SGD(source.parameters(), lr=0.1), steps)
    state = {key: value.clone() for key, value in source.state_dict().items()}
    assert state.keys() == loss_func.state_dict().keys()
    loss_func.load_state_dict(state, assign=assign)
    assert all(torch.equal(loss_func.state_dict()[key], value) for key, value in state.items())
    assert len(list(loss_func.parameters())) == (3 if loading == "learned" else 1)
    assert all(p.requires_grad for p in loss_func.parameters())
    inputs = next(batches(1))
    assert torch.equal(loss_func.eval()(*inputs), source.eval()(*inputs))
    optimizer = torch.optim.SGD(loss_func.train().parameters(), lr=0.1)
    seen = [coarse(loss_func), *train(loss_func, optimizer, 5)]
    moved = [not torch.equal(one[0], other[0]) for one, other in itertools.pairwise(seen)]
    if steps < WARMUP:  # fixed ones are set in the steps 3, 5, ... of the training
        assert moved == [False, True, loading == "learned", True, loading == "learned"]
    else:
        assert moved == [loading == "learned" or step in (7, 9) for step in range(6, 11)]
