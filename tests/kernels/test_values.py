"""Values and gradients of the kernels against PML's own losses, summed over the levels."""

import numpy as np
import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from pml_levels import KINDS, SOFTMAX, TOLERANCES, kernels, make, reference, rows, stored
from pytorch_metric_learning import distances
from torch.nn.functional import normalize

from pml_hierarchical.kernels import autograd, small, softmax
from pml_hierarchical.kernels import settings as kernel_settings


def check_parity(kind, sizes, dtype=torch.float64, weights=(1.0, 0.3, 0.7), **kwargs):
    changes = {name: kwargs.pop(name) for name in ("block_size", "save_memory") if name in kwargs}
    levels, embeddings, labels = make(kind, sizes, dtype=dtype, **kwargs)
    losses, gradients = reference(levels, embeddings, labels, weights)
    total, ours = kernels(levels, embeddings, labels, weights, **changes)
    tolerance = TOLERANCES[dtype] + (rounding_error(levels, embeddings, labels) if kind == "arcface"
                                     else 0)  # fmt: skip
    close = {"rtol": tolerance, "atol": tolerance}
    torch.testing.assert_close(ours, losses, **close)
    torch.testing.assert_close(total, losses @ losses.new_tensor(weights[: len(sizes)]), **close)
    found = torch.autograd.grad(total, [embeddings, *stored(levels)])
    for one, expected in zip(found, gradients, strict=True):
        torch.testing.assert_close(one, expected, **close)


@torch.no_grad()
def rounding_error(levels, embeddings, labels):
    """Of ArcFace near a cosine of 1: the rounding error of the cosine, over the squared sine.

    PML's own error is as large, see ``test_arcface_is_no_less_exact_than_pml``.
    """
    largest = max(
        float((normalize(embeddings) * normalize(rows(loss))[own]).sum(1).abs().max())
        for loss, own in zip(levels, labels, strict=True)
    )
    eps = torch.finfo(embeddings.dtype).eps
    return levels[0].scale * eps / max(1 - largest**2, eps)


@pytest.mark.parametrize("dtype", TOLERANCES, ids=str)
@pytest.mark.parametrize("sizes", [(40,), (40, 7), (40, 7, 2)], ids=len)
@pytest.mark.parametrize("kind", KINDS)
def test_equals_pml(kind, sizes, dtype):
    check_parity(kind, sizes, dtype=dtype)  # as a small loss
    check_parity(kind, sizes, dtype=dtype, block_size=6, seed=1)
    check_parity(kind, sizes, dtype=dtype, block_size=1000, seed=2)  # a single block


@pytest.mark.parametrize("block_size", [0, 6])
@pytest.mark.parametrize("kind", SOFTMAX)
def test_save_memory(kind, block_size):
    check_parity(kind, (40, 7, 2), block_size=block_size, save_memory=True)


@settings(max_examples=60)
@given(
    kind=st.sampled_from(KINDS),
    sizes=st.lists(st.integers(1, 30), min_size=1, max_size=3),
    batch_size=st.integers(1, 40),
    embedding_size=st.integers(2, 9),
    block_size=st.integers(0, 70),
    save_memory=st.booleans(),
    seed=st.integers(0, 2**31),
)
@example("arcface", [7, 7, 9], 8, 2, 0, False, 1468651)
def test_any_shape(kind, sizes, batch_size, embedding_size, block_size, save_memory, seed):
    check_parity(
        kind, sizes, block_size=block_size, batch_size=batch_size, save_memory=save_memory,
        embedding_size=embedding_size, seed=seed,
    )  # fmt: skip


def arcface_gradients(levels, embeddings, labels, weights):
    """In extended precision, by complex steps: the error is of the order of the precision."""

    def total(embeddings, *proxies):
        unit, found = embeddings / np.sqrt((embeddings**2).sum(1, keepdims=True)), 0
        for loss, one, own, weight in zip(levels, proxies, labels.numpy(), weights, strict=False):
            margin = np.longdouble(loss.margin)
            cosines = unit @ (one / np.sqrt((one**2).sum(0, keepdims=True)))
            here = np.arange(len(own)), own
            target = cosines[here]
            turned = target * np.cos(margin) - np.sqrt(1 - target**2) * np.sin(margin)
            other = target - margin * np.sin(margin)
            cosines[here] = np.where(target.real >= -np.cos(margin), turned, other)
            logits = loss.scale * (cosines - cosines.real.max(1, keepdims=True))
            found += weight * (np.log(np.exp(logits).sum(1)) - logits[here]).mean()
        return found

    step = np.longdouble(1e-40)
    inputs = [one.detach().numpy().astype(np.clongdouble) for one in (embeddings, *stored(levels))]
    gradients = [np.zeros(one.shape, np.longdouble) for one in inputs]
    for one, gradient in zip(inputs, gradients, strict=True):
        for index in np.ndindex(one.shape):
            one[index] += 1j * step
            gradient[index] = total(*inputs).imag / step
            one[index] = one[index].real
    return gradients


@pytest.mark.skipif(np.finfo(np.longdouble).eps > 1e-18, reason="no extended precision here")
def test_arcface_is_no_less_exact_than_pml():
    """Where a cosine is 1 - 2.6e-8, neither has 1e-10: the sine is lost in the cosine's rounding.

    PML's error is 1.0e-8 there.
    """
    weights = (1.0, 0.3, 0.7)
    levels, embeddings, labels = make("arcface", (7, 7, 9), 8, 2, seed=1468651)
    expected = arcface_gradients(levels, embeddings, labels, weights)
    _, theirs = reference(levels, embeddings, labels, weights)
    for block_size in (0, 3):
        total, _ = kernels(levels, embeddings, labels, weights, block_size=block_size)
        ours = torch.autograd.grad(total, [embeddings, *stored(levels)])
        errors = [
            max(np.abs(a.numpy() - b).max() for a, b in zip(found, expected, strict=True))
            for found in (ours, theirs)
        ]
        assert errors[0] <= errors[1]


SETTINGS = {
    "proxy_anchor": {"margin": 0.3, "alpha": 12.0},
    "proxy_nca": {"softmax_scale": 7.0},
    "normalized_softmax": {"temperature": 0.2},
    "cosface": {"margin": 0.2, "scale": 10.0},
    "arcface": {"margin": 80, "scale": 10.0},
}


@pytest.mark.parametrize("kind", KINDS)
def test_settings(kind):
    check_parity(kind, (20, 5), **SETTINGS[kind])


@pytest.mark.parametrize("block_size", [0, 6])
@pytest.mark.parametrize("kind", KINDS)
def test_settings_of_each_level(kind, block_size):
    levels, embeddings, labels = make(kind, (20, 5))
    others, *_ = make(kind, (20, 5), **SETTINGS[kind])
    levels[1] = others[1]
    losses, gradients = reference(levels, embeddings, labels)
    total, ours = kernels(levels, embeddings, labels, block_size=block_size)
    torch.testing.assert_close(ours, losses)
    torch.testing.assert_close(torch.autograd.grad(total, [embeddings, *stored(levels)]), gradients)


@pytest.mark.parametrize("save_memory", [False, True])
def test_embeddings_that_are_not_normalised(save_memory):
    distance = distances.DotProductSimilarity(normalize_embeddings=False)
    check_parity(
        "normalized_softmax", (20, 5), block_size=6, save_memory=save_memory, distance=distance
    )


def test_long_embeddings():
    """Where embeddings are not normalised, their norms decide whether exponentials overflow."""
    distance = distances.DotProductSimilarity(normalize_embeddings=False)
    levels, embeddings, labels = make(
        "normalized_softmax", (20, 5), dtype=torch.float32, distance=distance
    )
    long = (1000 * embeddings).detach().requires_grad_()
    total, _ = kernels(levels, long, labels)
    for one in (total, *torch.autograd.grad(total, [long, *stored(levels)])):
        assert one.isfinite().all()


@pytest.mark.parametrize("labels", [[3] * 12, [0, 0, 0, 19] * 3, list(range(12))], ids=str)
@pytest.mark.parametrize("kind", KINDS)
def test_labels(kind, labels):
    """One class in the batch, few of them, and none of the last block."""
    levels, embeddings, _ = make(kind, (20,), batch_size=12)
    labels = torch.tensor([labels])
    losses, gradients = reference(levels, embeddings, labels)
    for block_size in (0, 8):
        total, ours = kernels(levels, embeddings, labels, block_size=block_size)
        torch.testing.assert_close(ours, losses)
        found = torch.autograd.grad(total, [embeddings, *stored(levels)])
        torch.testing.assert_close(found, gradients)


# ---------------------------------------------------------------- numbers at the edge
HUGE = {
    "proxy_anchor": {"alpha": 1e4},
    "proxy_nca": {"softmax_scale": 20.0},
    "normalized_softmax": {"temperature": 1e-4},
    "cosface": {"scale": 1e4},
    "arcface": {"scale": 1e4},
}


@pytest.mark.parametrize(
    ("kind", "classes", "changes", "expected"),
    [
        ("cosface", 2048, {}, True),
        ("cosface", 2049, {}, False),
        ("cosface", 100, {"block_size": 1000}, False),
        ("cosface", 100, {"scales": (80.0,)}, True),
        ("cosface", 100, {"scales": (82.0,)}, False),
        ("proxy_anchor", 100, {"scales": (60.0,)}, True),
        ("proxy_anchor", 100, {"scales": (75.0,)}, False),
        ("normalized_softmax", 100, {"normalize": False}, False),
    ],
)
def test_small_is_what_fits_the_cache_and_cannot_overflow(kind, classes, changes, expected):
    chosen = kernel_settings.Settings(kind, (classes,), (1.0,), (0.1,), (32.0,))
    assert small.is_small(torch.zeros(128, 4), chosen._replace(**changes)) == expected


@pytest.mark.parametrize("kind", KINDS)
def test_many_classes_in_one_matrix(kind, monkeypatch):
    """As on a GPU, which computes so many cosines at once."""
    monkeypatch.setattr(small, "_LARGEST_BYTES", small._LARGEST_ON_GPU)
    levels, embeddings, labels = make(kind, (11318, 106, 10), batch_size=128, dtype=torch.float32)
    expected = reference(levels, embeddings, labels)
    monkeypatch.setattr(autograd, "block_losses", None)
    total, losses = kernels(levels, embeddings, labels)
    torch.testing.assert_close(losses, expected[0], rtol=1e-5, atol=0)
    for ours, theirs in zip(
        torch.autograd.grad(total, [embeddings, *stored(levels)]), expected[1], strict=True
    ):
        torch.testing.assert_close(ours, theirs, rtol=1e-3, atol=1e-5 * float(theirs.abs().max()))


@pytest.mark.parametrize("save_memory", [False, True])
@pytest.mark.parametrize("kind", KINDS)
def test_huge_scales(kind, save_memory):
    check_parity(kind, (20, 5, 1), block_size=7, save_memory=save_memory, **HUGE[kind])
    levels, embeddings, labels = make(kind, (20, 5, 1), dtype=torch.float32, **HUGE[kind])
    total, _ = kernels(levels, embeddings, labels, save_memory=save_memory)
    for one in (total, *torch.autograd.grad(total, [embeddings, *stored(levels)])):
        assert one.isfinite().all()


@pytest.mark.parametrize("block_size", [0, 4])
@pytest.mark.parametrize("scale", [80.0, 1000.0])
def test_no_logit_is_near_the_bound(scale, block_size):
    """All proxies opposite to all embeddings: a fixed shift would lose all exponentials."""
    levels, _, _ = make("cosface", (6,), embedding_size=4, dtype=torch.float32, scale=scale)
    levels[0].W.data = (-torch.ones(6, 4) + 0.01 * torch.eye(6, 4)).t().contiguous()
    embeddings, labels = torch.ones(3, 4), torch.arange(3).unsqueeze(0)
    _, single = kernels(levels, embeddings, labels, block_size=block_size)
    levels[0].double()
    expected = levels[0](embeddings.double(), labels[0])
    torch.testing.assert_close(single[0].double(), expected.detach(), rtol=1e-5, atol=0)


@pytest.mark.parametrize("block_size", [0, 6])
@pytest.mark.parametrize("kind", ["proxy_anchor", "cosface", "arcface"])
def test_vectors_below_the_bound_of_normalize(kind, block_size):
    """There, a unit vector is a multiple, whose gradient keeps its part along the vector.

    PML's other losses see that such a proxy is no unit vector: they take squared distances, or
    normalise twice.
    """
    levels, embeddings, labels = make(kind, (12, 3))
    with torch.no_grad():
        embeddings[0] *= 1e-13
        for loss in levels:
            rows(loss)[1] *= 1e-13
    _, expected = reference(levels, embeddings, labels)
    total, _ = kernels(levels, embeddings, labels, block_size=block_size)
    found = torch.autograd.grad(total, [embeddings, *stored(levels)])
    for a, b in zip(found, expected, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-8, atol=1e-10)


def test_proxy_nca_leaves_out_what_is_rounded_to_zero():
    kwargs = {"batch_size": 64, "embedding_size": 3, "dtype": torch.float32}
    levels, embeddings, labels = make("proxy_nca", (30,), **kwargs, softmax_scale=60.0)
    losses, (expected, _) = reference(levels, embeddings, labels)
    total, ours = kernels(levels, embeddings, labels)
    torch.testing.assert_close(ours, losses, rtol=1e-3, atol=0)  # PML's logs of subnormal numbers
    twin, *_ = make("normalized_softmax", (30,), **kwargs, temperature=1 / 120)
    twin[0].W.data = levels[0].proxies.detach().t()
    assert twin[0](embeddings, labels[0]) > 1.2 * losses  # which leaves out the worst ones
    (found,) = torch.autograd.grad(total, embeddings)
    assert found.isfinite().all()
    finite = expected.isfinite()  # where a probability is subnormal, PML's is NaN
    assert finite.all(1).sum() > 50
    torch.testing.assert_close(found[finite], expected[finite], rtol=1e-2, atol=1e-5)


@pytest.mark.parametrize("block_size", [0, 1])
def test_proxy_nca_without_a_sample_that_counts(block_size):
    levels, *_ = make("proxy_nca", (2,), embedding_size=2, dtype=torch.float32, softmax_scale=30)
    levels[0].proxies.data = torch.tensor([[1.0, 0.0], [-1.0, 0.0]])
    embeddings = torch.tensor([[1.0, 0.0]] * 2)
    _, one = kernels(levels, embeddings, torch.tensor([[0, 1]]), block_size=block_size)
    assert one.item() == 0.0  # the wrong one, of loss 120, does not count; else it would be 60
    total, _ = kernels(levels, embeddings, torch.tensor([[1, 1]]), block_size=block_size)
    assert total.item() == 0.0
    assert torch.equal(torch.autograd.grad(total, stored(levels))[0], torch.zeros(2, 2))


@pytest.mark.parametrize("dtype", TOLERANCES, ids=str)
def test_smallest_log_is_where_exp_ends(dtype):
    bound = softmax.smallest_log(dtype)
    assert torch.tensor(-bound - 0.01, dtype=dtype).exp() == 0
    assert torch.tensor(-bound + 0.01, dtype=dtype).exp() > 0


@pytest.mark.parametrize("block_size", [0, 5])
@pytest.mark.parametrize("direction", [1.0, -1.0])
@pytest.mark.parametrize("dtype", TOLERANCES, ids=str)
@pytest.mark.parametrize("kind", KINDS)
def test_parallel_embeddings(kind, dtype, direction, block_size):
    """Where the derivative of the arc cosine is infinite."""
    levels, _, labels = make(kind, (12,), dtype=dtype)
    embeddings = (direction * rows(levels[0])[labels[0]]).detach().requires_grad_()
    total, _ = kernels(levels, embeddings, labels, block_size=block_size)
    for one in (total, *torch.autograd.grad(total, [embeddings, *stored(levels)])):
        assert one.isfinite().all()
        assert one.abs().max() < 1e3


@pytest.mark.parametrize("block_size", [0, 5])
@pytest.mark.parametrize("kind", KINDS)
def test_zero_embedding_and_zero_proxy(kind, block_size):
    levels, embeddings, labels = make(kind, (12,))
    with torch.no_grad():
        embeddings[0] = 0
    losses, gradients = reference(levels, embeddings, labels)
    total, ours = kernels(levels, embeddings, labels, block_size=block_size)
    torch.testing.assert_close(ours, losses)
    found = torch.autograd.grad(total, [embeddings, *stored(levels)])
    torch.testing.assert_close(found, gradients)
    with torch.no_grad():
        rows(levels[0])[3] = 0
    total, _ = kernels(levels, embeddings, labels, block_size=block_size)
    for one in (total, *torch.autograd.grad(total, [embeddings, *stored(levels)])):
        assert one.isfinite().all()
