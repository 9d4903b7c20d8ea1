import itertools
import json
import pickle

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.cluster.hierarchy import linkage

from pml_hierarchical import Hierarchy


@st.composite
def trees(draw):
    """Parent vectors of a random tree, each level a shuffled surjection onto the next."""
    sizes = sorted(draw(st.sets(st.integers(1, 20), min_size=1, max_size=4)), reverse=True)
    rng = np.random.default_rng(draw(st.integers(0, 10_000)))
    return [
        rng.permutation(np.concatenate([np.arange(b), rng.integers(b, size=a - b)]))
        for a, b in itertools.pairwise(sizes)
    ]


def naive_walk(parents, label, level):
    for vector in parents[:level]:
        label = vector[label]
    return label


@settings(max_examples=60, deadline=None)
@given(trees(), st.integers(0, 1000))
def test_answers_against_a_naive_walk(parents, seed):
    tree = Hierarchy.from_parents(parents) if parents else Hierarchy.flat(7)
    labels = np.random.default_rng(seed).integers(tree.num_classes, size=15)
    for level in range(tree.num_levels):
        expected = [naive_walk(parents, label, level) for label in labels]
        np.testing.assert_array_equal(tree.ancestors(labels, level), expected)
        tensor = tree.ancestors(torch.tensor(labels), level)
        assert tensor.tolist() == expected
        for node in range(tree.sizes[level]):
            members = [c for c in range(tree.num_classes) if naive_walk(parents, c, level) == node]
            assert tree.members(level, node).tolist() == members
    for vector, level in zip(parents, range(tree.num_levels - 1), strict=True):
        np.testing.assert_array_equal(tree.parents(level), vector)
    heights = tree.lca_height(labels[:, None], labels[None])
    for i, a in enumerate(labels):
        for j, b in enumerate(labels):
            shared = [
                naive_walk(parents, a, level) == naive_walk(parents, b, level)
                for level in range(tree.num_levels)
            ]
            assert heights[i, j] == (shared.index(True) if any(shared) else tree.num_levels)


@settings(max_examples=40, deadline=None)
@given(trees())
def test_round_trips(parents):
    tree = Hierarchy.from_parents(parents) if parents else Hierarchy.flat(3)
    assert Hierarchy.from_dict(json.loads(json.dumps(tree.to_dict()))) == tree
    assert pickle.loads(pickle.dumps(tree)) == tree
    assert Hierarchy.from_labels(np.repeat(tree.class_labels, 3, axis=0)[::-1]) == tree
    assert hash(Hierarchy(tree.class_labels)) == hash(tree)


def test_paths_and_mapping():
    tree = Hierarchy.from_paths(["a/x/1", "a/x/2", "a/y/1", "b/x/1"])
    assert tree.sizes == (4, 3, 2)
    assert tree.names[1] == ("a/x", "a/y", "b/x")
    assert tree.class_labels[:, 1].tolist() == [0, 0, 1, 2]
    mapping = {"apple": "fruit", "pear": "fruit", "milk": "dairy", "fruit": "food", "dairy": "food"}
    tree = Hierarchy.from_mapping(mapping)
    assert tree.names == (("apple", "pear", "milk"), ("fruit", "dairy"), ("food",))


def test_linkage_is_cut_as_scipy_cuts_it():
    points = np.array([[0.0], [0.1], [5.0], [5.2], [50.0]])
    tree = Hierarchy.from_linkage(linkage(points), [3, 2])
    assert tree.lca_height([0, 0, 0, 2], [1, 2, 4, 3]).tolist() == [1, 2, 3, 1]


def test_is_immutable():
    tree = Hierarchy.flat(3)
    with pytest.raises(ValueError, match="read-only"):
        tree.class_labels[0, 0] = 2
    with pytest.raises(AttributeError):
        tree.other = 1


@pytest.mark.parametrize(
    ("build", "error", "message"),
    [
        (
            lambda: Hierarchy.from_labels([[0, 0], [1, 1], [0, 1]]),
            ValueError,
            "class 0 of level 0 has two parents at level 1: 0 and 1",
        ),
        (
            lambda: Hierarchy.from_labels([[0, 0, 0], [1, 0, 1]]),
            ValueError,
            "class 0 of level 1 has two parents at level 2",
        ),
        (lambda: Hierarchy.from_labels([[0, 0], [2, 1]]), ValueError, "class 1 is missing"),
        (lambda: Hierarchy.from_labels([[0, -1]]), ValueError, "negative class -1"),
        (lambda: Hierarchy.from_labels([[0.5, 1.0]]), TypeError, "integers, got dtype float64"),
        (lambda: Hierarchy.from_labels([0, 1]), ValueError, "2-D"),
        (lambda: Hierarchy.from_labels(np.zeros((0, 2), int)), ValueError, "at least one class"),
        (lambda: Hierarchy([[1, 0], [0, 0]]), ValueError, "row 0 does not hold its own number"),
        (lambda: Hierarchy.flat(0), ValueError, "at least one class"),
        (lambda: Hierarchy.from_parents([]), ValueError, "flat"),
        (lambda: Hierarchy.from_parents([[0, 1, 0], [0]]), ValueError, "level 1 has 2 classes"),
        (lambda: Hierarchy.from_paths(["a/b", "c"]), ValueError, "same depth, got 'c'"),
        (lambda: Hierarchy.from_paths(["a/b", "a/b"]), ValueError, "'a/b' more than once"),
        (lambda: Hierarchy.from_paths([]), ValueError, "empty"),
        (lambda: Hierarchy.from_mapping({"a": "b", "b": "a"}), ValueError, "cycle"),
        (lambda: Hierarchy.from_mapping({"x": "r", "a": "b", "b": "a"}), ValueError, "cycle"),
        (lambda: Hierarchy.from_mapping({"a": "b", "b": "c", "d": "c"}), ValueError, "depth"),
        (lambda: Hierarchy.flat(3).ancestors([3], 0), ValueError, r"0\.\.2.*got 3\.\.3"),
        (lambda: Hierarchy.flat(3).ancestors([0], 1), ValueError, "level must be in 0..0"),
        (lambda: Hierarchy.flat(3).members(0, 5), ValueError, "got 5"),
        (lambda: Hierarchy([[0, 0], [1, 0]], [["a"], ["b"]]), ValueError, "one name per class"),
        (
            lambda: Hierarchy.from_linkage(linkage(np.ones((4, 1))), 2),
            ValueError,
            "cannot be cut into 2",
        ),
    ],
)
def test_bad_input(build, error, message):
    with pytest.raises(error, match=message):
        build()
