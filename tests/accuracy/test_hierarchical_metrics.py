"""Metrics over the hierarchy against plain Python, scikit-learn, and what must hold of them."""

import math

import brute_force
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import ndcg_score
from torch.overrides import TorchFunctionMode
from torchmetrics.functional import retrieval

from pml_hierarchical.accuracy import metrics


@st.composite
def ranked_levels(draw):
    """A list of levels with something related in it, and the number of levels."""
    num_levels = draw(st.integers(1, 4))
    items = st.lists(st.integers(0, num_levels), min_size=1, max_size=30)
    return draw(items.filter(any)), num_levels


def with_counts(levels, num_levels):
    block = torch.tensor([levels])
    return block, metrics.count_levels(block, num_levels)


def functions(k):
    """Those that take levels and counts."""
    return {
        "hap": metrics.hierarchical_average_precision,
        "asi": metrics.average_set_intersection,
        "ndcg": metrics.ndcg,
        "hp": lambda a, b, ranks=None: metrics.hierarchical_precision_at_k(a, b, k, ranks),
        "area": lambda a, b, ranks=None: metrics.hierarchical_precision_area(a, b, k, ranks),
    }


@given(ranked_levels(), st.integers(1, 30), st.sampled_from([0.5, 1.0, 3.0]))
def test_equal_to_brute_force(case, k, alpha):
    levels, num_levels = case
    block, counts = with_counts(levels, num_levels)
    k = min(k, len(levels))
    hap = metrics.hierarchical_average_precision
    pairs = [
        (
            hap(block, counts, alpha=alpha),
            brute_force.hierarchical_average_precision(levels, num_levels, alpha),
        ),
        (
            metrics.average_set_intersection(block, counts),
            brute_force.average_set_intersection(levels, num_levels),
        ),
        (metrics.ndcg(block, counts), brute_force.ndcg(levels)),
        (
            metrics.hierarchical_precision_at_k(block, counts, k),
            brute_force.hierarchical_precision_at_k(levels, k),
        ),
        (
            metrics.hierarchical_precision_area(block, counts, k),
            brute_force.hierarchical_precision_area(levels, k),
        ),
        (
            metrics.mistake_severity(block, counts),
            brute_force.mistake_severity(levels, num_levels) if num_levels in levels else math.nan,
        ),
        (
            metrics.mistake_severity_at_k(block, num_levels, k),
            brute_force.mistake_severity_at_k(levels, num_levels, k),
        ),
    ]
    for ours, twin in pairs:
        assert ours.dtype == torch.float64
        assert ours.tolist() == pytest.approx([twin], abs=1e-12, nan_ok=True)


@given(ranked_levels().filter(lambda case: len(case[0]) > 1))
def test_ndcg_equal_to_scikit_learn_and_torchmetrics(case):
    levels, num_levels = case
    gains = [2**level - 1 for level in levels]
    scores = np.arange(len(levels), 0, -1)
    ours = metrics.ndcg(*with_counts(levels, num_levels)).item()
    assert ours == pytest.approx(ndcg_score([gains], [scores]), abs=1e-9)
    theirs = retrieval.retrieval_normalized_dcg(torch.tensor(scores).double(), torch.tensor(gains))
    assert ours == pytest.approx(theirs.item(), abs=1e-6)


@given(ranked_levels(), st.integers(1, 30))
def test_with_one_level_h_ap_is_the_average_precision(case, k):
    relevance = [int(level > 0) for level in case[0]]
    block, counts = with_counts(relevance, 1)
    assert torch.allclose(
        metrics.hierarchical_average_precision(block, counts),
        metrics.average_precision(block.bool()),
        atol=1e-12,
    )


@given(ranked_levels(), st.integers(1, 30))
def test_perfect_is_one_and_everything_is_within(case, k):
    levels, num_levels = case
    k = min(k, len(levels))
    for name, function in functions(k).items():
        assert 0 <= function(*with_counts(levels, num_levels)).item() <= 1 + 1e-12, name
        if name != "hap":
            best = function(*with_counts(sorted(levels, reverse=True), num_levels)).item()
            assert best == pytest.approx(1), name


@given(ranked_levels(), st.data())
def test_a_better_item_further_up_never_hurts(case, data):
    levels, num_levels = case
    position = data.draw(st.integers(0, len(levels) - 1))
    swapped = list(levels)
    pair = sorted(swapped[position : position + 2], reverse=True)
    swapped[position : position + 2] = pair
    for name, function in functions(min(5, len(levels))).items():
        if name != "hap":
            before, after = (
                function(*with_counts(x, num_levels)).item() for x in (levels, swapped)
            )
            assert after >= before - 1e-12, name


@given(ranked_levels(), st.integers(1, 30))
def test_a_list_in_part_is_the_whole_list(case, k):
    levels, num_levels = case
    block, counts = with_counts(levels, num_levels)
    padding = [(len(levels) + 1, 0)] * 2
    kept = [(rank, level) for rank, level in enumerate(levels, 1) if level] + padding
    part = torch.tensor([[level for _, level in kept]], dtype=torch.int8)
    ranks = torch.tensor([[rank for rank, _ in kept]], dtype=torch.int32)
    k = min(k, len(levels))
    for name, function in functions(k).items():
        whole = function(block, counts)
        assert torch.allclose(function(part, counts, ranks=ranks), whole, atol=1e-12), name
    for k_ in (1, k):
        assert torch.equal(
            metrics.mistake_severity_at_k(part, num_levels, k_, ranks),
            metrics.mistake_severity_at_k(block, num_levels, k_),
        )


@given(st.lists(ranked_levels(), min_size=2, max_size=4))
def test_queries_do_not_mix(cases):
    num_levels = max(n for _, n in cases)
    width = max(len(levels) for levels, _ in cases)
    lists = [levels + [0] * (width - len(levels)) for levels, _ in cases]
    together = torch.tensor(lists)
    for name, function in functions(3).items():
        values = function(together, metrics.count_levels(together, num_levels))
        alone = [function(*with_counts(levels, num_levels)).item() for levels in lists]
        assert values.tolist() == pytest.approx(alone, abs=1e-12), name


def test_items_that_were_not_retrieved_are_in_the_ideal_list():
    retrieved, counts = torch.tensor([[1]]), torch.tensor([[1, 1]])
    assert metrics.ndcg(retrieved, counts).item() < 0.3
    assert metrics.hierarchical_precision_at_k(retrieved, counts, 1).item() == 0.5
    assert metrics.average_set_intersection(retrieved, counts).item() == 0.25


def test_nothing_related_is_no_value():
    block, counts = with_counts([0, 0], 2)
    for name, function in functions(2).items():
        assert function(block, counts).isnan().all(), name


def test_bad_arguments():
    block = torch.tensor([[1, 0]])
    for counts in ([[1], [1]], [1], 1):
        for metric in (metrics.ndcg, metrics.average_set_intersection, metrics.mistake_severity):
            with pytest.raises(ValueError, match=r"level_counts must have shape \(1, num_levels\)"):
                metric(block, torch.tensor(counts))
    with pytest.raises(ValueError, match="k=3 is larger than the list of 2 items"):
        metrics.mistake_severity_at_k(block, 1, 3)


class LargestResult(TorchFunctionMode):
    """How many numbers the largest tensor holds that torch returned."""

    numel = 0

    def __torch_function__(self, func, types, args=(), kwargs=None):
        result = func(*args, **(kwargs or {}))
        if isinstance(result, torch.Tensor):
            self.numel = max(self.numel, result.numel())
        return result


@pytest.mark.parametrize("num_items", [100, 300, 70_000])
@pytest.mark.parametrize("dtype", [torch.int8, torch.int64])
def test_long_lists(num_items, dtype):
    levels = torch.zeros(1, num_items, dtype=dtype)
    levels[0, -1] = 1
    counts = torch.tensor([[1]])
    found = metrics.hierarchical_average_precision(levels, counts)
    assert found.item() == pytest.approx(1 / num_items)
    assert metrics.mistake_severity(levels, counts).item() == 1


def test_no_tensor_is_larger_than_the_list():
    # the pieces of an evaluation are cut so that torch uses no threads inside of its threads
    levels = torch.randint(6, (3, 200), generator=torch.Generator().manual_seed(0))
    counts = metrics.count_levels(levels, 5)
    for name, function in functions(10).items():
        with LargestResult() as largest:
            function(levels, counts)
        assert largest.numel <= 3 * (200 + 1), name
