"""The fast paths against PML's own losses, summed over the levels."""

import math
from itertools import pairwise, product

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from pytorch_metric_learning import distances
from pytorch_metric_learning import losses as pml

from pml_hierarchical.losses import fast
from pml_hierarchical.losses.fast import autograd, columns, directions, small, softmax

CLASSES = {
    "proxy_anchor": pml.ProxyAnchorLoss,
    "proxy_nca": pml.ProxyNCALoss,
    "normalized_softmax": pml.NormalizedSoftmaxLoss,
    "cosface": pml.CosFaceLoss,
    "arcface": pml.ArcFaceLoss,
}
KINDS = sorted(CLASSES)
SOFTMAX = [kind for kind in KINDS if kind != "proxy_anchor"]
TOLERANCES = {torch.float64: 1e-10, torch.float32: 1e-5}
WEIGHTS = (1.0, 0.3, 0.7)


def make(kind, sizes, batch_size=16, embedding_size=8, dtype=torch.float64, seed=0, **kwargs):
    """PML's losses, one a level, a batch, and the proxies as the fast path takes them."""
    torch.manual_seed(seed)
    levels = [CLASSES[kind](num_classes=c, embedding_size=embedding_size, **kwargs) for c in sizes]
    levels = [level.to(dtype) for level in levels]
    stored = [level.W if hasattr(level, "W") else level.proxies for level in levels]
    embeddings = torch.randn(batch_size, embedding_size, dtype=dtype, requires_grad=True)
    labels = torch.stack([torch.randint(size, (batch_size,)) for size in sizes])
    return levels, stored, embeddings, labels


def as_rows(kind, stored):
    return [one if kind in ("proxy_anchor", "proxy_nca") else one.t() for one in stored]


def reference(levels, stored, embeddings, labels, weights):
    losses = [level(embeddings, classes) for level, classes in zip(levels, labels, strict=True)]
    total = sum(weight * loss for weight, loss in zip(weights, losses, strict=True))
    return torch.stack(losses).detach(), torch.autograd.grad(total, [embeddings, *stored])


def check_parity(kind, sizes, block_size=None, fast_kwargs=None, dtype=torch.float64, **kwargs):
    levels, stored, embeddings, labels = make(kind, sizes, dtype=dtype, **kwargs)
    weights = WEIGHTS[: len(sizes)]
    losses, gradients = reference(levels, stored, embeddings, labels, weights)
    total, ours = getattr(fast, kind)(
        embeddings, as_rows(kind, stored), labels, weights=weights, block_size=block_size,
        **(fast_kwargs or {}),
    )  # fmt: skip
    close = {"rtol": TOLERANCES[dtype], "atol": TOLERANCES[dtype]}
    torch.testing.assert_close(ours, losses, **close)
    torch.testing.assert_close(total, losses @ losses.new_tensor(weights), **close)
    found = torch.autograd.grad(total, [embeddings, *stored])
    for one, expected in zip(found, gradients, strict=True):
        torch.testing.assert_close(one, expected, **close)


@pytest.mark.parametrize("dtype", TOLERANCES, ids=str)
@pytest.mark.parametrize("sizes", [(40,), (40, 7), (40, 7, 2)], ids=len)
@pytest.mark.parametrize("kind", KINDS)
def test_equals_pml(kind, sizes, dtype):
    check_parity(kind, sizes, dtype=dtype)  # as a small loss
    check_parity(kind, sizes, dtype=dtype, block_size=6, seed=1)
    check_parity(kind, sizes, dtype=dtype, block_size=1000, seed=2)  # a single block


@pytest.mark.parametrize("block_size", [None, 6])
@pytest.mark.parametrize("kind", SOFTMAX)
def test_save_memory(kind, block_size):
    check_parity(kind, (40, 7, 2), block_size, {"save_memory": True})


@settings(max_examples=60, deadline=None)
@given(
    kind=st.sampled_from(KINDS),
    sizes=st.lists(st.integers(1, 30), min_size=1, max_size=3),
    batch_size=st.integers(1, 40),
    embedding_size=st.integers(2, 9),
    block_size=st.none() | st.integers(1, 70),
    seed=st.integers(0, 2**31),
)
def test_any_shape(kind, sizes, batch_size, embedding_size, block_size, seed):
    check_parity(
        kind, sizes, block_size, batch_size=batch_size, embedding_size=embedding_size, seed=seed
    )


SETTINGS = {
    "proxy_anchor": ({"margin": 0.3, "alpha": 12.0},) * 2,
    "proxy_nca": ({"softmax_scale": 7.0},) * 2,
    "normalized_softmax": ({"temperature": 0.2},) * 2,
    "cosface": ({"margin": 0.2, "scale": 10.0},) * 2,
    "arcface": ({"margin": 80, "scale": 10.0}, {"margin": math.radians(80), "scale": 10.0}),
}


@pytest.mark.parametrize("kind", KINDS)
def test_settings(kind):
    of_pml, of_ours = SETTINGS[kind]
    check_parity(kind, (20, 5), fast_kwargs=of_ours, **of_pml)


@pytest.mark.parametrize("block_size", [None, 6])
@pytest.mark.parametrize("kind", KINDS)
def test_settings_of_each_level(kind, block_size):
    of_pml, of_ours = SETTINGS[kind]
    name, value = next(iter(of_ours.items()))
    _, stored, embeddings, labels = make(kind, (20, 5), **of_pml)
    call = getattr(fast, kind)
    rest = {key: one for key, one in of_ours.items() if key != name}
    halves = {name: (value, value / 2), "block_size": block_size}
    _, both = call(embeddings, as_rows(kind, stored), labels, **rest, **halves)
    for level, factor in enumerate((1, 0.5)):
        _, alone = call(
            embeddings,
            as_rows(kind, stored)[level],
            labels[level],
            **rest,
            **{name: value * factor},
        )
        torch.testing.assert_close(both[level], alone[0])


def test_embeddings_that_are_not_normalised():
    distance = distances.DotProductSimilarity(normalize_embeddings=False)
    kwargs = {"normalize_embeddings": False}
    check_parity("normalized_softmax", (20, 5), 6, kwargs, distance=distance)
    check_parity("normalized_softmax", (20, 5), 6, kwargs | {"save_memory": True},
                 distance=distance)  # fmt: skip


def test_long_embeddings():
    """Where embeddings are not normalised, their norms decide whether exponentials overflow."""
    _, stored, embeddings, labels = make("normalized_softmax", (20, 5), dtype=torch.float32)
    long = (1000 * embeddings).detach().requires_grad_()
    proxies = as_rows("normalized_softmax", stored)
    total, _ = fast.normalized_softmax(long, proxies, labels, normalize_embeddings=False)
    for one in (total, *torch.autograd.grad(total, [long, *stored])):
        assert one.isfinite().all()


@pytest.mark.parametrize("labels", [[3] * 12, [0, 0, 0, 19] * 3, list(range(12))], ids=str)
@pytest.mark.parametrize("kind", KINDS)
def test_labels(kind, labels):
    """One class in the batch, few of them, and none of the last block."""
    levels, stored, embeddings, _ = make(kind, (20,), batch_size=12)
    labels = torch.tensor([labels])
    losses, gradients = reference(levels, stored, embeddings, labels, (1.0,))
    for block_size in (None, 8):
        total, ours = getattr(fast, kind)(
            embeddings, as_rows(kind, stored), labels, block_size=block_size
        )
        torch.testing.assert_close(ours, losses)
        found = torch.autograd.grad(total, [embeddings, *stored])
        torch.testing.assert_close(found, gradients)


# ---------------------------------------------------------------- numbers at the edge
HUGE = {
    "proxy_anchor": ({"alpha": 1e4},) * 2,
    "proxy_nca": ({"softmax_scale": 20.0},) * 2,
    "normalized_softmax": ({"temperature": 1e-4},) * 2,
    "cosface": ({"scale": 1e4},) * 2,
    "arcface": ({"scale": 1e4},) * 2,
}


def test_small_is_what_fits_the_cache_and_cannot_overflow(monkeypatch):
    calls = []
    original = autograd.small_values_and_gradients

    def watched(*args):
        calls.append(args)
        return original(*args)

    monkeypatch.setattr(autograd, "small_values_and_gradients", watched)
    embeddings, labels = torch.randn(128, 4), torch.zeros(128, dtype=torch.long)
    for function, classes, kwargs, expected in [
        (fast.cosface, 2048, {}, True),
        (fast.cosface, 2049, {}, False),
        (fast.cosface, 100, {"block_size": 1000}, False),
        (fast.cosface, 100, {"scale": 80.0}, True),
        (fast.cosface, 100, {"scale": 82.0}, False),
        (fast.proxy_anchor, 100, {"alpha": 60.0}, True),
        (fast.proxy_anchor, 100, {"alpha": 75.0}, False),
        (fast.normalized_softmax, 100, {"normalize_embeddings": False}, False),
    ]:
        calls.clear()
        function(embeddings, torch.randn(classes, 4), labels, **kwargs)
        assert bool(calls) == expected


@pytest.mark.parametrize("block_size", [None, 6])
@pytest.mark.parametrize("kind", ["proxy_anchor", "cosface", "arcface"])
def test_vectors_below_the_bound_of_normalize(kind, block_size):
    """There, a unit vector is a multiple, whose gradient keeps its part along the vector.

    PML's other losses see that such a proxy is no unit vector: they take squared distances, or
    normalise twice.
    """
    levels, stored, embeddings, labels = make(kind, (12, 3))
    with torch.no_grad():
        embeddings[0] *= 1e-13
        for one in as_rows(kind, stored):
            one[1] *= 1e-13
    weights = WEIGHTS[:2]
    _, expected = reference(levels, stored, embeddings, labels, weights)
    total, _ = getattr(fast, kind)(
        embeddings, as_rows(kind, stored), labels, weights=weights, block_size=block_size
    )
    found = torch.autograd.grad(total, [embeddings, *stored])
    for a, b in zip(found, expected, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-8, atol=1e-10)


@pytest.mark.parametrize("save_memory", [False, True])
@pytest.mark.parametrize("kind", KINDS)
def test_huge_scales(kind, save_memory):
    of_pml, of_ours = HUGE[kind]
    extra = {} if kind == "proxy_anchor" else {"save_memory": save_memory}
    check_parity(kind, (20, 5, 1), 7, of_ours | extra, **of_pml)
    _, stored, embeddings, labels = make(kind, (20, 5, 1), dtype=torch.float32, **of_pml)
    total, _ = getattr(fast, kind)(embeddings, as_rows(kind, stored), labels, **of_ours, **extra)
    for one in (total, *torch.autograd.grad(total, [embeddings, *stored])):
        assert one.isfinite().all()


def test_no_logit_is_near_the_bound():
    """All proxies opposite to all embeddings: a fixed shift would lose all exponentials."""
    proxies = -torch.ones(6, 4) + 0.01 * torch.eye(6, 4)
    embeddings = torch.ones(3, 4)
    for scale in (80.0, 1000.0):
        _, single = fast.cosface(embeddings, proxies, torch.arange(3), scale=scale)
        _, double = fast.cosface(
            embeddings.double(), proxies.double(), torch.arange(3), scale=scale
        )
        torch.testing.assert_close(single.double(), double, rtol=1e-5, atol=0)


def test_proxy_nca_leaves_out_what_is_rounded_to_zero():
    scale = 60.0
    levels, stored, embeddings, labels = make(
        "proxy_nca", (30,), 64, embedding_size=3, dtype=torch.float32, softmax_scale=scale
    )
    losses, (expected, _) = reference(levels, stored, embeddings, labels, (1.0,))
    everything, _ = fast.normalized_softmax(embeddings, stored, labels, temperature=1 / (2 * scale))
    assert everything > 1.2 * losses  # which leaves out the worst ones
    total, ours = fast.proxy_nca(embeddings, stored, labels, softmax_scale=scale)
    torch.testing.assert_close(ours, losses, rtol=1e-3, atol=0)  # PML's logs of subnormal numbers
    (found,) = torch.autograd.grad(total, embeddings)
    assert found.isfinite().all()
    finite = expected.isfinite()  # where a probability is subnormal, PML's is NaN
    assert finite.all(1).sum() > 50
    torch.testing.assert_close(found[finite], expected[finite], rtol=1e-2, atol=1e-5)


def test_proxy_nca_without_a_sample_that_counts():
    proxies = torch.tensor([[1.0, 0.0], [-1.0, 0.0]], requires_grad=True)
    embeddings = torch.tensor([[1.0, 0.0]] * 2)
    _, one = fast.proxy_nca(embeddings, proxies, torch.tensor([0, 1]), softmax_scale=30.0)
    assert one.item() == 0.0  # the wrong one, of loss 120, does not count; else it would be 60
    total, _ = fast.proxy_nca(embeddings, proxies, torch.tensor([1, 1]), softmax_scale=30.0)
    assert total.item() == 0.0
    assert torch.equal(torch.autograd.grad(total, proxies)[0], torch.zeros(2, 2))


@pytest.mark.parametrize("dtype", TOLERANCES, ids=str)
def test_smallest_log_is_where_exp_ends(dtype):
    bound = softmax.smallest_log(dtype)
    assert torch.tensor(-bound - 0.01, dtype=dtype).exp() == 0
    assert torch.tensor(-bound + 0.01, dtype=dtype).exp() > 0


@pytest.mark.parametrize("direction", [1.0, -1.0])
@pytest.mark.parametrize("dtype", TOLERANCES, ids=str)
@pytest.mark.parametrize("kind", KINDS)
def test_parallel_embeddings(kind, dtype, direction):
    """Where the derivative of the arc cosine is infinite."""
    _, stored, _, labels = make(kind, (12,), dtype=dtype)
    proxies = as_rows(kind, stored)[0]
    embeddings = (direction * proxies[labels[0]]).detach().requires_grad_()
    total, _ = getattr(fast, kind)(embeddings, proxies, labels)
    for one in (total, *torch.autograd.grad(total, [embeddings, *stored])):
        assert one.isfinite().all()
        assert one.abs().max() < 1e3


@pytest.mark.parametrize("kind", KINDS)
def test_zero_embedding_and_zero_proxy(kind):
    levels, stored, embeddings, labels = make(kind, (12,))
    with torch.no_grad():
        embeddings[0] = 0
    losses, gradients = reference(levels, stored, embeddings, labels, (1.0,))
    total, ours = getattr(fast, kind)(embeddings, as_rows(kind, stored), labels)
    torch.testing.assert_close(ours, losses)
    torch.testing.assert_close(torch.autograd.grad(total, [embeddings, *stored]), gradients)
    with torch.no_grad():
        as_rows(kind, stored)[0][3] = 0
    total, _ = getattr(fast, kind)(embeddings, as_rows(kind, stored), labels)
    for one in (total, *torch.autograd.grad(total, [embeddings, *stored])):
        assert one.isfinite().all()


def test_norms_in_either_layout():
    matrix = torch.randn(2500, 7)
    expected = torch.linalg.vector_norm(matrix, dim=1)
    torch.testing.assert_close(directions.row_norms(matrix), expected)
    torch.testing.assert_close(directions.row_norms(matrix.t().contiguous().t()), expected)


# ---------------------------------------------------------------- gradients
@pytest.mark.parametrize("block_size", [None, 3])
@pytest.mark.parametrize("kind", KINDS)
def test_gradcheck(kind, block_size):
    _, stored, embeddings, labels = make(kind, (7, 3), batch_size=5, embedding_size=4)
    proxies = [one.detach().requires_grad_() for one in as_rows(kind, stored)]

    def total(embeddings, *proxies):
        return getattr(fast, kind)(
            embeddings, proxies, labels, weights=(1.0, 0.4), block_size=block_size
        )[0]

    assert torch.autograd.gradcheck(total, (embeddings, *proxies))


@pytest.mark.parametrize("kind", KINDS)
def test_coarse_proxies_in_one_fixed_tensor(kind):
    _, stored, embeddings, labels = make(kind, (20, 5, 2))
    fine, *coarse = as_rows(kind, stored)
    call = getattr(fast, kind)
    expected, _ = call(embeddings, (fine, *coarse), labels, weights=WEIGHTS)
    gradients = torch.autograd.grad(expected, [embeddings, stored[0]])
    fixed = torch.cat(coarse).detach()
    for width in (None, 6):
        total, losses = call(
            embeddings, (fine, fixed), labels, sizes=(20, 5, 2), weights=WEIGHTS, block_size=width
        )
        assert not losses.requires_grad
        assert losses.shape == (3,)
        torch.testing.assert_close(total, expected)
        found = torch.autograd.grad(total, [embeddings, stored[0]])
        torch.testing.assert_close(found, gradients)
    only_coarse, _ = call(embeddings.detach(), (fine.detach(), coarse[0]), labels[:2])
    assert torch.autograd.grad(only_coarse, stored[1])[0].abs().max() > 0


@pytest.mark.parametrize("block_size", [None, 6])
@pytest.mark.parametrize("needs", [n for n in product([0, 1], repeat=4) if any(n)], ids=str)
@pytest.mark.parametrize("kind", ["proxy_anchor", "cosface"])
def test_gradients_of_some(kind, needs, block_size):
    _, stored, embeddings, labels = make(kind, (20, 5, 2))
    tensors = [embeddings, *stored]

    def gradients(needs):
        leaves = [
            one.detach().requires_grad_(bool(n)) for one, n in zip(tensors, needs, strict=True)
        ]
        total, _ = getattr(fast, kind)(
            leaves[0], as_rows(kind, leaves[1:]), labels, weights=WEIGHTS, block_size=block_size
        )
        total.backward()
        return [leaf.grad for leaf in leaves]

    for needed, one, expected in zip(needs, gradients(needs), gradients((1,) * 4), strict=True):
        if needed:
            torch.testing.assert_close(one, expected)
        else:
            assert one is None


@pytest.mark.parametrize("kind", KINDS)
def test_training_after_inference_mode(kind):
    """What is kept between calls must not be of the inference mode that it was made in."""
    _, stored, embeddings, labels = make(kind, (23, 5))
    call, weights = getattr(fast, kind), (1.0, 0.123)
    with torch.inference_mode():
        expected, _ = call(embeddings, as_rows(kind, stored), labels, weights=weights)
    total, _ = call(embeddings, as_rows(kind, stored), labels, weights=weights)
    total.backward()
    torch.testing.assert_close(total.detach(), expected.clone())


def test_proxies_that_are_the_embeddings():
    _, _, embeddings, labels = make("cosface", (16,))
    total, _ = fast.cosface(embeddings, embeddings, labels)
    (found,) = torch.autograd.grad(total, embeddings)
    twin = embeddings.detach().clone().requires_grad_()
    total, _ = fast.cosface(embeddings, twin, labels)
    torch.testing.assert_close(found, sum(torch.autograd.grad(total, [embeddings, twin])))


@pytest.mark.parametrize("block_size", [None, 7])
@pytest.mark.parametrize("kind", ["proxy_anchor", "cosface"])
def test_both_layouts(kind, block_size):
    """A transposed view gives the same, and its gradient keeps the layout: no copy is made."""
    _, _, embeddings, labels = make(kind, (30,))
    rows = torch.randn(30, 8, dtype=torch.float64, requires_grad=True)
    stored = rows.detach().t().contiguous().requires_grad_()
    call = getattr(fast, kind)
    first, _ = call(embeddings, rows, labels, block_size=block_size)
    second, _ = call(embeddings, stored.t(), labels, block_size=block_size)
    torch.testing.assert_close(second, first)
    (first + second).backward()
    torch.testing.assert_close(stored.grad.t(), rows.grad)
    assert stored.grad.is_contiguous()
    assert rows.grad.is_contiguous()
    view = stored.t()  # no leaf, so that autograd does not lay its gradient out anew
    third, _ = call(embeddings, view, labels, block_size=block_size)
    assert torch.autograd.grad(third, view)[0].stride() == view.stride()


@pytest.mark.parametrize("kind", KINDS)
def test_without_gradients(kind, monkeypatch):
    _, stored, embeddings, labels = make(kind, (20, 5))
    call, proxies = getattr(fast, kind), as_rows(kind, stored)
    expected, losses = call(embeddings, proxies, labels)

    def fail(*args):
        raise AssertionError("a gradient was computed")

    monkeypatch.setattr(autograd, "Gradients", fail)
    monkeypatch.setattr(small, "_scaled", fail)
    for block_size in (None, 6):
        with torch.no_grad():
            total, found = call(embeddings, proxies, labels, block_size=block_size)
        assert not total.requires_grad
        torch.testing.assert_close(total, expected.detach())
        torch.testing.assert_close(found, losses)


def test_backward_twice_and_scaled():
    _, (proxies,), embeddings, labels = make("proxy_anchor", (20,))
    total, _ = fast.proxy_anchor(embeddings, proxies, labels)
    total.backward(retain_graph=True)
    first = proxies.grad.clone()
    (3 * total).backward()
    torch.testing.assert_close(proxies.grad, 4 * first)


def test_double_backward_is_an_error():
    _, (proxies,), embeddings, labels = make("proxy_anchor", (20,))
    total, _ = fast.proxy_anchor(embeddings, proxies, labels)
    (gradient,) = torch.autograd.grad(total, embeddings, create_graph=True)
    with pytest.raises(RuntimeError, match="cannot be differentiated twice"):
        (gradient.square().sum() + embeddings.sum()).backward()


@pytest.mark.parametrize("backend", ["eager", "aot_eager"])
@pytest.mark.parametrize("kind", KINDS)
def test_compile(kind, backend):
    _, stored, embeddings, labels = make(kind, (20, 5))

    def double(embeddings, *stored):
        total, losses = getattr(fast, kind)(embeddings + 0, as_rows(kind, stored), labels)
        return 2 * total, losses

    torch.compiler.reset()
    compiled = torch.compile(double, backend=backend, fullgraph=True)
    outcomes = [one(embeddings, *stored) for one in (double, compiled)]
    gradients = [torch.autograd.grad(total, [embeddings, *stored]) for total, _ in outcomes]
    torch.testing.assert_close(outcomes[0], outcomes[1])
    torch.testing.assert_close(*gradients)


def test_half_precision_embeddings():
    _, (proxies,), embeddings, labels = make("proxy_anchor", (20,), dtype=torch.float32)
    half = embeddings.detach().half().requires_grad_()
    total, _ = fast.proxy_anchor(half, proxies, labels)
    total.backward()
    assert total.dtype == proxies.grad.dtype == torch.float32
    assert half.grad.dtype == torch.float16


# ---------------------------------------------------------------- memory and arguments
@pytest.mark.parametrize("kind", KINDS)
def test_buffers_are_bounded(kind, monkeypatch):
    """With memory saved, nothing as large as batch x classes is ever made."""
    _, stored, embeddings, labels = make(kind, (3000, 10), batch_size=64, embedding_size=4)
    largest = 0
    product = columns.Columns.product

    def spy(self, unit, block, buffer):
        nonlocal largest
        largest = max(largest, buffer.untyped_storage().nbytes() // buffer.element_size())
        return product(self, unit, block, buffer)

    monkeypatch.setattr(columns.Columns, "product", spy)
    kwargs = {} if kind == "proxy_anchor" else {"save_memory": True}
    total, _ = getattr(fast, kind)(
        embeddings, as_rows(kind, stored), labels, block_size=100, **kwargs
    )
    total.backward()
    assert 64 * 90 < largest <= 64 * 100


def test_default_width_fits_the_cache():
    wide = columns.Columns([torch.zeros(9000, 4)], (9000,), torch.zeros(1, 128, dtype=torch.long))
    assert [block.stop - block.start for block in wide.blocks] == [1800] * 5  # at most 2048
    edges = [(block.start, block.stop) for block in wide.blocks]
    assert edges[0][0] == 0
    assert edges[-1][1] == 9000
    assert all(before[1] == after[0] for before, after in pairwise(edges))


def test_bad_arguments():
    proxies, embeddings = torch.randn(20, 4), torch.randn(6, 4)
    labels = torch.zeros(6, dtype=torch.long)
    call = fast.proxy_anchor
    with pytest.raises(ValueError, match=r"not be empty, got \(0, 4\)"):
        call(embeddings[:0], proxies, labels[:0])
    with pytest.raises(ValueError, match=r"= \(1, 6\), got \(1, 5\)"):
        call(embeddings, proxies, labels[:5])
    with pytest.raises(TypeError, match=r"integers, got torch.float32"):
        call(embeddings, proxies, labels.float())
    with pytest.raises(ValueError, match=r"\(classes, 4\).*got \(4, 20\).*W.t\(\)"):
        call(embeddings, proxies.t(), labels)
    with pytest.raises(TypeError, match="float32, or all float64"):
        call(embeddings, proxies.half(), labels)
    with pytest.raises(TypeError, match="float32, or all float64"):
        call(embeddings, (proxies, proxies.double()), torch.stack([labels, labels]))
    for sizes in [(20,), (18, 5), (20, 4), (0, 23)]:
        with pytest.raises(ValueError, match=r"do not fit tensors of \(20, 3\)"):
            call(embeddings, (proxies, proxies[:3]), labels.expand(len(sizes), -1), sizes=sizes)
    with pytest.raises(ValueError, match="weights must be one number, or one for each of 1"):
        call(embeddings, proxies, labels, weights=(1.0, 2.0))
