"""discover: the levels fit together, whatever is given, and superclasses keep their numbers."""

import itertools

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.cluster import AgglomerativeClustering

from pml_hierarchical import Hierarchy, clustering
from pml_hierarchical.clustering import Agglomerative, KMeans, KMeansStep, discover


def by_scikit_learn(points, num_clusters):
    return AgglomerativeClustering(num_clusters, linkage="complete").fit_predict(points)


CLUSTERERS = [
    KMeans(),
    KMeans(balance=1.2),
    KMeansStep(),
    Agglomerative(),
    Agglomerative("ward"),
    by_scikit_learn,
]
EVERY = pytest.mark.parametrize("clusterer", CLUSTERERS, ids=repr)


def proxies_of(num_classes, dimension=6, seed=0):
    return torch.randn(num_classes, dimension, generator=torch.Generator().manual_seed(seed))


def random_tree(sizes, rng):
    if len(sizes) == 1:
        return Hierarchy.flat(sizes[0])
    return Hierarchy.from_parents(
        [
            rng.permutation(np.concatenate([np.arange(b), rng.integers(b, size=a - b)]))
            for a, b in itertools.pairwise(sizes)
        ]
    )


def groups_of(column):
    return {frozenset(np.flatnonzero(column == node).tolist()) for node in np.unique(column)}


# ---------------------------------------------------------------- the levels of the result
@st.composite
def mixed_problems(draw):
    """The sizes of all levels of a tree, which of them are given, and a seed."""
    sizes = sorted(draw(st.sets(st.integers(2, 30), min_size=2, max_size=5)), reverse=True)
    is_given = [True, *[draw(st.booleans()) for _ in sizes[1:]]]
    if is_given[-1] and draw(st.booleans()) and len(sizes) < 5:
        sizes, is_given = [*sizes, 1], [*is_given, True]  # a catalogue may have one root
    return tuple(sizes), is_given, draw(st.integers(0, 1000))


@settings(max_examples=80, deadline=None)
@given(mixed_problems(), st.sampled_from(CLUSTERERS), st.booleans(), st.booleans())
def test_mixed_trees_have_the_sizes_asked_for_and_cross_no_given_class(
    problem, clusterer, spherical, again
):
    sizes, is_given, seed = problem
    rng = np.random.default_rng(seed)
    catalogue = random_tree([s for s, g in zip(sizes, is_given, strict=True) if g], rng)
    wanted = [s for s, g in zip(sizes, is_given, strict=True) if not g]
    arguments = {"spherical": spherical, "given": catalogue, "clusterer": clusterer}
    proxies = proxies_of(sizes[0], 3, seed)
    tree = discover(proxies, wanted, **arguments)
    if again:
        tree = discover(
            proxies + 0.5 * proxies_of(sizes[0], 3, 7), wanted, previous=tree, **arguments
        )
    assert tree.sizes == sizes  # Hierarchy checks that each class has one parent
    np.testing.assert_array_equal(tree.class_labels[:, is_given], catalogue.class_labels)
    for level, above in itertools.combinations(range(len(sizes)), 2):
        if is_given[above]:
            for node in range(sizes[level]):
                assert len(set(tree.class_labels[tree.members(level, node), above])) == 1


def test_clusters_of_a_given_class_are_those_of_its_points_alone():
    proxies = proxies_of(40)
    rng = np.random.default_rng(0)
    catalogue = random_tree((40, 3), rng)
    tree = discover(proxies, [10], given=catalogue, seed=4)
    column = tree.class_labels[:, 1]
    next_number = 0
    for node in range(3):
        members = catalogue.members(1, node)
        found = np.unique(column[members])
        assert found.tolist() == list(range(next_number, next_number + len(found)))
        alone = KMeans().cluster(proxies[members].numpy(), len(found), spherical=True, seed=4)
        np.testing.assert_array_equal(column[members], alone + next_number)
        next_number += len(found)


def test_a_level_clusters_the_means_of_the_level_below_it():
    proxies = proxies_of(60)
    catalogue = random_tree((60, 25), np.random.default_rng(1))
    for given_tree, sizes in ((None, (25, 6)), (catalogue, (6,))):
        tree = discover(proxies, sizes, given=given_tree, seed=2)
        directions = torch.nn.functional.normalize(proxies).numpy()
        means = clustering.group_means(directions, tree.class_labels[:, 1], 25)
        np.testing.assert_array_equal(
            tree.parents(1), KMeans().cluster(means, 6, spherical=True, seed=2)
        )


def test_nothing_to_discover():
    assert discover(proxies_of(9), ()) == Hierarchy.flat(9)
    named = Hierarchy.from_paths(["a/1", "a/2", "b/1"])
    assert discover(proxies_of(3), [], given=named) == named


def test_auto_is_one_level_of_the_default_size():
    assert discover(proxies_of(50), "auto").sizes == (50, 7)


def test_a_parameter_in_half_precision_is_clustered_as_its_values():
    proxies = proxies_of(30)
    half = torch.nn.Parameter(proxies.half())
    assert discover(half, (5,)) == discover(proxies.half().float(), (5,))


# ---------------------------------------------------------------- what changes nothing
@EVERY
@pytest.mark.parametrize("mixed", [False, True])
@pytest.mark.parametrize("spherical", [False, True])
def test_the_numbers_of_the_classes_change_nothing(clusterer, mixed, spherical):
    rng = np.random.default_rng(0)
    proxies = proxies_of(50)
    catalogue = random_tree((50, 22, 3), rng) if mixed else None
    tree = discover(proxies, (30, 8), spherical, given=catalogue, clusterer=clusterer)
    moved = proxies + 0.3 * proxies_of(50, seed=1)
    later = discover(moved, (30, 8), spherical, tree, given=catalogue, clusterer=clusterer)
    for order in (np.arange(50)[::-1], rng.permutation(50)):

        def renumbered(hierarchy, order=order):
            labels = hierarchy.class_labels[order].copy()
            labels[:, 0] = np.arange(50)
            return Hierarchy(labels)

        given_tree = renumbered(catalogue) if mixed else None
        arguments = {"given": given_tree, "clusterer": clusterer}
        shuffled = discover(proxies[order.copy()], (30, 8), spherical, **arguments)
        assert shuffled == renumbered(tree)
        shuffled = discover(moved[order.copy()], (30, 8), spherical, shuffled, **arguments)
        assert shuffled == renumbered(later)


@EVERY
def test_is_deterministic(clusterer):
    proxies = proxies_of(60)
    catalogue = random_tree((60, 4), np.random.default_rng(0))
    arguments = {"given": catalogue, "clusterer": clusterer, "seed": 5}
    first = discover(proxies, (20, 8), **arguments)
    torch.manual_seed(1)
    np.random.seed(1)  # noqa: NPY002
    assert discover(proxies, (20, 8), **arguments) == first


def test_the_seed_counts():
    proxies = proxies_of(50, 8)
    assert discover(proxies, (10, 4), seed=3) == discover(proxies, (10, 4), seed=3)
    assert discover(proxies, (10, 4), seed=3) != discover(proxies, (10, 4), seed=4)


# ---------------------------------------------------------------- identities
@EVERY
@pytest.mark.parametrize("mixed", [False, True])
def test_superclasses_keep_their_numbers(clusterer, mixed):
    proxies = proxies_of(60, 8)
    catalogue = random_tree((60, 3), np.random.default_rng(0)) if mixed else None
    first = discover(proxies, (20, 8), given=catalogue, clusterer=clusterer)
    # the same superclasses under other numbers, as an earlier update may have left them
    labels = first.class_labels.copy()
    labels[:, 1] = 19 - labels[:, 1]
    labels[:, 2] = 7 - labels[:, 2]
    if not mixed:
        first = Hierarchy(labels)
    nearly = proxies + 1e-4 * proxies_of(60, 8, seed=1)
    second = discover(nearly, (20, 8), given=catalogue, previous=first, clusterer=clusterer)
    assert (first.class_labels == second.class_labels).mean() > 0.96


def test_numbers_are_matched_by_the_largest_overlap():
    proxies = torch.tensor([[0.0], [0.1], [0.2], [9.0], [9.1], [20.0]])
    # class 2 was with 3 and 4: most of them stay together, and keep the number 2
    previous = Hierarchy.from_parents([[1, 1, 2, 2, 2, 0]])
    tree = discover(proxies, [3], False, previous, clusterer="agglomerative")
    assert tree.class_labels[:, 1].tolist() == [1, 1, 1, 2, 2, 0]


def test_kmeans_starts_from_the_centroids_and_else_from_the_previous_means():
    proxies = proxies_of(60)
    centroids = [proxies_of(20, seed=1), None]
    tree = discover(proxies, (20, 6), False, centroids=centroids, clusterer="kmeans_step")
    expected = KMeansStep().cluster(
        proxies.numpy(), 20, spherical=False, centroids=centroids[0].numpy()
    )
    np.testing.assert_array_equal(tree.class_labels[:, 1], expected)

    moved = proxies + 0.5 * proxies_of(60, seed=2)
    later = discover(moved, (20, 6), False, tree, centroids=centroids, clusterer="kmeans_step")
    first = KMeansStep().cluster(moved.numpy(), 20, spherical=False, centroids=centroids[0].numpy())
    np.testing.assert_array_equal(later.class_labels[:, 1], first)
    start = clustering.group_means(moved.numpy(), tree.class_labels[:, 2], 6)
    means = clustering.group_means(moved.numpy(), first, 20)
    second = KMeansStep().cluster(means, 6, spherical=False, centroids=start)
    np.testing.assert_array_equal(later.parents(1), second)


def test_the_centroids_of_a_given_class_are_its_own():
    proxies = torch.tensor([[0.0], [1.0], [2.0], [10.0], [11.0], [12.0]])
    catalogue = Hierarchy.from_parents([[0, 0, 0, 1, 1, 1]])
    centroids = [torch.tensor([[2.0], [0.4], [12.0], [10.4]]), None]
    tree = discover(
        proxies, [4], False, given=catalogue, centroids=centroids, clusterer="kmeans_step"
    )
    assert tree.class_labels[:, 1].tolist() == [1, 1, 0, 3, 3, 2]


# ---------------------------------------------------------------- bad input
CATALOGUE = Hierarchy.from_parents([[0, 0, 0, 1, 1, 2, 2, 2]])
NAN = proxies_of(8)
NAN[3, 1] = float("nan")


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"proxies": NAN}, ValueError, "proxies hold NaN or infinite values .*row 3"),
        ({"proxies": NAN + torch.inf}, ValueError, "NaN or infinite"),
        ({"proxies": NAN[0]}, ValueError, r"proxies must have shape .*got shape \(6,\)"),
        ({"num_superclasses": [8]}, ValueError, "got 8 superclasses for 8 classes"),
        ({"num_superclasses": [4.0]}, TypeError, "got 4.0"),
        ({"num_superclasses": [3], "given": CATALOGUE}, ValueError, "num_superclasses=3 .*, 3: a"),
        ({"given": Hierarchy.flat(7)}, ValueError, "7 fine classes, but there are 8 proxies"),
        ({"given": [[0, 0]]}, TypeError, "Hierarchy, got list"),
        ({"previous": Hierarchy.flat(8)}, ValueError, r"sizes \(8, 4\), got Hierarchy.*\(8,\)"),
        ({"previous": CATALOGUE}, ValueError, r"sizes \(8, 4\), got Hierarchy.*\(8, 3\)"),
        ({"centroids": []}, ValueError, "each of the 1 coarse levels, got 0"),
        ({"centroids": [proxies_of(3)]}, ValueError, r"level 1 .*\(4, 6\), got \(3, 6\)"),
        ({"centroids": [NAN[:4]]}, ValueError, "centroids of level 1 hold NaN"),
        ({"clusterer": "ward"}, ValueError, "'kmeans', .*got 'ward'"),
        ({"clusterer": lambda p, k: [0] * len(p)}, ValueError, "FromFunction.*no point of cluster"),
    ],
)
def test_bad_input(arguments, error, message):
    arguments = {"proxies": proxies_of(8), "num_superclasses": [4], **arguments}
    with pytest.raises(error, match=message):
        discover(**arguments)
