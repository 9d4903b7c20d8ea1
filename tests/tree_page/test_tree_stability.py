"""The stability of superclasses over the updates of a loss."""

import numpy as np
import pytest
import torch
from scipy.optimize import linear_sum_assignment
from sklearn.metrics import jaccard_score

from benchmarks.tree_page.stability import stability, stack_history
from pml_hierarchical.losses import HierarchicalProxyLoss


def test_overlaps_are_those_of_scikit_learn():
    rng = np.random.default_rng(0)
    history = rng.integers(3, size=(5, 2, 30))
    found = stability(history, [3, 3])
    assert found.num_updates == 5
    for level, overlaps in enumerate(found.overlaps):
        for update in range(4):
            before, after = history[update : update + 2, level]
            expected = jaccard_score(before, after, average=None, labels=range(3))
            np.testing.assert_allclose(overlaps[update], expected)
    moved = [(history[1:, 0, c] != history[:-1, 0, c]).sum() for c in range(30)]
    assert found.moves.tolist() == moved


def test_classes_that_were_added_later_are_no_members_before():
    history = [np.array([[0, 1, 1]]), np.array([[0, 1, 1, 0, 0]]), np.array([[0, 1, 0, 0, 0]])]
    found = stability(history, [2])
    assert found.overlaps[0].tolist() == [[1 / 3, 1], [3 / 4, 1 / 2]]
    assert found.moves.tolist() == [0, 0, 1, 0, 0]


def test_one_update_says_nothing():
    assert stability([[[0, 1]]], [2]) is None


@pytest.mark.parametrize(
    ("history", "sizes", "message"),
    [
        ([[[0, 1]], [[0, 2]]], [2], r"superclasses 0\.\.2 at level 1, and the tree has 2"),
        ([[[0, 1]], [[0, -2]]], [2], r"superclasses -2\.\.1"),
        ([[[0, 1]]], [2, 2], "has 1 level above the finest, and the tree 2"),
        ([[0, 1]], [2], r"got int64 of shape \(2,\)"),
        ([[[0.5, 1.0]]], [2], "got float64"),
        ([[[0, 1]], [[0, 1], [0, 1]]], [2], r"got int64 of shape \(2, 2\)"),
    ],
)
def test_a_history_that_does_not_fit(history, sizes, message):
    with pytest.raises(ValueError, match=message):
        stability(history, sizes)


def test_superclasses_keep_their_numbers_from_update_to_update():
    """No other numbering would have more classes stay: k-means starts from the last centroids."""
    torch.manual_seed(0)
    centres = torch.randn(6, 16).repeat_interleave(10, 0)
    loss_func = HierarchicalProxyLoss(60, 16, num_superclasses=(6, 3), warmup=0, recluster_every=4)
    loss_func.proxies.data.copy_(centres + 0.8 * torch.randn(60, 16))
    optimizer = torch.optim.Adam(loss_func.parameters(), lr=0.05)
    history = []
    for _ in range(40):
        labels = torch.randint(60, (64,))
        loss_func(centres[labels] + torch.randn(64, 16), labels).backward()
        optimizer.step()
        optimizer.zero_grad()
        if loss_func.num_updates > len(history):
            history.append(loss_func.class_labels.T[1:].numpy())
    table = stack_history(history)
    assert len(table) == loss_func.num_updates == 10
    assert np.array_equal(table[-1], loss_func.hierarchy.class_labels.T[1:])
    found = stability(table, (6, 3))
    assert found.moves.sum() > 0
    for level, size in enumerate((6, 3)):
        for before, after in zip(table[:-1, level], table[1:, level], strict=True):
            overlap = np.bincount(before * size + after, minlength=size**2).reshape(size, size)
            rows, columns = linear_sum_assignment(overlap, maximize=True)
            assert overlap.trace() == overlap[rows, columns].sum()
