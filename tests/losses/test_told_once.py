"""What a user is told once, and only once: training that cannot work."""

import warnings

import torch

from pml_hierarchical.losses import HierarchicalProxyLoss

C, D = 8, 3


def messages(function):
    """The warnings of the losses while a function runs."""
    with warnings.catch_warnings(record=True) as found:
        warnings.simplefilter("always")
        function()
    return [str(one.message) for one in found if "HierarchicalProxyLoss" in str(one.message)]


def train(loss_func, steps=60, optimizer=None):
    for _ in range(steps):
        embeddings = torch.randn(C, D, requires_grad=True)
        loss_func(embeddings, torch.arange(C)).backward()
        if optimizer is not None:
            optimizer.step()
            optimizer.zero_grad()


def make(**kwargs):
    return HierarchicalProxyLoss(C, D, num_superclasses=3, warmup=0, recluster_every=5, **kwargs)


def test_proxies_that_no_optimizer_moves():
    (message,) = messages(lambda: train(make()))
    assert "no optimizer moves them" in message


def test_a_loss_in_eval_mode_that_is_trained():
    (message,) = messages(lambda: train(make().eval()))
    assert "Call loss_func.train()" in message


def test_new_classes_without_an_optimizer():
    def grow():
        loss_func = make()
        loss_func.add_classes(1)
        loss_func.add_classes(1)

    (message,) = messages(grow)
    assert "Pass optimizer=" in message


def test_training_as_it_should_be_is_silent():
    def grow():
        loss_func = make()
        optimizer = torch.optim.SGD(loss_func.parameters(), lr=0.1)
        train(loss_func, optimizer=optimizer)
        loss_func.add_classes(1, optimizer=optimizer)
        with torch.no_grad():
            loss_func.eval()(torch.randn(C, D), torch.arange(C))

    assert messages(grow) == []
