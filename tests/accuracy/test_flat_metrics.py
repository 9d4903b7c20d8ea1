"""Metrics of one level against plain Python and torchmetrics."""

import brute_force
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torchmetrics.functional import retrieval

from pml_hierarchical.accuracy import metrics

ranked_relevance = st.lists(st.booleans(), min_size=1, max_size=40).filter(any)


def as_block(relevance):
    return torch.tensor([relevance])


def compacted(items, filler=3):
    """Only the columns above zero, with their ranks, and some padding behind the list."""
    kept = [(rank, item) for rank, item in enumerate(items, 1) if item]
    padding = [(len(items) + 1, type(items[0])(0))] * filler
    ranks, values = zip(*kept, *padding, strict=True)
    return torch.tensor([values]), torch.tensor([ranks])


@given(ranked_relevance, st.integers(1, 50))
def test_equal_to_brute_force(relevance, k):
    levels, block = [int(x) for x in relevance], as_block(relevance)
    pairs = [
        (metrics.precision_at_k(block, k), brute_force.precision_at_k(levels, k, 1)),
        (metrics.recall_at_k(block, k), brute_force.recall_at_k(levels, k, 1)),
        (metrics.r_precision(block), brute_force.r_precision(levels, 1)),
        (metrics.average_precision(block), brute_force.average_precision(levels, 1)),
        (metrics.average_precision_at_r(block), brute_force.average_precision(levels, 1, True)),
        (metrics.reciprocal_rank(block), brute_force.reciprocal_rank(levels, 1)),
    ]
    for ours, twin in pairs:
        assert ours.dtype == torch.float64
        assert ours.tolist() == pytest.approx([twin], abs=1e-12)


@given(ranked_relevance, st.integers(1, 50))
def test_equal_to_torchmetrics(relevance, k):
    block, target = as_block(relevance), torch.tensor(relevance)
    scores = torch.arange(len(relevance), 0, -1).double()
    size = min(k, len(relevance))
    pairs = [
        (metrics.precision_at_k(block, size), retrieval.retrieval_precision(scores, target, size)),
        (metrics.recall_at_k(block, size), retrieval.retrieval_hit_rate(scores, target, size)),
        (metrics.r_precision(block), retrieval.retrieval_r_precision(scores, target)),
        (metrics.average_precision(block), retrieval.retrieval_average_precision(scores, target)),
        (metrics.reciprocal_rank(block), retrieval.retrieval_reciprocal_rank(scores, target)),
    ]
    for ours, theirs in pairs:  # theirs is float32
        assert ours.item() == pytest.approx(theirs.item(), abs=1e-6)


@given(ranked_relevance, st.integers(1, 50))
def test_a_list_in_part_is_the_whole_list(relevance, k):
    block = as_block(relevance)
    part, ranks = compacted(relevance)
    num_relevant = block.sum(dim=1)
    for function, arguments in [
        (metrics.precision_at_k, (k,)),
        (metrics.recall_at_k, (k,)),
        (metrics.reciprocal_rank, ()),
        (metrics.r_precision, (num_relevant,)),
        (metrics.average_precision, (num_relevant,)),
        (metrics.average_precision_at_r, (num_relevant,)),
    ]:
        whole = function(block, *arguments)
        assert torch.allclose(function(part, *arguments, ranks=ranks), whole, atol=1e-12)


def test_items_that_were_not_retrieved_count_among_the_relevant():
    retrieved, num_relevant = torch.tensor([[True, False]]), torch.tensor([4])
    assert metrics.r_precision(retrieved, num_relevant).item() == 1 / 4
    assert metrics.average_precision(retrieved, num_relevant).item() == 1 / 4
    assert metrics.average_precision_at_r(retrieved, num_relevant).item() == 1 / 4


def test_nothing_relevant():
    nothing = torch.zeros(1, 3, dtype=torch.bool)
    assert metrics.r_precision(nothing).isnan().all()
    assert metrics.average_precision(nothing).isnan().all()
    assert metrics.average_precision_at_r(nothing).isnan().all()
    assert metrics.reciprocal_rank(nothing).tolist() == [0.0]
    assert metrics.reciprocal_rank(nothing[:, :0]).tolist() == [0.0]


def test_bad_arguments():
    block = torch.ones(2, 3, dtype=torch.bool)
    assert metrics.precision_at_k(block, np.int64(1)).tolist() == [1.0, 1.0]
    for k in (0, -1, 1.5, True):
        with pytest.raises(ValueError, match="k must be an integer of at least 1"):
            metrics.precision_at_k(block, k)
    with pytest.raises(ValueError, match=r"expected shape \(num_queries, num_items\), got \(3,\)"):
        metrics.recall_at_k(block[0], 1)
    with pytest.raises(ValueError, match=r"ranks must have the shape of the items, \(2, 3\)"):
        metrics.average_precision(block, ranks=torch.ones(2, 2))
    wrong = r"num_relevant must have shape \(2\) for 2 queries, got"
    for shape in ((3,), (2, 1), ()):
        for metric in (metrics.r_precision, metrics.average_precision):
            with pytest.raises(ValueError, match=wrong):
                metric(block, torch.ones(shape))
