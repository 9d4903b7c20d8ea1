"""Trees in the formats of other tools, and names of discovered superclasses."""

import json

import networkx as nx
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.cluster.hierarchy import linkage

from pml_hierarchical import Hierarchy, trees

FRUIT = {"apple": "fruit", "pear": "fruit", "milk": "dairy", "fruit": "food", "dairy": "food"}
HOSTILE = ["it's", "a,b", "(x)", 'say "no"', "back\\slash", "new\nline", "tab\t", " ", "[1]", ":;"]
HOSTILE += ["naïve", "漢字", "=1+1", "$_$", "#", "a'b''c", "None", "nan", "0", "''", '"', "a/b"]


@st.composite
def named_trees(draw):
    """Two to four levels, whose classes have hostile names, different in the whole tree."""
    counts = draw(st.lists(st.integers(1, 3), min_size=2, max_size=3))
    paths = [[]]
    for count in [2, *counts]:
        paths = [[*path, number] for path in paths for number in range(count)]
    extra = draw(st.lists(st.sampled_from(HOSTILE), min_size=4, max_size=4))
    names = [tuple(f"{path[:d]}{extra[d - 1]}" for d in range(1, len(path) + 1)) for path in paths]
    order = draw(st.permutations(names))
    mapping = {}
    for path in order:
        mapping.update(zip(path[:0:-1], path[-2::-1], strict=True))
    fine = [path[-1] for path in order]
    return Hierarchy.from_mapping({name: mapping[name] for name in [*fine, *mapping]})


def relations(tree):
    """What the tree says of its names, whatever the classes are numbered."""
    heights = tree.lca_height(np.arange(tree.num_classes)[:, None], np.arange(tree.num_classes))
    pairs = {
        (a, b): heights[i, j]
        for i, a in enumerate(tree.names[0])
        for j, b in enumerate(tree.names[0])
    }
    chains = {
        tuple(level[node] for level, node in zip(tree.names, row, strict=True))
        for row in tree.class_labels
    }
    return pairs, chains


@settings(max_examples=60)
@given(named_trees())
def test_round_trips(tree):
    assert trees.from_json(trees.to_json(tree)) == tree
    by_csv = trees.from_csv(trees.to_csv(tree))
    assert by_csv.names[0] == tree.names[0]
    assert relations(by_csv) == relations(tree)
    assert relations(trees.from_newick(trees.to_newick(tree))) == relations(tree)


def test_without_names():
    tree = Hierarchy.from_parents([[0, 0, 1]])
    assert trees.from_json(trees.to_json(tree)) == tree
    assert trees.to_newick(tree) == "((0.0,0.1)1.0,(0.2)1.1);"
    assert trees.from_csv(trees.to_csv(tree)).class_labels.tolist() == tree.class_labels.tolist()
    assert trees.to_newick(Hierarchy.flat(2)) == "(0.0,0.1);"
    assert trees.from_newick("(0.0,0.1);") == Hierarchy([[0], [1]], [["0.0", "0.1"]])


def test_other_json():
    assert trees.from_json(json.dumps(FRUIT)).sizes == (3, 2)
    assert trees.from_json('["a/x", "a/y", "b/z"]').sizes == (3, 2)
    assert trees.from_json("[[0, 0], [1, 0]]").sizes == (2, 1)


def test_csv_as_spreadsheets_write_it():
    text = "\ufeffcount,name,parent\r\n3,apple,fruit\r\n\r\n5,milk,dairy\r\n8,fruit,\r\n"
    tree = trees.from_csv(text)
    assert tree.names == (("apple", "milk"), ("fruit", "dairy"))


# the examples of https://en.wikipedia.org/wiki/Newick_format
@pytest.mark.parametrize(
    "text",
    [
        "((C,D)E,(A,B)F);",
        "((C:0.3,D:0.4)E:0.5,(A:0.1,B:0.2)F:.5)R:0.0;",
        " ( ( C : 1e-3 , D )E[&& comment, (x)],('A' , B[1])'F')R;\n(ignored);",
    ],
)
def test_newick_as_others_write_it(text):
    tree = trees.from_newick(text)
    assert tree.names == (("C", "D", "A", "B"), ("E", "F"))
    assert tree.class_labels.tolist() == [[0, 0], [1, 0], [2, 1], [3, 1]]


def test_newick_without_names_of_inner_nodes_or_with_the_same_twice():
    tree = trees.from_newick("((,),(,));")
    assert tree.sizes == (4, 2)
    assert tree.names[1] == ("node 1", "node 4")
    assert trees.from_newick("((a,b)95,(c,d)95);").names[1] == ("95 (node 1)", "95 (node 4)")
    collision = trees.from_newick("((a,b),(c,d)'node 1');")
    assert (collision.sizes, collision.names[1]) == ((4, 2), ("node 1 (node 1)", "node 1 (node 4)"))
    assert trees.from_newick("('it''s',b);").names == (("it's", "b"),)
    for two_groups in ("(a,b)root(c);", "(a,b)(c);", "a(b,c);"):
        with pytest.raises(ValueError, match=r"not a Newick tree: '\(' is not expected"):
            trees.from_newick(two_groups)


def test_dot_is_the_tree():
    tree = Hierarchy.from_mapping(FRUIT | {'cheese\n"x\\': "dairy"})
    lines = trees.to_dot(tree).splitlines()
    assert lines[0] == "digraph {"
    assert lines[-1] == "}"
    assert '  "0.3" [label="cheese\\n\\"x\\\\"];' in lines
    graph = nx.DiGraph(tuple(line.strip(' ";').split('" -> "')) for line in lines if "->" in line)
    assert nx.is_forest(graph)
    for level in range(tree.num_levels - 1):
        for node, parent in enumerate(tree.parents(level)):
            assert list(graph.predecessors(f"{level}.{node}")) == [f"{level + 1}.{parent}"]


def test_text():
    tree = Hierarchy.from_paths(["a/x/1", "a/x/2", "a/x/3", "a/y/4", "b/z/5"])
    assert trees.to_text(tree, max_children=1).splitlines() == [
        "a",
        "├── a/x",
        "│   ├── a/x/1",
        "│   └── ... 2 more",
        "└── ... 1 more",
        "b",
        "└── b/z",
        "    └── b/z/5",
    ]
    assert trees.to_text(tree, max_children=-1) == trees.to_text(tree)
    assert trees.to_text(tree, max_children=0).splitlines() == [
        "a",
        "└── ... 2 more",
        "b",
        "└── ... 1 more",
    ]


# ---------------------------------------------------------------- linkage
@settings(max_examples=30)
@given(st.integers(3, 20), st.integers(0, 1000))
def test_linkage_round_trip(num_classes, seed):
    rng = np.random.default_rng(seed)
    merges = linkage(rng.normal(size=(num_classes, 2)), "average")
    sizes = sorted(rng.permutation(np.arange(1, num_classes))[:2].tolist(), reverse=True)
    tree = trees.from_linkage(merges, sizes)
    assert tree.sizes == (num_classes, *sizes)
    for level, size in enumerate(sizes, start=1):
        clusters = [{c} for c in range(num_classes)]
        for a, b, *_ in merges[: num_classes - size]:
            clusters.append(clusters[int(a)] | clusters[int(b)])
            clusters[int(a)] = clusters[int(b)] = None
        wanted = {frozenset(cluster) for cluster in clusters if cluster}
        assert {frozenset(tree.members(level, n).tolist()) for n in range(size)} == wanted


def test_linkage_is_cut_as_scipy_cuts_it():
    points = np.array([[0.0], [0.1], [5.0], [5.2], [50.0]])
    tree = trees.from_linkage(linkage(points), [3, 2])
    assert tree.lca_height([0, 0, 0, 2], [1, 2, 4, 3]).tolist() == [1, 2, 3, 1]


# ---------------------------------------------------------------- names
NAMES = ["fruit/red apple", "fruit/green apple", "fruit/pear", "dairy/oat milk", "dairy/soy milk"]
NAMES += ["dairy/blue cheese", "dairy/old cheese"]


def test_names_of_a_mixed_tree():
    labels = [[0, 0, 0], [1, 0, 0], [2, 1, 0], [3, 2, 1], [4, 2, 1], [5, 3, 1], [6, 3, 1]]
    tree = Hierarchy(labels, [NAMES, None, ["fruit", "dairy"]])
    named = trees.name_superclasses(tree)
    assert named.names[1] == ("apple", "pear", "milk", "cheese")
    assert named.names[::2] == tree.names[::2]
    assert named.class_labels.tolist() == labels


def test_superclasses_are_named_by_the_member_nearest_to_the_mean():
    vectors = torch.tensor([[0.0], [1.0], [5.0], [7.0], [9.0], [3.0], [8.0]])
    tree = Hierarchy.from_parents([[0, 0, 0, 1, 1, 0, 1]], [NAMES, None])
    named = trees.name_superclasses(tree, vectors.numpy())
    # the means are 2.25 and 8
    assert named.names[1] == ("dairy/blue cheese", "dairy/old cheese")
    assert trees.name_superclasses(tree, vectors.half()) == named


def test_names_without_a_common_word_and_names_twice():
    names = ["cat", "dog", "red fox", "blue fox", "grey fox", "old fox"]
    tree = Hierarchy.from_parents([[0, 0, 1, 1, 2, 2]], [names, None])
    assert trees.name_superclasses(tree).names[1] == ("cat", "fox", "fox 2")


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: trees.from_linkage(linkage(np.ones((4, 1))), 2), ValueError, "cut into 2"),
        *(
            (
                lambda sizes=sizes: trees.from_linkage(
                    linkage([[0.0], [1.0], [3.0], [9.0]]), sizes
                ),
                ValueError,
                r"must be decreasing integers below the 4 classes, got",
            )
            for sizes in (4, 9, 0, 2.5, (2, 3), "auto")
        ),
        (lambda: trees.from_csv("a,b\n1,2\n"), ValueError, r"name and parent, got \['a', 'b'\]"),
        (lambda: trees.from_csv(""), ValueError, "got None"),
        (
            lambda: trees.from_csv("name,parent\na,x\na,y\n"),
            ValueError,
            "class 'a' has two parents: 'x' and 'y'",
        ),
        (
            lambda: trees.from_csv("name,parent\napple, red,fruit\n"),
            ValueError,
            "quote names that hold a comma: .*'apple'.*'fruit'",
        ),
        (
            lambda: trees.to_csv(
                Hierarchy([[0, 0], [1, 1], [2, 1]], [["a", "b", "c"], ["a", "d"]])
            ),
            ValueError,
            "'a' is used twice",
        ),
        (lambda: trees.from_newick("((a,b)c"), ValueError, "brackets are missing"),
        (lambda: trees.from_newick("a,b;"), ValueError, "',' is not expected"),
        (lambda: trees.from_newick("(a b,c);"), ValueError, "'b' is not expected"),
        (lambda: trees.from_newick("(a,'b);"), ValueError, "is not expected"),
        (lambda: trees.from_newick("(a,b));"), ValueError, r"'\)' is not expected"),
        (lambda: trees.from_newick(""), ValueError, "brackets are missing"),
        (lambda: trees.from_newick("(a,(b,c)d);"), ValueError, "same depth"),
        (lambda: trees.from_json("null"), TypeError, "got None"),
        (lambda: trees.name_superclasses(Hierarchy.flat(3)), ValueError, "have no names"),
        (
            lambda: trees.name_superclasses(
                Hierarchy([[0, 0], [1, 0]], [["a", "b"], None]), torch.ones(3, 2)
            ),
            ValueError,
            "a row for each of 2 classes",
        ),
    ],
)
def test_bad_input(call, error, message):
    with pytest.raises(error, match=message):
        call()
