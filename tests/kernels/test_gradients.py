"""What autograd asks of the kernels: gradients of some inputs, more than once, and of gradients."""

from itertools import product

import pytest
import torch
from pml_levels import KINDS, kernels, make, plain_sum, reference, stored

from pml_hierarchical.kernels import directions

both = pytest.mark.parametrize("block_size", [0, 3])  # small, and in blocks


@both
@pytest.mark.parametrize("kind", KINDS)
def test_gradcheck_and_gradgradcheck(kind, block_size):
    levels, embeddings, labels = make(kind, (7, 3), batch_size=5, embedding_size=4)
    plain = plain_sum(levels, labels)

    def total(embeddings, *proxies):
        return kernels(
            levels, embeddings, labels, proxies=proxies, plain=plain, block_size=block_size
        )[0]

    inputs = (embeddings, *stored(levels))
    assert torch.autograd.gradcheck(total, inputs)
    assert torch.autograd.gradgradcheck(total, inputs)


def of_gradient_penalty(total, embeddings, proxies):
    loss = total(embeddings, proxies)
    (gradient,) = torch.autograd.grad(loss, embeddings, create_graph=True)
    return torch.autograd.grad(loss + gradient.square().sum(), [embeddings, *proxies])


def of_proxies_after_a_step(total, embeddings, proxies):
    """As MAML: through one step of SGD on the proxies."""
    gradients = torch.autograd.grad(total(embeddings, proxies), proxies, create_graph=True)
    moved = [one - 0.1 * g for one, g in zip(proxies, gradients, strict=True)]
    return torch.autograd.grad(total(embeddings, moved), [embeddings, *proxies])


def of_a_backward_pass(total, embeddings, proxies):
    leaves = [one.detach().clone().requires_grad_() for one in (embeddings, *proxies)]
    total(leaves[0], leaves[1:]).mul(3).backward(create_graph=True)
    penalty = sum(leaf.grad.square().sum() for leaf in leaves)
    return torch.autograd.grad(penalty, leaves)


def of_upstream(total, embeddings, proxies):
    """The factor of the loss has a gradient of its own."""
    factor = torch.tensor(2.0, dtype=embeddings.dtype, requires_grad=True)
    loss = factor * total(embeddings, proxies)
    (gradient,) = torch.autograd.grad(loss, embeddings, create_graph=True)
    return torch.autograd.grad(gradient.square().sum(), [factor, embeddings])


def hessian(total, embeddings, proxies):
    return [torch.autograd.functional.hessian(lambda one: total(one, proxies), embeddings)]


def hessian_vector_product(total, embeddings, proxies):
    vector = torch.ones_like(embeddings)
    return torch.autograd.functional.hvp(lambda one: total(one, proxies), embeddings, vector)


def of_third_order(total, embeddings, proxies):
    found = total(embeddings, proxies)
    for _ in range(2):
        (gradient,) = torch.autograd.grad(found, embeddings, create_graph=True)
        found = gradient.square().sum()
    return torch.autograd.grad(found, proxies)


def of_coarse_proxies_made_of_fine_ones(total, embeddings, proxies):
    """As ``coarse_proxies="live"``: a gradient reaches the fine proxies on two ways."""
    fine, coarse = proxies

    def live(one):
        return [one, one[: coarse.shape[0], : coarse.shape[1]] * 2]

    (gradient,) = torch.autograd.grad(total(embeddings, live(fine)), fine, create_graph=True)
    return torch.autograd.grad(gradient.square().sum(), [embeddings, fine])


@both
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    "use",
    [
        of_gradient_penalty, of_proxies_after_a_step, of_a_backward_pass, of_upstream, hessian,
        hessian_vector_product, of_third_order, of_coarse_proxies_made_of_fine_ones,
    ],
)  # fmt: skip
def test_gradients_of_gradients_are_those_of_pml(use, kind, block_size):
    levels, embeddings, labels = make(kind, (7, 3), batch_size=5, embedding_size=4)
    plain = plain_sum(levels, labels)

    def total(embeddings, proxies):
        return kernels(
            levels, embeddings, labels, proxies=proxies, plain=plain, block_size=block_size
        )[0]

    found = use(total, embeddings, stored(levels))
    for one, expected in zip(found, use(plain, embeddings, stored(levels)), strict=True):
        torch.testing.assert_close(one, expected, rtol=1e-7, atol=1e-7)
        assert expected.abs().max() > 0


def test_no_gradient_of_gradients_without_a_function_that_has_one():
    levels, embeddings, labels = make("cosface", (20,))
    total, _ = kernels(levels, embeddings, labels)
    with pytest.raises(RuntimeError, match="create_graph=True needs a gradient"):
        torch.autograd.grad(total, embeddings, create_graph=True)
    with pytest.raises(RuntimeError, match="create_graph=True needs a gradient"):
        torch.autograd.functional.hessian(lambda x: kernels(levels, x, labels)[0], embeddings)


def test_proxies_that_changed_since():
    """A first gradient is that of the values the loss was computed from; a second one raises."""
    levels, embeddings, labels = make("cosface", (20,))
    plain = plain_sum(levels, labels)
    _, (expected, _) = reference(levels, embeddings, labels)
    total, _ = kernels(levels, embeddings, labels, plain=plain)
    with torch.no_grad():
        levels[0].W.mul_(torch.rand(20, dtype=torch.float64))
        levels[0].W[0].neg_()
    (found,) = torch.autograd.grad(total, embeddings, retain_graph=True)
    torch.testing.assert_close(found, expected)
    with pytest.raises(RuntimeError, match="modified in place"):
        torch.autograd.grad(total, embeddings, create_graph=True)


@pytest.mark.parametrize("block_size", [0, 6])
@pytest.mark.parametrize("needs", [n for n in product([0, 1], repeat=4) if any(n)], ids=str)
@pytest.mark.parametrize("kind", ["proxy_anchor", "cosface"])
def test_gradients_of_some(kind, needs, block_size):
    levels, embeddings, labels = make(kind, (20, 5, 2))
    _, expected = reference(levels, embeddings, labels)
    leaves = [
        one.detach().requires_grad_(bool(needed))
        for one, needed in zip((embeddings, *stored(levels)), needs, strict=True)
    ]
    kernels(levels, leaves[0], labels, proxies=leaves[1:], block_size=block_size)[0].backward()
    for needed, leaf, gradient in zip(needs, leaves, expected, strict=True):
        if needed:
            torch.testing.assert_close(leaf.grad, gradient)
        else:
            assert leaf.grad is None


@both
@pytest.mark.parametrize("kind", KINDS)
def test_without_gradients(kind, block_size):
    levels, embeddings, labels = make(kind, (20, 5))
    expected, losses = kernels(levels, embeddings, labels)
    assert expected.requires_grad
    assert not losses.requires_grad
    with torch.no_grad():
        total, found = kernels(levels, embeddings, labels, block_size=block_size)
    assert not total.requires_grad
    torch.testing.assert_close(total, expected.detach())
    torch.testing.assert_close(found, losses)


@both
@pytest.mark.parametrize("kind", KINDS)
def test_training_after_inference_mode(kind, block_size):
    """What is kept between calls must not be of the inference mode that it was made in."""
    levels, embeddings, labels = make(kind, (23, 5))
    weights = (1.0, 0.123)
    with torch.inference_mode():
        expected, _ = kernels(levels, embeddings, labels, weights, block_size=block_size)
    total, _ = kernels(levels, embeddings, labels, weights, block_size=block_size)
    total.backward()
    torch.testing.assert_close(total.detach(), expected.clone())


def test_proxies_that_are_the_embeddings():
    levels, embeddings, labels = make("proxy_anchor", (16,))
    plain = plain_sum(levels, labels)
    twin = embeddings.detach().clone().requires_grad_()
    total, _ = kernels(levels, embeddings, labels, proxies=[embeddings], plain=plain)
    (found,) = torch.autograd.grad(total, embeddings, retain_graph=True)
    expected = torch.autograd.grad(plain(embeddings, [twin]), [embeddings, twin])
    torch.testing.assert_close(found, sum(expected))
    (found,) = torch.autograd.grad(total, embeddings, create_graph=True)
    torch.testing.assert_close(found, sum(expected))


@both
@pytest.mark.parametrize("kind", KINDS)
def test_gradients_keep_the_layout(kind, block_size):
    levels, embeddings, labels = make(kind, (30,))
    kernels(levels, embeddings, labels, block_size=block_size)[0].backward()
    assert stored(levels)[0].grad.is_contiguous()
    assert embeddings.grad.is_contiguous()


def test_norms_in_either_layout():
    matrix = torch.randn(9000, 7)
    expected = torch.linalg.vector_norm(matrix, dim=1)
    torch.testing.assert_close(directions.row_norms(matrix), expected)
    torch.testing.assert_close(directions.row_norms(matrix.t().contiguous().t()), expected)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("num_classes", [30, 20000])  # small, and in blocks
def test_gradients_changed_in_place_between_backward_passes(kind, num_classes):
    """As by clipping: what the graph keeps must not be what the parameters were given."""
    levels, embeddings, labels = make(kind, (num_classes, 5), 20, 6, torch.float32)
    leaves = [embeddings, *stored(levels)]
    loss, _ = kernels(levels, embeddings, labels)
    found = []
    for _ in range(3):
        loss.backward(retain_graph=True)
        found.append([leaf.grad.clone() for leaf in leaves])
        for leaf in leaves:
            leaf.grad.mul_(0.1)
            leaf.grad = None
    for again in found[1:]:
        for one, expected in zip(again, found[0], strict=True):
            assert torch.equal(one, expected)


@both
def test_backward_twice_scaled_and_accumulated(block_size):
    levels, embeddings, labels = make("cosface", (20, 5))
    _, expected = reference(levels, embeddings, labels)
    total, _ = kernels(levels, embeddings, labels, block_size=block_size)
    total.backward(retain_graph=True)
    (3 * total).backward()
    kernels(levels, embeddings, labels, block_size=block_size)[0].backward()
    for leaf, gradient in zip((embeddings, *stored(levels)), expected, strict=True):
        torch.testing.assert_close(leaf.grad, 5 * gradient)
