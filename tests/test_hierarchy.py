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
        assert tree.ancestors(torch.tensor(labels, dtype=torch.uint8), level).tolist() == expected
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
    assert Hierarchy.from_labels(torch.tensor(tree.class_labels)) == tree
    assert hash(Hierarchy(tree.class_labels)) == hash(tree)
    if tree.num_levels > 1:
        vectors = [tree.parents(level) for level in range(tree.num_levels - 1)]
        assert Hierarchy.from_parents(vectors) == tree


def relations(tree):
    """For every pair of fine classes how far apart they are, whatever the classes are numbered."""
    classes = np.arange(tree.num_classes)
    return tree.lca_height(classes[:, None], classes).tolist()


@settings(max_examples=40, deadline=None)
@given(trees(), st.sampled_from(["/", " > "]))
def test_paths_and_mapping_round_trip(parents, separator):
    tree = Hierarchy.from_parents(parents) if parents else Hierarchy.flat(3)
    paths = [
        separator.join(f"{level}.{row[level]}" for level in reversed(range(tree.num_levels)))
        for row in tree.class_labels
    ]
    by_paths = Hierarchy.from_paths(paths, separator)
    assert by_paths.names[0] == tuple(paths)
    assert relations(by_paths) == relations(tree)
    # numbered in order of appearance, so a second time nothing changes
    assert Hierarchy.from_paths(by_paths.names[0], separator) == by_paths
    assert Hierarchy.from_dict(json.loads(json.dumps(by_paths.to_dict()))) == by_paths
    assert pickle.loads(pickle.dumps(by_paths)).names == by_paths.names
    if tree.num_levels > 1:
        mapping = {
            f"{level}.{row[level]}": f"{level + 1}.{row[level + 1]}"
            for level in range(tree.num_levels - 1)
            for row in tree.class_labels
        }
        by_mapping = Hierarchy.from_mapping(mapping)
        assert np.array_equal(by_mapping.class_labels, by_paths.class_labels)
        for level, names in enumerate(by_mapping.names):
            assert names == tuple(n.split(separator)[-1] for n in by_paths.names[level])


@settings(max_examples=30, deadline=None)
@given(st.integers(3, 20), st.integers(0, 1000))
def test_linkage_round_trip(num_classes, seed):
    rng = np.random.default_rng(seed)
    merges = linkage(rng.normal(size=(num_classes, 2)), "average")
    sizes = sorted(rng.permutation(np.arange(1, num_classes))[:2].tolist(), reverse=True)
    tree = Hierarchy.from_linkage(merges, sizes)
    assert tree.sizes == (num_classes, *sizes)
    for level, size in enumerate(sizes, start=1):
        clusters = [{c} for c in range(num_classes)]
        for a, b, *_ in merges[: num_classes - size]:
            clusters.append(clusters[int(a)] | clusters[int(b)])
            clusters[int(a)] = clusters[int(b)] = None
        wanted = {frozenset(cluster) for cluster in clusters if cluster}
        assert {frozenset(tree.members(level, n).tolist()) for n in range(size)} == wanted


def test_paths_and_mapping():
    tree = Hierarchy.from_paths(["a/x/1", "a/x/2", "a/y/1", "b/x/1"])
    assert tree.sizes == (4, 3, 2)
    assert tree.names[1] == ("a/x", "a/y", "b/x")
    assert tree.class_labels[:, 1].tolist() == [0, 0, 1, 2]
    mapping = {"apple": "fruit", "pear": "fruit", "milk": "dairy", "fruit": "food", "dairy": "food"}
    tree = Hierarchy.from_mapping(mapping)
    assert tree.names == (("apple", "pear", "milk"), ("fruit", "dairy"), ("food",))
    tree = Hierarchy.from_mapping({"a/b": "r", "c": "r"})  # a separator is a letter like any other
    assert tree.names == (("a/b", "c"), ("r",))
    # the same last name under two parents is no repeated name: the names are the paths
    assert Hierarchy.from_paths(["x/1", "y/1"]).names[0] == ("x/1", "y/1")


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
        (
            lambda: Hierarchy.from_labels([[0, 0], [1, -1]]),
            ValueError,
            r"level 1 has the negative class -1 \(row 1\)",
        ),
        (lambda: Hierarchy([[0, 0], [1, 2]]), ValueError, "level 1 .*class 1 is missing"),
        (lambda: Hierarchy(np.zeros((3, 0), int)), ValueError, r"one level, got .*\(3, 0\)"),
        (lambda: Hierarchy.from_labels(np.zeros((3, 0), int)), ValueError, "one level"),
        (
            lambda: Hierarchy.from_labels(torch.zeros(2, 2)),
            TypeError,
            "labels must be integers, got dtype float32",
        ),
        (
            lambda: Hierarchy.from_parents([[0, 0, -1]]),
            ValueError,
            r"class 2 of level 0 has no parent: parents\[0\]\[2\] is -1",
        ),
        (
            lambda: Hierarchy.from_parents([[0, 0, 1], [0, -2]]),
            ValueError,
            r"class 1 of level 1 has no parent: parents\[1\]\[1\] is -2",
        ),
        (lambda: Hierarchy.from_parents([[0, 2]]), ValueError, "level 1 .*class 1 is missing"),
        (
            lambda: Hierarchy.from_parents([[0, 1, 0], [0, 0, 0]]),
            ValueError,
            r"parents\[1\] has 3 entries, but level 1 has 2 classes.*one parent$",
        ),
        (lambda: Hierarchy.from_parents([[]]), ValueError, r"parents\[0\] has no entries"),
        (
            lambda: Hierarchy.from_parents([[0.0, 0.0]]),
            TypeError,
            r"parents\[0\] must be integers, got dtype float64",
        ),
        (
            lambda: Hierarchy([[0, 0], [1, 0]], [["a", "a"], ["b"]]),
            ValueError,
            "classes 0 and 1 of level 0 are both called 'a'",
        ),
        (
            lambda: Hierarchy([[0, 0], [1, 1], [2, 1]], [["a", "b", "c"], ["d", "d"]]),
            ValueError,
            "classes 0 and 1 of level 1 are both called 'd'",
        ),
        (lambda: Hierarchy.from_mapping({}), ValueError, "the mapping is empty"),
        (lambda: Hierarchy.from_mapping({"a": "a"}), ValueError, "cycle through 'a'"),
        (
            lambda: Hierarchy.from_mapping({"a": "b", "b": "c", "c": "b"}),
            ValueError,
            "cycle through 'b', met on the way up from 'a'",
        ),
        (lambda: Hierarchy.flat(3).ancestors([0.0], 0), TypeError, "got dtype float64"),
        (
            lambda: Hierarchy.flat(3).ancestors(torch.tensor([0.0]), 0),
            TypeError,
            "got dtype torch.float32",
        ),
        (lambda: Hierarchy.flat(3).ancestors(torch.tensor([True]), 0), TypeError, "torch.bool"),
        (lambda: Hierarchy.from_labels([[0.5, 1.0]]), TypeError, "integers, got dtype float64"),
        (lambda: Hierarchy.from_labels([0, 1]), ValueError, "2-D"),
        (lambda: Hierarchy.from_labels(np.zeros((0, 2), int)), ValueError, "at least one class"),
        (lambda: Hierarchy([[1, 0], [0, 0]]), ValueError, "row 0 does not hold its own number"),
        (lambda: Hierarchy.flat(0), ValueError, "at least one class"),
        (lambda: Hierarchy.from_parents([]), ValueError, "flat"),
        (lambda: Hierarchy.from_parents([[0, 1, 0], [0]]), ValueError, "class 1 has none"),
        (lambda: Hierarchy.from_paths(["a/b", "c"]), ValueError, "same depth, got 'c'"),
        (lambda: Hierarchy.from_paths(["a/b", "a/b"]), ValueError, "'a/b' more than once"),
        (lambda: Hierarchy.from_paths([]), ValueError, "paths is empty"),
        (lambda: Hierarchy.from_mapping({"a": "b", "b": "a"}), ValueError, "cycle"),
        (lambda: Hierarchy.from_mapping({"x": "r", "a": "b", "b": "a"}), ValueError, "cycle"),
        (
            lambda: Hierarchy.from_mapping({"a": "b", "b": "c", "d": "c"}),
            ValueError,
            "same depth, got 'd' with 1 ancestors and 'a' with 2",
        ),
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
