import itertools
import json
import pickle

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from pml_hierarchical import Hierarchy
from pml_hierarchical.core import hierarchy as core


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


@settings(max_examples=60)
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


@settings(max_examples=40)
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


@settings(max_examples=40)
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


def test_paths_and_mapping():
    tree = Hierarchy.from_paths(["a/x/1", "a/x/2", "a/y/1", "b/x/1"])
    assert tree.sizes == (4, 3, 2)
    assert tree.names[1] == ("a/x", "a/y", "b/x")
    assert tree.class_labels[:, 1].tolist() == [0, 0, 1, 2]
    mapping = {"apple": "fruit", "pear": "fruit", "milk": "dairy", "fruit": "food", "dairy": "food"}
    tree = Hierarchy.from_mapping(mapping)
    assert tree.names == (("apple", "pear", "milk"), ("fruit", "dairy"))  # one root: no level
    tree = Hierarchy.from_mapping({"a/b": "r", "c": "r"})  # a separator is a letter like any other
    assert tree.names == (("a/b", "c"),)
    # the same last name under two parents is no repeated name: the names are the paths
    assert Hierarchy.from_paths(["x/1", "y/1"]).names[0] == ("x/1", "y/1")


def test_labels_in_any_order_and_of_any_kind_of_integer():
    labels = [[2, 1], [0, 0], [1, 0], [0, 0]]
    for values in (labels, np.array(labels, dtype=np.uint8), torch.tensor(labels).int()):
        for build in (Hierarchy, Hierarchy.from_labels, Hierarchy.of):
            assert build(values) == Hierarchy.from_parents([[0, 0, 1]])


# ---------------------------------------------------------------- names
PATHS = ["fruit/apple", "fruit/pear", "dairy/milk"]


@pytest.mark.parametrize("affix", ["{}", "/{}", "{}/", "/{}/", "all/{}", "/data/train/{}"])
def test_what_all_paths_share_is_no_level(affix):
    paths = [affix.format(path) for path in PATHS]
    tree = Hierarchy.from_paths(paths)
    assert tree.class_labels.tolist() == [[0, 0], [1, 0], [2, 1]]
    assert tree.names[0] == tuple(paths)
    assert [name.rsplit("/", 1)[-1] for name in tree.names[1]] == ["fruit", "dairy"]
    assert tree.encode(paths[::-1]).tolist() == [2, 1, 0]


def test_a_class_alone_keeps_its_level():
    assert Hierarchy.from_paths(["a/b/c"]).sizes == (1,)
    assert Hierarchy.from_mapping({"c": "b", "b": "a"}).sizes == (1,)
    assert Hierarchy([[0, 0], [1, 0]]).sizes == (2, 1)  # numbers are taken as they are


@pytest.mark.parametrize("none", [lambda: None, lambda: float("nan"), lambda: np.float64("nan")])
def test_no_parent_is_no_class(none):  # one NaN is not another
    mapping = {"fruit": none(), "apple": "fruit", "pear": "fruit", "dairy": none()}
    mapping["milk"] = "dairy"
    tree = Hierarchy.from_mapping(mapping)
    assert tree.names == (("apple", "pear", "milk"), ("fruit", "dairy"))
    assert Hierarchy.from_mapping({"a": none(), "b": none()}) == Hierarchy([[0], [1]], [["a", "b"]])


def test_backslashes():
    paths = [path.replace("/", "\\") for path in PATHS]
    with pytest.raises(ValueError, match="separator"):
        Hierarchy.from_paths(paths)
    tree = Hierarchy.from_paths(paths, separator="\\")
    assert tree.sizes == (3, 2)
    assert tree.names[1] == ("fruit", "dairy")
    assert Hierarchy.from_paths(["x/a\\b", "y/c"], separator="/").names[0] == ("x/a\\b", "y/c")


def test_levels_without_names():
    tree = Hierarchy([[0, 0], [1, 0]], [["a", "b"], None])
    assert tree.names == (("a", "b"), None)
    assert Hierarchy.from_dict(json.loads(json.dumps(tree.to_dict()))) == tree
    assert tree != Hierarchy(tree.class_labels)
    assert tree.encode(["b"]).tolist() == tree.encode("b").tolist() == [1]
    with pytest.raises(ValueError, match="called 'a': level 0 has no names"):
        Hierarchy([[0, 0], [1, 0]], [None, ["a"]]).encode(["a"])


@settings(max_examples=30)
@given(trees())
def test_what_the_loss_takes_as_a_hierarchy(parents):
    tree = Hierarchy.from_parents(parents) if parents else Hierarchy.flat(3)
    paths = ["/".join(f"{n}" for n in row[::-1]) for row in tree.class_labels]
    named = Hierarchy.from_paths(paths)
    assert Hierarchy.of(tree) is tree
    assert type(Hierarchy.of(core.Hierarchy(tree.class_labels))) is Hierarchy
    assert Hierarchy.of(core.Hierarchy(tree.class_labels)) == tree
    assert Hierarchy.of(tree.to_dict()) == tree
    assert Hierarchy.of(tree.class_labels) == Hierarchy.of(tree.class_labels.tolist()) == tree
    assert Hierarchy.of(paths) == Hierarchy.of(tuple(paths)) == Hierarchy.of(np.array(paths))
    assert Hierarchy.of(paths) == Hierarchy.of(pd.Series(paths)) == named
    names = [f"level {number}" for number in range(tree.num_levels)]
    assert Hierarchy.of(pd.DataFrame(tree.class_labels, columns=names)) == tree
    with pytest.raises(TypeError, match="a hierarchy must be"):
        Hierarchy.of({*paths})  # whose order, that of the classes, changes from run to run
    mapping = {"apple": "fruit", "milk": "dairy", "class_labels": "dairy"}
    assert Hierarchy.of(mapping) == Hierarchy.from_mapping(mapping)
    assert Hierarchy.of(pd.Series(mapping)) == Hierarchy.from_mapping(mapping)


@pytest.mark.parametrize("missing", [None, float("nan"), pd.NA, pd.NaT], ids=repr)
def test_a_missing_parent_is_none(missing):
    """As pandas has it, whose ``NA`` is neither true nor false."""
    mapping = {"apple": "fruit", "milk": "dairy", "fruit": missing, "dairy": missing}
    tree = Hierarchy.from_parents([[0, 1]], [["apple", "milk"], ["fruit", "dairy"]])
    assert Hierarchy.of(mapping) == tree
    for dtype in ("object", "string", "category"):
        assert Hierarchy.of(pd.Series(mapping, dtype=dtype)) == tree, dtype


def test_names_are_encoded_as_by_scikit_learn():
    from sklearn.preprocessing import LabelEncoder

    names = np.random.default_rng(0).choice(sorted("abcdefg"), 50)
    encoder = LabelEncoder().fit(names)
    tree = Hierarchy.from_paths(encoder.classes_)
    for values in (names, names.tolist(), iter(names)):
        encoded = tree.encode(values)
        assert encoded.dtype == torch.int64
        assert encoded.tolist() == encoder.transform(names).tolist()
    assert tree.encode([]).shape == (0,)


def test_is_immutable():
    tree = Hierarchy.flat(3)
    with pytest.raises(ValueError, match="read-only"):
        tree.class_labels[0, 0] = 2
    for name in ("other", "sizes", "class_labels"):
        with pytest.raises(AttributeError, match="immutable"):
            setattr(tree, name, 1)


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
            "level 1 .*row 1 has -1",
        ),
        (lambda: Hierarchy([[0, 0], [1, 2]]), ValueError, "level 1 .*class 1 is missing"),
        (lambda: Hierarchy(np.zeros((3, 0), int)), ValueError, r"not empty, got shape \(3, 0\)"),
        (lambda: Hierarchy.from_labels(np.zeros((3, 0), int)), ValueError, "2-D and not empty"),
        (
            lambda: Hierarchy.from_labels(torch.zeros(2, 2)),
            TypeError,
            "labels must be integers, got dtype float32",
        ),
        (
            lambda: Hierarchy.from_parents([[0, 0, -1]]),
            ValueError,
            "level 1 .*row 2 has -1",
        ),
        (
            lambda: Hierarchy.from_parents([[0, 0, 1], [0, -2]]),
            ValueError,
            "level 2 .*row 2 has -2",
        ),
        (lambda: Hierarchy.from_parents([[0, 2]]), ValueError, "level 1 .*class 1 is missing"),
        (
            lambda: Hierarchy.from_parents([[0, 1, 0], [0, 0, 0]]),
            ValueError,
            r"parents\[1\] has 3 entries, but level 1 has 2 classes.*one parent$",
        ),
        (
            lambda: Hierarchy.from_parents([0, 0, 1]),
            ValueError,
            r"parents\[0\] must be 1-D and not empty, got shape \(\)",
        ),
        *(
            (
                lambda paths=paths: Hierarchy.from_paths(paths),
                TypeError,
                "must be a list of 'fruit/apple', ..., got .*fruit",
            )
            for paths in ("fruit/apple", [("fruit", "apple"), ("fruit", "pear")])
        ),
        (
            lambda: Hierarchy.from_parents([[]]),
            ValueError,
            r"parents\[0\] must be 1-D and not empty",
        ),
        (
            lambda: Hierarchy.from_parents([[0.0, 0.0]]),
            TypeError,
            r"parents\[0\] must be integers, got dtype float64",
        ),
        (
            lambda: Hierarchy([[0, 0], [1, 0]], [["a", "a"], ["b"]]),
            ValueError,
            "level 0 needs 2 different strings as names: 'a' is repeated",
        ),
        (
            lambda: Hierarchy([[0, 0], [1, 1], [2, 1]], [["a", "b", "c"], ["d", "d"]]),
            ValueError,
            "level 1 needs 2 different strings as names: 'd' is repeated",
        ),
        (
            lambda: Hierarchy.of([[0, 0], [0, 1], [1, 2]]),
            ValueError,
            "class 0 of level 0 has two parents .*Are the columns in reverse order?",
        ),
        (lambda: Hierarchy.of("tree.json"), TypeError, "paths .*got 'tree.json'"),
        (lambda: Hierarchy.of(None), TypeError, "2-D labels; got None"),
        (lambda: Hierarchy.of([0, 1]), ValueError, r"2-D and not empty, got shape \(2,\)"),
        (
            lambda: Hierarchy.of({"a": 3, "b": "c"}),
            ValueError,
            "level 1 needs 2 different strings as names: 3 is repeated or no string",
        ),
        (
            lambda: Hierarchy([[0], [1]], [["a", None]]),
            ValueError,
            "level 0 needs 2 different strings as names: None is",
        ),
        (
            lambda: Hierarchy([[0], [1]], [["a"]]),
            ValueError,
            "level 0 needs 2 different strings as names: it has 1$",
        ),
        (lambda: Hierarchy([[0]], [["a"], ["b"]]), ValueError, "for 1 levels, got 2"),
        (lambda: Hierarchy([[0]], []), ValueError, "for 1 levels, got 0"),
        (lambda: Hierarchy.from_paths(["a//b", "c/d/e"]), ValueError, "empty name"),
        (lambda: Hierarchy.from_paths(PATHS).encode(["fruit/aple"]), ValueError, "fruit/apple"),
        (lambda: Hierarchy.from_paths(PATHS).encode(["milk"]), ValueError, "is 'dairy/milk'"),
        (lambda: Hierarchy.flat(3).encode(["milk"]), ValueError, "'milk': .*has no names"),
        (lambda: Hierarchy.from_mapping({}), ValueError, "fine classes need"),
        (lambda: Hierarchy.from_mapping({"a": "a"}), ValueError, "cycle above 'a'"),
        (
            lambda: Hierarchy.from_mapping({"a": "b", "b": "c", "c": "b"}),
            ValueError,
            "cycle above 'a'",
        ),
        (lambda: Hierarchy.flat(3).ancestors([0.0], 0), TypeError, "got dtype float64"),
        (
            lambda: Hierarchy.flat(3).ancestors(torch.tensor([0.0]), 0),
            TypeError,
            "got dtype float32",
        ),
        (lambda: Hierarchy.flat(3).ancestors(torch.tensor([True]), 0), TypeError, "dtype bool"),
        (lambda: Hierarchy.from_labels([[0.5, 1.0]]), TypeError, "integers, got dtype float64"),
        (lambda: Hierarchy.from_labels([0, 1]), ValueError, "2-D"),
        (lambda: Hierarchy.from_labels(np.zeros((0, 2), int)), ValueError, "not empty"),
        (lambda: Hierarchy.flat(0), ValueError, "not empty"),
        (lambda: Hierarchy.from_parents([]), ValueError, "flat"),
        (
            lambda: Hierarchy.from_parents([[0, 1, 0], [0]]),
            ValueError,
            r"parents\[1\] has 1 entries, .*2 classes",
        ),
        (
            lambda: Hierarchy.from_paths(["a/b", "c"]),
            ValueError,
            r"same depth, .* \{2: 'a/b', 1: 'c'\}",
        ),
        (
            lambda: Hierarchy.from_paths(["a/b", "a/b"]),
            ValueError,
            "'a/b' is given twice",
        ),
        (
            lambda: Hierarchy.from_paths(["a", "a/b"]),
            ValueError,
            "^'a' is given twice, or is the beginning of a longer path",
        ),
        (lambda: Hierarchy.from_paths(["/b/c", "/a/", "/a/b"]), ValueError, "^'a' is given twice"),
        (lambda: Hierarchy.from_paths([]), ValueError, "fine classes need"),
        (
            lambda: Hierarchy.of({"fruit": ["apple", "pear"]}),
            ValueError,
            r"the parent of 'fruit' must be a name, got \['apple', 'pear'\]",
        ),
        (lambda: Hierarchy.of({}), ValueError, "fine classes need .*, got no class$"),
        (lambda: Hierarchy.from_mapping({"a": "b", "b": "a"}), ValueError, "cycle"),
        (lambda: Hierarchy.from_mapping({"x": "r", "a": "b", "b": "a"}), ValueError, "cycle"),
        (
            lambda: Hierarchy.from_mapping({"a": "b", "b": "c", "d": "c"}),
            ValueError,
            r"same depth, .* \{3: 'a', 2: 'd'\}",
        ),
        (lambda: Hierarchy.flat(3).ancestors([3], 0), ValueError, r"0\.\.2.*got 3\.\.3"),
        (lambda: Hierarchy.flat(3).ancestors([0], 1), ValueError, r"one of \[0\], got 1"),
        (lambda: Hierarchy.flat(3).members(0, 5), ValueError, "classes 0..2, got 5"),
        (lambda: Hierarchy([[0, 0], [1, 0]]).parents(1), ValueError, r"one of \[0\], got 1"),
        (lambda: Hierarchy.flat(3).parents(0), ValueError, r"one of \[\], got 0"),
        (
            lambda: Hierarchy([[0, 0], [1, 0]], [["a"], ["b"]]),
            ValueError,
            "level 0 needs 2 different strings as names: it has 1$",
        ),
    ],
)
def test_bad_input(build, error, message):
    with pytest.raises(error, match=message):
        build()
