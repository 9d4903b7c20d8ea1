"""Classes divided among processes: the same loss, gradients and training as in one process."""

from __future__ import annotations

import copy

import pytest
import sharded_worker as worker
import torch
import torch.distributed as dist
from forked import results_of
from pytorch_metric_learning import distances, losses, regularizers
from sharded_worker import BASES, CASES, OF_LEVELS, TREE, C, D, own_part

from pml_hierarchical.losses import FastPath, ShardedHierarchicalProxyLoss

pytestmark = pytest.mark.xdist_group("sharded")
every_case = pytest.mark.parametrize("case", CASES)
both = pytest.mark.parametrize("world_size", [2, 4])


@pytest.fixture(scope="module")
def distributed(tmp_path_factory):
    """The results of every rank, of runs with 2 and with 4 processes."""
    return results_of(worker, tmp_path_factory.mktemp("sharded"))


@pytest.fixture(scope="module")
def references():
    """Every case trained in one process, on the whole batches."""
    found = {}
    for name, case in CASES.items():
        loss_func = worker.reference(**case)
        start = by_rows(loss_func)
        trunk, values, _ = worker.train(loss_func)
        found[name] = start, trunk, values, loss_func
    return found


@pytest.fixture
def alone(tmp_path):
    """A process group of this process."""
    dist.init_process_group("gloo", init_method=f"file://{tmp_path}/store", rank=0, world_size=1)
    yield
    dist.destroy_process_group()


def by_rows(loss_func):
    """The fine proxies, whichever way the base loss keeps them."""
    proxies = next(loss_func.parameters()).detach().clone()
    return proxies.t() if loss_func.layout.class_dim else proxies


def close(found, expected, tolerance=1e-5):
    torch.testing.assert_close(found, expected, rtol=tolerance, atol=tolerance)


# ---------------------------------------------------------------- several processes
@both
@every_case
def test_training_is_that_of_one_process(case, world_size, distributed, references):
    start, trunk, values, loss_func = references[case]
    for rank in distributed[world_size]:
        found = rank["trained"][case]
        assert torch.equal(found["start"], start)
        close(found["values"], values)
        assert found["num_updates"] == loss_func.num_updates
        for theirs, ours in (
            (found["trunk"], trunk.state_dict()),
            (found["loss"], loss_func.state_dict()),
        ):
            for name, value in theirs.items():
                close(value, ours[name])
        for level, value in enumerate(found["levels"][1:], start=1):
            close(value, getattr(loss_func, f"loss_level{level}"))
        assert found["back"]


@both
def test_every_process_has_its_share_of_the_classes(world_size, distributed):
    for case, expected in {
        "CosFaceLoss known": {2: [7, 6], 4: [4, 4, 4, 1]},
        "a process without classes": {2: [5, 4], 4: [3, 3, 3, 0]},
    }.items():
        shares = [rank["trained"][case]["share"] for rank in distributed[world_size]]
        assert shares == expected[world_size]


@both
@pytest.mark.parametrize("kind", ["whole", "blocks"])
@pytest.mark.parametrize("base", BASES)
def test_gradients_are_those_of_one_process(base, kind, world_size, distributed):
    loss_func = worker.reference(base, hierarchy=TREE, level_kwargs=OF_LEVELS[base])
    loss, of_embeddings, _ = worker.gradients(loss_func)
    of_proxies = next(loss_func.parameters()).grad
    ranks = [rank["gradients"][base, kind] for rank in distributed[world_size]]
    for rank, (value, gradient, _) in enumerate(ranks):
        close(value, loss, 1e-12)
        close(gradient / world_size, of_embeddings[own_part(rank, world_size)], 1e-12)
    found = torch.cat([of_share for *_, of_share in ranks])
    close(found, of_proxies.t() if loss_func.layout.class_dim else of_proxies, 1e-12)


@both
def test_stopped_and_resumed(world_size, distributed, references):
    loss_func = references["ProxyAnchorLoss discovered"][-1]
    for rank in distributed[world_size]:
        found = rank["resumed"]
        close(found["proxies"], by_rows(loss_func))
        assert found["num_updates"] == loss_func.num_updates
        assert found["checkpoint"]
        assert "every process must save and load a file of its own" in found["other rank"]


@both
def test_classes_divided_among_a_part_of_the_processes(world_size, distributed):
    """Two groups of processes, each with a loss of its own, which know nothing of each other."""
    width = world_size // 2
    for group in range(2):
        values = [rank["of a part"] for rank in distributed[world_size]]
        mine = values[group * width : (group + 1) * width]
        assert all(torch.equal(value, mine[0]) for value in mine)
    assert values[0] != values[-1]
    loss_func = worker.reference("CosFaceLoss", num_superclasses=4, warmup=0)
    generator = torch.Generator().manual_seed(0)
    embeddings = torch.randn(6, D, generator=generator)
    labels = torch.randint(C, (6,), generator=generator)
    close(values[0], loss_func(embeddings, labels))  # the mean over copies of one batch


@both
def test_an_error_of_one_process_is_raised_in_all(world_size, distributed):
    last = world_size - 1
    for rank, results in enumerate(distributed[world_size]):
        found = results["errors"]
        if rank == last:
            assert found["labels"].startswith("ValueError: labels must be in 0..12")
            assert f"shape (batch_size, {D})" in found["shape"]
        else:
            assert f"the batch of rank {last} cannot be used" in found["labels"]
            assert f"the batch of rank {last} cannot be used" in found["shape"]
        assert f"fewer than the {world_size} processes" in found["few classes"]
        assert f"NaN or infinite values (1 on rank {last})" in found["nan"]
        where = "first process" if rank else "no clusters today"
        assert where in found["clusterer"]


# ---------------------------------------------------------------- one process
@pytest.mark.parametrize("base", BASES)
@pytest.mark.usefixtures("alone")
def test_one_process_alone(base):
    sharded = worker.make(ShardedHierarchicalProxyLoss, base, num_superclasses=(5, 2))
    whole = worker.reference(base, num_superclasses=(5, 2))
    _, found, _ = worker.train(sharded, stop=4)
    _, expected, _ = worker.train(whole, stop=4)
    close(found, expected)
    close(sharded.full_proxies(), by_rows(whole))
    assert sharded.hierarchy == whole.hierarchy


@pytest.mark.usefixtures("alone")
def test_clustering_starts_from_the_coarse_proxies_in_use():
    trees = []
    for loss_class in (ShardedHierarchicalProxyLoss, worker.HierarchicalProxyLoss):
        loss_func = worker.make(
            loss_class, "ProxyAnchorLoss", num_superclasses=4, clusterer="kmeans_step",
            coarse_proxies="fixed",
        )  # fmt: skip
        before = loss_func.recluster()
        moved = torch.randn(4, D, generator=torch.Generator().manual_seed(2))
        loss_func.level_loss(1).proxies.copy_(moved)
        trees.append(loss_func.recluster())
        assert trees[-1] != before
    assert trees[0] == trees[1]


@pytest.mark.usefixtures("alone")
def test_to_and_from_a_loss_in_one_process():
    settings = {"margin": 10, "coarse_scale": 0.5}
    whole = worker.reference("ArcFaceLoss", hierarchy=TREE, **settings).double()
    worker_steps = torch.randn(8, D, dtype=torch.float64), torch.randint(C, (8,))
    whole.recluster()
    whole.level_loss(0).margin = 0.3  # radians, as PML keeps it
    sharded = ShardedHierarchicalProxyLoss.from_unsharded(whole)
    sharded.block_size = 3
    assert torch.is_grad_enabled()
    close(sharded(*worker_steps), whole(*worker_steps), 1e-12)
    assert (sharded.step, sharded.num_updates) == (whole.step, whole.num_updates)
    sharded.level_loss(1).scale = whole.level_loss(1).scale = 20
    back = sharded.to_unsharded()
    close(back(*worker_steps), whole(*worker_steps), 1e-12)
    for name, value in whole.state_dict().items():
        assert torch.equal(back.state_dict()[name], value), name
    with pytest.raises(ValueError, match=r"sizes=.* from_unsharded"):
        sharded.load_unsharded(worker.reference("ArcFaceLoss", num_superclasses=4))
    with pytest.raises(ValueError, match=r"has CosFaceLoss, .* this one ArcFaceLoss"):
        sharded.load_unsharded(worker.reference("CosFaceLoss", hierarchy=TREE))
    with pytest.raises(ValueError, match="'live'"):
        sharded.load_unsharded(
            worker.reference("ArcFaceLoss", hierarchy=TREE, coarse_proxies="live")
        )


@pytest.mark.usefixtures("alone")
def test_fixed_coarse_proxies_are_the_only_choice_and_the_default():
    assert ShardedHierarchicalProxyLoss(100, 64).coarse_proxies == "fixed"
    ninth = (C, D, losses.CosFaceLoss, None, None, 0.3, 100, 100)
    assert ShardedHierarchicalProxyLoss(*ninth, "fixed").coarse_proxies == "fixed"
    with pytest.raises(ValueError, match="got 'learned'"):
        ShardedHierarchicalProxyLoss(*ninth, "learned")
    with pytest.raises(ValueError, match="got 'learned'; HierarchicalProxyLoss has the other"):
        ShardedHierarchicalProxyLoss.from_unsharded(worker.HierarchicalProxyLoss(C, D))


@pytest.mark.usefixtures("alone")
def test_evaluation_is_no_training_step():
    loss_func = worker.make(ShardedHierarchicalProxyLoss, "CosFaceLoss", hierarchy=TREE, warmup=0)
    inputs = torch.randn(4, D), torch.arange(4)
    loss_func.eval()(*inputs)
    with torch.no_grad():
        assert not loss_func.train()(*inputs).requires_grad
    assert loss_func.step == 0
    twin = copy.deepcopy(loss_func)
    loss_func(*inputs)
    assert loss_func.step == loss_func.num_updates == 1
    assert twin.step == 0
    assert loss_func.proxies_in_use(2)[1] is not twin.proxies_in_use(2)[1]


@pytest.mark.usefixtures("alone")
def test_warnings_are_those_of_an_undivided_loss():
    loss_func = worker.make(
        ShardedHierarchicalProxyLoss, "ProxyAnchorLoss", num_superclasses=4, warmup=1,
        recluster_every=None,
    )  # fmt: skip
    batch = torch.randn(8, D), torch.randint(C, (8,))
    for _ in range(2):
        loss_func(*batch)
    with pytest.warns(UserWarning, match=r"recluster\(\) has not been called"):
        loss_func(*batch)


@pytest.mark.usefixtures("alone")
def test_an_optimizer_of_its_own_may_clip_gradients():
    loss_func = worker.make(ShardedHierarchicalProxyLoss, "ProxyAnchorLoss", num_superclasses=())
    optimizer = torch.optim.AdamW(loss_func.parameters(), foreach=True)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        loss_func(torch.randn(4, D) @ torch.eye(D), torch.arange(4)).backward()
    torch.nn.utils.clip_grad_norm_(loss_func.parameters(), 0.5)
    close(loss_func.proxies.grad.full_tensor().norm(), torch.tensor(0.5), 1e-4)
    optimizer.step()
    assert "13 classes from 0 on rank 0" in repr(loss_func)


@pytest.mark.usefixtures("alone")
def test_backward_more_than_once():
    loss_func = worker.make(ShardedHierarchicalProxyLoss, "CosFaceLoss", hierarchy=TREE)
    embeddings = torch.randn(4, D, requires_grad=True)
    loss = loss_func(embeddings, torch.arange(4))
    (once,) = torch.autograd.grad(loss, embeddings, retain_graph=True)
    loss.backward(retain_graph=True)
    of_proxies = loss_func.proxies.grad.full_tensor().clone()
    loss.backward(retain_graph=True)
    loss.backward()
    close(embeddings.grad, 3 * once)
    close(loss_func.proxies.grad.full_tensor(), 3 * of_proxies)


def gradient_penalty(loss_func, embeddings, labels):
    torch.autograd.grad(loss_func(embeddings, labels), embeddings, create_graph=True)


def of_the_proxies(loss_func, embeddings, labels):
    loss = loss_func(embeddings, labels)
    torch.autograd.grad(loss, loss_func.proxies, create_graph=True)


def backward_pass(loss_func, embeddings, labels):
    loss_func(embeddings, labels).backward(create_graph=True)


def hessian(loss_func, embeddings, labels):
    torch.autograd.functional.hessian(lambda one: loss_func(one, labels), embeddings)


def hessian_vector_product(loss_func, embeddings, labels):
    torch.autograd.functional.hvp(
        lambda one: loss_func(one, labels), embeddings, torch.ones_like(embeddings)
    )


def transformed(loss_func, embeddings, labels):
    torch.func.grad(lambda one: loss_func(one, labels))(embeddings)


@pytest.mark.parametrize(
    "use",
    [gradient_penalty, of_the_proxies, backward_pass, hessian, hessian_vector_product, transformed],
)
@pytest.mark.parametrize("base", ["ProxyAnchorLoss", "CosFaceLoss"])
@pytest.mark.usefixtures("alone")
def test_a_gradient_that_would_be_taken_for_a_constant_is_an_error(use, base):
    loss_func = worker.make(ShardedHierarchicalProxyLoss, base, hierarchy=TREE)
    embeddings = torch.randn(4, D, requires_grad=True)
    with pytest.raises(RuntimeError, match=r"create_graph=True|functorch|torch.func|storage"):
        use(loss_func, embeddings, torch.arange(4))


# ---------------------------------------------------------------- errors
def test_without_a_process_group():
    with pytest.raises(RuntimeError, match="init_process_group"):
        ShardedHierarchicalProxyLoss(C, D)


@pytest.mark.parametrize(
    ("kwargs", "error", "match"),
    [
        ({"base_loss": losses.SoftTripleLoss}, TypeError, "SoftTripleLoss, whose classes cannot"),
        ({"base_loss": losses.TripletMarginLoss}, TypeError, "base_loss is a TripletMarginLoss"),
        ({"coarse_proxies": "live"}, ValueError, "coarse_proxies can only be 'fixed'"),
        ({"coarse_proxies": "learned"}, ValueError, "can only be 'fixed' in .*got 'learned'"),
        ({"engine": "pml"}, ValueError, "engine must be a FastPath with class_share=1"),
        (
            {"engine": FastPath(class_share=0.5)},
            ValueError,
            "cannot be left to PML.s losses or sampled",
        ),
        ({"distance": distances.CosineSimilarity(power=2)}, ValueError, "leave it out"),
        ({"weight_regularizer": regularizers.LpRegularizer()}, ValueError, "regularizer"),
        ({"margn": 0.1}, TypeError, "margn"),
        ({"num_superclasses": C}, ValueError, "num_superclasses"),
    ],
)
@pytest.mark.usefixtures("alone")
def test_arguments_that_cannot_be(kwargs, error, match):
    with pytest.raises(error, match=match):
        ShardedHierarchicalProxyLoss(C, D, **kwargs)


@pytest.mark.usefixtures("alone")
def test_batches_that_cannot_be():
    loss_func = worker.make(ShardedHierarchicalProxyLoss, "ProxyNCALoss", hierarchy=TREE)
    embeddings, labels = torch.randn(3, D), torch.arange(3)
    for inputs, error, match in (
        ((embeddings, labels + C), ValueError, r"labels must be in 0\.\.12"),
        ((embeddings, labels.float()), TypeError, "labels must be integers"),
        ((embeddings, labels[:2]), ValueError, "must equal number of labels"),
        ((embeddings[:0], labels[:0]), ValueError, "the batch is empty"),
        ((embeddings.to("meta"), labels), ValueError, "must be on cpu"),
        *(
            ((one, labels), TypeError, "must be a floating point tensor, got (ndarray|list|NoneT)")
            for one in (embeddings.numpy(), embeddings.tolist(), None)
        ),
        ((embeddings, labels, (labels,) * 4), ValueError, "indices_tuple must be None"),
    ):
        with pytest.raises(error, match=match):
            loss_func(*inputs)


@pytest.mark.usefixtures("alone")
def test_checkpoints_of_another_loss():
    loss_func = worker.make(ShardedHierarchicalProxyLoss, "CosFaceLoss", hierarchy=TREE)
    other = worker.make(ShardedHierarchicalProxyLoss, "CosFaceLoss", num_superclasses=4)
    with pytest.raises(ValueError, match="with 2 levels, and this one has 3"):
        loss_func.load_state_dict(other.state_dict())
    whole = worker.reference("CosFaceLoss", hierarchy=TREE)
    for one, state in ((loss_func, whole.state_dict()), (whole, loss_func.state_dict())):
        with pytest.raises(ValueError, match=r"divided among .* from_unsharded\(loss\) or to_uns"):
            one.load_state_dict(state)
    flat = losses.CosFaceLoss(C, D).state_dict()
    with pytest.raises(ValueError, match="divided among processes either here or"):
        loss_func.load_state_dict(flat)
