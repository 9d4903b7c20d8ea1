"""What a loss tells its user by itself: each once, and nothing where all is well."""

import re
import warnings

import pytest
import torch

from pml_hierarchical.losses import HierarchicalProxyLoss

C, D, B = 12, 6, 10


def batch():
    return torch.randn(B, D, requires_grad=True), torch.randint(C, (B,))


def loss_with(**kwargs):
    return HierarchicalProxyLoss(C, D, num_superclasses=3, **{"warmup": 0, **kwargs})


def no_optimizer():
    """60 steps and more than five updates, after which the proxies are what they were."""
    loss_func = loss_with(recluster_every=5)
    for _ in range(60):
        loss_func(*batch()).backward()


def trained_in_eval_mode():
    loss_func = loss_with().eval()
    for _ in range(5):
        loss_func(*batch()).backward()


def new_classes_without_optimizer():
    loss_func = loss_with()
    for _ in range(3):
        loss_func.add_classes(1)


def never_updated():
    loss_func = loss_with(warmup=1, recluster_every=None)
    for _ in range(6):
        loss_func(*batch()).backward()


def warm_up_only():
    loss_func = loss_with(warmup=10)
    for _ in range(4):
        loss_func(*batch()).backward()


@pytest.mark.parametrize(
    ("habit", "message"),
    [
        (no_optimizer, "equal proxies: no optimizer moves them"),
        (trained_in_eval_mode, r"called in eval\(\) mode with gradients"),
        (new_classes_without_optimizer, "new classes without optimizer="),
        (never_updated, r"recluster\(\) has not been called"),
        (warm_up_only, "trained for 4 of the 10 training steps of its warm-up"),
    ],
)
def test_told_once(habit, message):
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        habit()
    found = [one for one in seen if "HierarchicalProxyLoss" in str(one.message)]
    assert len(found) == 1, [str(one.message) for one in found]
    assert re.search(message, str(found[0].message))


def test_silent_where_all_is_well():
    """Trained, evaluated (with and without gradients of the embeddings), grown and trained on."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        loss_func = loss_with(recluster_every=2)
        optimizer = torch.optim.SGD(loss_func.parameters(), lr=0.1)
        for _ in range(20):
            optimizer.zero_grad()
            loss_func(*batch()).backward()
            optimizer.step()
        loss_func.eval()(torch.randn(B, D), torch.randint(C, (B,)))
        with torch.no_grad():
            loss_func(*batch())
        loss_func.train().add_classes(1, optimizer=optimizer)
        loss_func(*batch()).backward()
        optimizer.step()
