"""discover: the levels fit together, whatever is given, and superclasses keep their numbers."""

import itertools

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.cluster import AgglomerativeClustering

from pml_hierarchical import Hierarchy
from pml_hierarchical.clustering import Agglomerative, KMeans, KMeansStep, get_clusterer
from pml_hierarchical.core import superclasses
from pml_hierarchical.core.superclasses import group_means, level_sizes


def by_scikit_learn(points, num_clusters):
    return AgglomerativeClustering(num_clusters, linkage="complete").fit_predict(points)


def discover(
    proxies,
    num_superclasses,
    spherical=True,
    previous=None,
    *,
    given=None,
    centroids=None,
    clusterer="kmeans",
):
    """From trees to tables and back: the result is checked by ``Hierarchy``."""
    given = Hierarchy.flat(len(proxies)) if given is None else given
    sizes, is_given = level_sizes(len(proxies), given.sizes[1:], num_superclasses)
    table = torch.full((len(proxies), len(sizes)), -1)
    if previous is not None:
        table = torch.tensor(previous.class_labels)
    table[:, list(is_given)] = torch.tensor(given.class_labels)
    before = table.clone()
    clusterer = get_clusterer(clusterer)
    found = superclasses.discover(proxies, table, sizes, is_given, clusterer, centroids, spherical)
    assert torch.equal(table, before)
    return Hierarchy(found)


CLUSTERERS = [
    KMeans(),
    KMeans(balance=1.2),
    KMeansStep(),
    Agglomerative(),
    Agglomerative("ward"),
    by_scikit_learn,
]


def name_of(clusterer):
    return getattr(clusterer, "__name__", repr(clusterer))  # the same in every process


EVERY = pytest.mark.parametrize("clusterer", CLUSTERERS, ids=name_of)


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
    return tuple(sizes), is_given, draw(st.integers(0, 1000))


@settings(max_examples=80)
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
    tree = discover(proxies, [10], given=catalogue, clusterer=KMeans(seed=4))
    column = tree.class_labels[:, 1]
    next_number = 0
    for node in range(3):
        members = catalogue.members(1, node)
        found = np.unique(column[members])
        assert found.tolist() == list(range(next_number, next_number + len(found)))
        alone = KMeans(seed=4)(proxies[members], len(found), spherical=True)
        np.testing.assert_array_equal(column[members], alone + next_number)
        next_number += len(found)


def test_a_level_clusters_the_means_of_the_level_below_it():
    proxies = proxies_of(60)
    catalogue = random_tree((60, 25), np.random.default_rng(1))
    for given_tree, sizes in ((None, (25, 6)), (catalogue, (6,))):
        tree = discover(proxies, sizes, given=given_tree)
        directions = torch.nn.functional.normalize(proxies)
        means = group_means(directions, torch.tensor(tree.class_labels[:, 1]), 25)
        np.testing.assert_array_equal(tree.parents(1), KMeans()(means, 6, spherical=True))


def test_nothing_to_discover():
    assert discover(proxies_of(9), ()) == Hierarchy.flat(9)
    named = Hierarchy.from_paths(["a/1", "a/2", "b/1"])
    found = discover(proxies_of(3), [], given=named)
    np.testing.assert_array_equal(found.class_labels, named.class_labels)


def test_auto_is_one_level_of_the_default_size():
    assert discover(proxies_of(50), "auto").sizes == (50, 12)


def test_a_parameter_in_half_precision_is_clustered_as_its_values():
    proxies = proxies_of(30)
    half = torch.nn.Parameter(proxies.half())
    assert discover(half, (5,)) == discover(proxies.half().float(), (5,))


# ---------------------------------------------------------------- what changes nothing
@pytest.mark.parametrize("clusterer", CLUSTERERS[:-1], ids=name_of)
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
    arguments = {"given": catalogue, "clusterer": clusterer}
    first = discover(proxies, (20, 8), **arguments)
    torch.manual_seed(1)
    np.random.seed(1)  # noqa: NPY002
    assert discover(proxies, (20, 8), **arguments) == first


def test_the_seed_counts():
    proxies = proxies_of(50, 8)
    found = [discover(proxies, (10, 4), clusterer=KMeans(seed=seed)) for seed in (3, 3, 4)]
    assert found[0] == found[1] != found[2]


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


@EVERY
@pytest.mark.parametrize("has_centroids", [False, True])
def test_superclasses_of_a_given_class_may_have_any_numbers(clusterer, has_centroids):
    """As those of a tree that was given, which need not be in a row."""
    proxies, catalogue = proxies_of(60, 8), random_tree((60, 3), np.random.default_rng(0))
    labels = discover(proxies, 8, given=catalogue, clusterer=clusterer).class_labels.copy()
    labels[:, 1] = np.array([4, 1, 7, 0, 2, 6, 5, 3])[labels[:, 1]]
    first, centroids = Hierarchy(labels), None
    if has_centroids:
        centroids = [group_means(proxies, torch.tensor(labels[:, 1]), 8), torch.zeros(3, 8)]
    nearly = proxies + 1e-4 * proxies_of(60, 8, seed=1)
    options = {"given": catalogue, "centroids": centroids, "clusterer": clusterer}
    second = discover(nearly, 8, previous=first, **options)
    assert (first.class_labels == second.class_labels).mean() > 0.9


def test_numbers_are_matched_by_the_largest_overlap():
    proxies = torch.tensor([[0.0], [0.1], [0.2], [9.0], [9.1], [20.0]])
    # class 2 was with 3 and 4: most of them stay together, and keep the number 2
    previous = Hierarchy.from_parents([[1, 1, 2, 2, 2, 0]])
    tree = discover(proxies, [3], False, previous, clusterer="agglomerative")
    assert tree.class_labels[:, 1].tolist() == [1, 1, 1, 2, 2, 0]


@EVERY
def test_a_first_update_has_no_numbers_to_match(monkeypatch, clusterer):
    """The matrix of overlaps has as many entries as superclasses squared: gigabytes, for many."""
    expected = discover(proxies_of(60), (20, 8), clusterer=clusterer)
    monkeypatch.setattr(superclasses, "_matched", None)
    assert discover(proxies_of(60), (20, 8), clusterer=clusterer) == expected


def test_kmeans_starts_from_the_centroids():
    proxies, step = proxies_of(60), KMeansStep()
    centroids = [proxies_of(20, seed=1), proxies_of(6, seed=2)]
    tree = discover(proxies, (20, 6), False, centroids=centroids, clusterer=step)
    first = step(proxies, 20, centroids[0])
    np.testing.assert_array_equal(tree.class_labels[:, 1], first)
    means = group_means(proxies, first, 20)
    np.testing.assert_array_equal(tree.parents(1), step(means, 6, centroids[1]))


def test_the_centroids_of_a_given_class_are_its_own():
    proxies = torch.tensor([[0.0], [1.0], [2.0], [10.0], [11.0], [12.0]])
    catalogue = Hierarchy.from_parents([[0, 0, 0, 1, 1, 1]])
    centroids = [torch.tensor([[2.0], [0.4], [12.0], [10.4]]), torch.zeros(2, 1)]
    tree = discover(
        proxies, [4], False, given=catalogue, centroids=centroids, clusterer="kmeans_step"
    )
    assert tree.class_labels[:, 1].tolist() == [1, 1, 0, 3, 3, 2]
