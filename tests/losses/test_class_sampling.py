import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from pytorch_metric_learning import reducers

from pml_hierarchical import losses
from pml_hierarchical.losses import HierarchicalProxyLoss
from pml_hierarchical.losses.class_sampling import sample_classes

C, D, B = 40, 6, 10
FAST = [
    losses.ProxyAnchorLoss,
    losses.ProxyNCALoss,
    losses.NormalizedSoftmaxLoss,
    losses.ArcFaceLoss,
    losses.CosFaceLoss,
]


def batch():
    return torch.randn(B, D, requires_grad=True), torch.randint(C, (B,))


def make(base, **kwargs):
    torch.manual_seed(2)
    loss_func = HierarchicalProxyLoss(
        C, D, base, num_superclasses=5, recluster_every=None, **kwargs
    ).double()
    loss_func.recluster()
    return loss_func


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.integers(0, 29), min_size=1, max_size=40),
    st.floats(0.01, 1),
    st.integers(0, 10**6),
)
def test_all_classes_of_the_batch_and_no_more_than_asked_for(labels, share, seed):
    labels = torch.tensor(labels)
    classes, positions = sample_classes(labels, 30, share, seed)
    assert torch.equal(classes[positions], labels)
    assert torch.equal(classes, classes.unique())
    assert len(classes) == max(-(-30 * share // 1), len(labels.unique()))
    again = sample_classes(labels, 30, share, seed)
    assert torch.equal(classes, again[0])


@pytest.mark.parametrize("base", FAST)
def test_the_loss_of_the_classes_drawn(base):
    """PML's own loss with their proxies alone."""
    loss_func = make(base, class_share=0.4, level_weights=(1, 0))
    embeddings, labels = batch()
    embeddings = embeddings.double()
    loss = loss_func(embeddings, labels)
    classes, positions = sample_classes(labels, C, 0.4, seed=loss_func.schedule.step)
    theirs = base(len(classes), D).double()
    attribute = loss_func.layout.attribute
    dim = loss_func.layout.class_dim
    getattr(theirs, attribute).data = (
        getattr(loss_func, attribute).detach().index_select(dim, classes)
    )
    expected = theirs(embeddings, positions)
    torch.testing.assert_close(loss, expected)
    loss.backward()
    expected.backward()
    found = getattr(loss_func, attribute).grad
    torch.testing.assert_close(found.index_select(dim, classes), getattr(theirs, attribute).grad)
    others = [c for c in range(C) if c not in classes]
    assert not found.index_select(dim, torch.tensor(others)).any()


@pytest.mark.parametrize("base", FAST)
def test_a_share_of_one_and_evaluation_are_the_loss_itself(base):
    embeddings, labels = batch()
    embeddings = embeddings.double()
    expected = make(base)(embeddings, labels)
    assert torch.equal(make(base, class_share=1)(embeddings, labels), expected)
    assert torch.equal(make(base, class_share=0.2).eval()(embeddings, labels), expected)


def test_every_step_draws_others():
    loss_func = make(losses.CosFaceLoss, class_share=0.3)
    embeddings, labels = batch()
    values = [float(loss_func(embeddings.double(), labels)) for _ in range(4)]
    assert len(set(values)) == 4


@pytest.mark.parametrize(
    ("share", "error", "message"),
    [
        (0, ValueError, "class_share must be above 0 and at most 1"),
        (1.5, ValueError, "got 1.5"),
        ("half", TypeError, "class_share must be a number, got 'half'"),
    ],
)
def test_bad_shares(share, error, message):
    with pytest.raises(error, match=message):
        HierarchicalProxyLoss(C, D, class_share=share)


def test_needs_levels():
    with pytest.raises(ValueError, match="needs two or more levels"):
        HierarchicalProxyLoss(C, D, num_superclasses=(), class_share=0.5)


def test_needs_the_fast_path():
    loss_func = make(losses.CosFaceLoss, class_share=0.3, reducer=reducers.SumReducer())
    embeddings, labels = batch()
    with pytest.raises(ValueError, match=r"class_share=0.3 and .* need the fast path"):
        loss_func(embeddings.double(), labels)
