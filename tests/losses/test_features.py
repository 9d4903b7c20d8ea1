"""Every base loss with every feature; ``conftest.py`` makes a table of the outcome."""

from __future__ import annotations

import copy
import io

import ddp_worker
import numpy as np
import pytest
import torch
from bases import BASES
from forked import results_of

from pml_hierarchical import Hierarchy
from pml_hierarchical.losses import HierarchicalProxyLoss

C, D, B = 12, 6, 20
TREE = Hierarchy.from_parents([[0, 0, 0, 0, 1, 1, 2, 2, 2, 3, 3, 3], [0, 0, 1, 1]])
KINDS = Hierarchy(TREE.class_labels[:, [0, 2]])
WEIGHTS = (1.0, 0.5, 0.25)

every_base = pytest.mark.parametrize("name", BASES)
learned_or_fixed = pytest.mark.parametrize(
    "kwargs", [{}, {"coarse_proxies": "fixed"}], ids=["default", "fixed"]
)


def make(name, **kwargs):
    base = BASES[name]
    return HierarchicalProxyLoss(C, D, base_loss=base.loss_class, **{**base.kwargs, **kwargs})


def batch(dtype=torch.float32):
    return torch.randn(B, D, dtype=dtype, requires_grad=True), torch.randint(C, (B,))


def gradients(loss, embeddings, loss_func):
    return torch.autograd.grad(loss, [embeddings, *loss_func.parameters()])


def twins(name, dtype, **kwargs):
    """PML's loss and the one-level loss on it, with the same proxies."""
    torch.manual_seed(1)
    theirs = BASES[name].make(C, D).to(dtype)
    torch.manual_seed(1)
    return make(name, hierarchy=Hierarchy.flat(C), **kwargs).to(dtype), theirs


def by_hand(name, loss_func, embeddings, labels):
    """PML's own loss at every level, with the means written into its proxies; and their sum."""
    base = BASES[name]
    tree = loss_func.hierarchy
    fine = base.proxies(loss_func).detach()
    vectors = torch.nn.functional.normalize(fine, dim=-1) if base.direction_only else fine
    vectors = vectors.mean(dim=1)
    losses = []
    for level, size in enumerate(tree.sizes):
        loss = base.make(size, D, **(base.quarter if level else {})).to(embeddings.dtype)
        means = [vectors[tree.members(level, node)].mean(dim=0) for node in range(size)]
        base.write(loss, fine if level == 0 else torch.stack(means)[:, None])
        losses.append(loss(embeddings, tree.ancestors(labels, level)))
    return sum(w * loss for w, loss in zip(WEIGHTS, losses, strict=True))


# ---------------------------------------------------------------- value and gradients
@every_base
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.feature("value")
def test_one_level_is_pmls_loss(name, dtype):
    ours, theirs = twins(name, dtype)
    embeddings, labels = batch(dtype)
    assert torch.equal(ours(embeddings, labels), theirs(embeddings, labels))


@every_base
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.feature("gradients")
def test_gradients_of_one_level_are_pmls(name, dtype):
    ours, theirs = twins(name, dtype)
    embeddings, labels = batch(dtype)
    found = gradients(ours(embeddings, labels), embeddings, ours)
    expected = gradients(theirs(embeddings, labels), embeddings, theirs)
    assert all(torch.equal(a, b) for a, b in zip(found, expected, strict=True))


@every_base
@pytest.mark.feature("value")
def test_three_levels_are_pmls_losses_summed(name):
    loss_func = make(name, hierarchy=TREE, level_weights=WEIGHTS, warmup=0).double()
    embeddings, labels = batch(torch.float64)
    loss = loss_func(embeddings, labels)
    torch.testing.assert_close(loss, by_hand(name, loss_func, embeddings, labels))


@every_base
@pytest.mark.feature("gradients")
def test_gradients_of_three_levels(name):
    loss_func = make(name, hierarchy=TREE, level_weights=WEIGHTS, recluster_every=None).double()
    loss_func.recluster()
    embeddings, labels = batch(torch.float64)
    loss = loss_func(embeddings, labels)
    expected = by_hand(name, loss_func, embeddings, labels)
    found, wanted = (torch.autograd.grad(x, embeddings)[0] for x in (loss, expected))
    torch.testing.assert_close(found, wanted)
    assert torch.autograd.gradcheck(lambda x: loss_func(x, labels), embeddings)


# ---------------------------------------------------------------- trees
def train(loss_func, steps, batches=None):
    optimizer = torch.optim.SGD(loss_func.parameters(), lr=0.05, momentum=0.9)
    for embeddings, labels in batches or [batch() for _ in range(steps)]:
        optimizer.zero_grad()
        loss = loss_func(embeddings, labels)
        loss.backward()
        assert loss.isfinite()
        optimizer.step()
    return optimizer


def check_tree(name, loss_func):
    """It trains through three updates. The coarse proxies are the means of what the fine ones
    were at the update: at every one if they are fixed, or else at the first.
    """
    first = copy.deepcopy(loss_func)
    first.recluster()
    check_means(name, first)
    train(loss_func, 7)
    assert loss_func.num_updates == 3
    learned = [p.detach().clone() for p in list(loss_func.parameters())[1:]]
    loss_func.recluster()
    if loss_func.coarse_proxies == "fixed":
        check_means(name, loss_func)
    else:
        assert len(learned) == 2
        assert all(map(torch.equal, list(loss_func.parameters())[1:], learned))
        with pytest.raises(AssertionError, match="not close"):  # they have been trained
            check_means(name, loss_func)


def check_means(name, loss_func):
    base = BASES[name]
    fine = base.proxies(loss_func).detach()
    vectors = torch.nn.functional.normalize(fine, dim=-1) if base.direction_only else fine
    tree = loss_func.hierarchy
    for level in range(1, tree.num_levels):
        coarse = base.proxies(loss_func.level_loss(level))
        for node in range(tree.sizes[level]):
            mean = vectors[tree.members(level, node)].mean(dim=(0, 1)).expand(base.centers, -1)
            if name == "P2SGradLoss":  # which takes unit vectors alone
                mean = torch.nn.functional.normalize(mean)
            torch.testing.assert_close(coarse[node], mean)


@every_base
@learned_or_fixed
@pytest.mark.feature("given")
def test_given_tree(name, kwargs):
    loss_func = make(name, hierarchy=TREE, warmup=2, recluster_every=2, **kwargs)
    check_tree(name, loss_func)
    assert loss_func.hierarchy == TREE


@every_base
@learned_or_fixed
@pytest.mark.feature("discovered")
def test_discovered_tree(name, kwargs):
    loss_func = make(name, num_superclasses=(5, 2), warmup=2, recluster_every=2, **kwargs)
    check_tree(name, loss_func)
    assert loss_func.hierarchy.sizes == (C, 5, 2)


@every_base
@pytest.mark.feature("discovered")
def test_discovered_tree_is_that_of_clusters_that_are_there(name):
    base = BASES[name]
    centres = torch.eye(3, D)
    truth = torch.arange(C) % 3
    proxies = centres[truth] + 0.01 * torch.randn(C, D)
    loss_func = make(name, num_superclasses=3, warmup=0)
    base.write(loss_func.level_loss(0), proxies[:, None])
    tree = loss_func.recluster()
    same = tree.lca_height(np.arange(C)[:, None], np.arange(C)[None]) <= 1
    np.testing.assert_array_equal(same, (truth[:, None] == truth[None]).numpy())


@every_base
@learned_or_fixed
@pytest.mark.feature("mixed")
def test_mixed_tree(name, kwargs):
    kwargs = {"hierarchy": KINDS, "num_superclasses": 5, "recluster_every": 2, **kwargs}
    loss_func = make(name, warmup=2, **kwargs)
    assert loss_func.sizes == (C, 5, 2)
    assert loss_func.hierarchy is None
    check_tree(name, loss_func)
    tree = loss_func.hierarchy
    np.testing.assert_array_equal(tree.class_labels[:, 2], KINDS.class_labels[:, 1])


# ---------------------------------------------------------------- life
@every_base
@pytest.mark.parametrize("coarse_proxies", ["fixed", "live", "learned"])
@pytest.mark.feature("resume")
def test_resumed_training_ends_at_the_same_bits(name, coarse_proxies):
    settings = {"num_superclasses": (5, 2), "warmup": 2, "recluster_every": 2}
    settings["coarse_proxies"] = coarse_proxies
    data = [batch() for _ in range(9)]

    def start():
        torch.manual_seed(5)
        loss_func = make(name, **settings)
        return loss_func, torch.optim.Adam(loss_func.parameters(), lr=0.1)

    def train(loss_func, optimizer, batches):
        for embeddings, labels in batches:
            optimizer.zero_grad()
            loss_func(embeddings, labels).backward()
            optimizer.step()

    whole, optimizer = start()
    train(whole, optimizer, data)
    for stop_at in (1, 2, 3, 5):
        first, optimizer = start()
        train(first, optimizer, data[:stop_at])
        file = io.BytesIO()
        torch.save((first.state_dict(), optimizer.state_dict()), file)
        file.seek(0)
        second, optimizer = start()
        saved = torch.load(file)
        second.load_state_dict(saved[0])
        optimizer.load_state_dict(saved[1])
        train(second, optimizer, data[stop_at:])
        for key, value in whole.state_dict().items():
            found = second.state_dict()[key]
            same = torch.equal(found, value) if isinstance(value, torch.Tensor) else found == value
            assert same, (stop_at, key)


@pytest.fixture(scope="module")
def distributed(tmp_path_factory):
    """The results of every rank, of runs with 2 and with 4 processes."""
    return results_of(ddp_worker, tmp_path_factory.mktemp("ddp"))


def check_distributed(ranks, key, name, num_updates=3, **kwargs):
    trunk, loss_func = ddp_worker.make(name, **kwargs)
    ddp_worker.train(trunk, loss_func)
    assert loss_func.num_updates == num_updates
    for rank in ranks:
        found = rank[key]
        assert found["equal"] == [True] * ddp_worker.STEPS
        assert found["num_updates"] == num_updates
        for theirs, ours in (
            (found["trunk"], trunk.state_dict()),
            (found["loss"], loss_func.state_dict()),
        ):
            for parameter, value in theirs.items():
                torch.testing.assert_close(value, ours[parameter], rtol=1e-5, atol=1e-5)


@every_base
@pytest.mark.parametrize("world_size", [2, 4])
@pytest.mark.feature("DDP")
@pytest.mark.xdist_group("DDP")
def test_processes_agree_with_one(name, world_size, distributed):
    check_distributed(distributed[world_size], name, name)


@pytest.mark.parametrize("world_size", [2, 4])
@pytest.mark.xdist_group("DDP")
def test_processes_agree_with_one_on_fixed_proxies(world_size, distributed):
    check_distributed(distributed[world_size], "fixed", "ProxyAnchorLoss", coarse_proxies="fixed")


@pytest.mark.parametrize("world_size", [2, 4])
@pytest.mark.xdist_group("DDP")
def test_processes_agree_with_one_on_one_level(world_size, distributed):
    settings = {"num_superclasses": ()}
    check_distributed(distributed[world_size], "one level", "ProxyAnchorLoss", 0, **settings)


@pytest.mark.xdist_group("DDP")
def test_elements_of_every_level_in_processes(distributed):
    """In the warm-up, too, the proxies of all levels take part in what is returned."""
    assert [rank["of elements"] for rank in distributed[2]] == [[1, 1, 3, 3]] * 2


@pytest.mark.xdist_group("DDP")
def test_processes_with_different_proxies_are_told(distributed):
    for rank in distributed[2]:
        assert "proxies differ between processes" in rank["apart"]


# ---------------------------------------------------------------- numerics and compilation
@every_base
@pytest.mark.feature("autocast")
def test_autocast_leaves_the_parameters_as_they_are(name):
    loss_func = make(name, hierarchy=TREE, warmup=0)
    reference = make(name, hierarchy=TREE, warmup=0)
    reference.load_state_dict(loss_func.state_dict())
    embeddings, labels = batch()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        loss = loss_func((embeddings @ torch.eye(D)), labels)  # a product: bfloat16 embeddings
    loss.backward()
    expected = reference(embeddings.detach(), labels)
    torch.testing.assert_close(loss.float(), expected, rtol=0.1, atol=0.1)
    for parameter in loss_func.parameters():
        assert parameter.dtype == parameter.grad.dtype == torch.float32
        assert parameter.grad.isfinite().all()


def compiled_values(loss_func, batches):
    torch._dynamo.reset()
    compiled = torch.compile(loss_func, backend="eager", fullgraph=True)
    return [compiled(embeddings, labels).detach() for embeddings, labels in batches]


def what_stops_pml(name):
    """Why PML's own loss cannot be compiled, or ``None`` if it can."""
    loss_func, batches = BASES[name].make(C, D), [batch()]
    try:
        found = compiled_values(loss_func, batches)
    except torch._dynamo.exc.TorchDynamoException:
        return f"PML's own {name} has a graph break"
    if not torch.allclose(found[0], loss_func(*batches[0]).detach(), rtol=1e-4):
        return f"PML's own {name} has another value compiled than uncompiled"
    return None


@every_base
@pytest.mark.feature("compile")
def test_compiles_without_a_graph_break(name):
    loss_func = make(name, hierarchy=TREE, warmup=0, recluster_every=None)
    batches = [batch() for _ in range(3)]
    loss_func.recluster()
    expected = [loss_func(*inputs).detach() for inputs in batches]
    try:
        torch.testing.assert_close(compiled_values(loss_func, batches), expected)
    except (AssertionError, torch._dynamo.exc.TorchDynamoException):
        if reason := what_stops_pml(name):
            pytest.xfail(reason)
        raise
    assert loss_func.step == 6


@learned_or_fixed
def test_updates_reach_a_compiled_loss(kwargs):
    name = "NormalizedSoftmaxLoss"
    loss_func = make(name, num_superclasses=4, warmup=0, recluster_every=None, **kwargs)
    torch._dynamo.reset()
    compiled = torch.compile(loss_func, backend="eager", fullgraph=True)
    inputs = batch()
    for _ in range(4):
        loss_func.level_loss(0).W.data = torch.randn(D, C)
        loss_func.recluster()
        torch.testing.assert_close(compiled(*inputs), loss_func(*inputs))
