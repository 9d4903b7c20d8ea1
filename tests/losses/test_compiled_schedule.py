"""A loss that is compiled keeps its schedule: updates, and weights that change with the step."""

from __future__ import annotations

import copy

import pytest
import torch

from pml_hierarchical.core.hierarchical_proxy_loss import HierarchicalProxyLoss as CoreLoss
from pml_hierarchical.losses import HierarchicalProxyLoss

C, D, B = 10, 8, 16


def values_of(loss_func, called, steps=8):
    generator, values = torch.Generator().manual_seed(0), []
    for _ in range(steps):
        embeddings = torch.randn(B, D, generator=generator, requires_grad=True)
        loss = called(embeddings, torch.randint(C, (B,), generator=generator))
        loss.backward()
        with torch.no_grad():
            for parameter in loss_func.parameters():
                if parameter.grad is not None:
                    parameter -= 0.1 * parameter.grad
                    parameter.grad = None
        values.append(loss.item())
    return values


@pytest.mark.parametrize(
    ("loss_class", "settings"),
    [
        (HierarchicalProxyLoss, {"warmup": 2, "recluster_every": 3}),
        (CoreLoss, {"warmup": 2, "recluster_every": 3}),
        (
            HierarchicalProxyLoss,
            {"warmup": 0, "recluster_every": None, "level_weights": lambda step: (1, step / 4)},
        ),
    ],
)
def test_a_compiled_loss_follows_its_schedule(loss_class, settings):
    torch.manual_seed(0)
    torch._dynamo.reset()
    eager = loss_class(C, D, num_superclasses=3, **settings)
    if eager.recluster_every is None:
        eager.recluster()
    compiled = copy.deepcopy(eager)
    found = values_of(compiled, torch.compile(compiled, backend="eager"))
    assert found == pytest.approx(values_of(eager, eager), rel=1e-5)
    state = [(one.superclasses.read()[:4], one.level_weights) for one in (eager, compiled)]
    assert state[0] == state[1]
    assert eager.is_active
    assert torch.equal(eager.class_labels, compiled.class_labels)


def test_a_schedule_does_not_fit_into_one_graph():
    torch._dynamo.reset()
    loss_func = HierarchicalProxyLoss(C, D, num_superclasses=3)
    called = torch.compile(loss_func, backend="eager", fullgraph=True)
    with pytest.raises(Exception, match=r"torch\.compiler\.disable"):
        called(torch.randn(B, D), torch.randint(C, (B,)))
