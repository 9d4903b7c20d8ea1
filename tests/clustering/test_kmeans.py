"""k-means in particular: the literal step, warm starts, bounded sizes, means."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.datasets import make_blobs
from sklearn.metrics import adjusted_rand_score
from sklearn.preprocessing import normalize

from pml_hierarchical.clustering import KMeans, KMeansStep
from pml_hierarchical.clustering.base import canonical_order
from pml_hierarchical.clustering.nearest import capacity_of, nearest_below_capacity


def means_of(points, assignment, num_groups):
    """An oracle for group_means."""
    assignment = np.asarray(assignment)
    groups = [points[assignment == group] for group in range(num_groups)]
    return np.stack([group.astype(np.float64).mean(axis=0) for group in groups]).astype(
        points.dtype
    )


@pytest.mark.parametrize("spherical", [True, False])
@pytest.mark.parametrize("seed", range(5))
def test_the_step_is_the_nearest_centroid_and_nothing_else(spherical, seed):
    rng = np.random.default_rng(seed)
    points = rng.normal(size=(100, 4)).astype(np.float32)
    centroids = (rng.normal(size=(6, 4)) * rng.uniform(0.6, 1.2, size=(6, 1))).astype(np.float32)
    expected = []
    for point in points:
        if spherical:
            found = [-point @ c / np.linalg.norm(c) for c in centroids]
        else:
            found = [np.linalg.norm(point - c) for c in centroids]
        expected.append(int(np.argmin(found)))
    assert len(set(expected)) == 6  # else the step has empty clusters to fill
    step = KMeansStep()(points, 6, spherical=spherical, centroids=centroids)
    assert step.tolist() == expected
    whole = KMeans()(points, 6, spherical=spherical, centroids=centroids)
    assert whole.tolist() != expected
    assert (
        KMeansStep(balance=6)(points, 6, spherical=spherical, centroids=centroids).tolist()
        == expected
    )


@pytest.mark.parametrize("spherical", [True, False])
def test_a_warm_start_takes_as_many_steps_as_it_is_told(spherical):
    rng = np.random.default_rng(3)
    points = rng.normal(size=(400, 4)).astype(np.float32)
    points = normalize(points) if spherical else points
    start = centroids = points[:6]
    for count in range(1, 8):
        labels = KMeansStep()(points, 6, spherical=spherical, centroids=centroids)
        centroids = means_of(points, labels, 6)
        last = KMeansStep()(points, 6, spherical=spherical, centroids=centroids)
        assert (last != labels).any()
        found = KMeans(iterations=1, warm_iterations=count)(
            points, 6, spherical=spherical, centroids=start
        )
        np.testing.assert_array_equal(found, last)


def test_the_first_step_is_a_whole_kmeans():
    points = np.random.default_rng(0).normal(size=(50, 4))
    step = KMeansStep(seed=2)(points, 7, spherical=True)
    np.testing.assert_array_equal(step, KMeans(seed=2)(points, 7, spherical=True))
    assert (step != KMeans(seed=3)(points, 7, spherical=True)).any()


def test_an_empty_cluster_takes_the_farthest_point():
    points = np.array([[0.0], [1.0], [7.0], [2.0]])
    centroids = np.array([[1.0], [50.0]])
    step = KMeansStep()(points, 2, spherical=False, centroids=centroids)
    assert step.tolist() == [0, 0, 1, 0]


@pytest.mark.parametrize("spherical", [True, False])
def test_converges_to_the_means_of_its_clusters(spherical):
    points = np.random.default_rng(5).normal(size=(60, 3)).astype(np.float32)
    labels = KMeans(iterations=100)(points, 5, spherical=spherical)
    used = normalize(points) if spherical else points
    means = means_of(used, labels, 5)
    step = KMeansStep()(points, 5, spherical=spherical, centroids=means)
    np.testing.assert_array_equal(step, labels)


@pytest.mark.parametrize("clusterer", [KMeans(), KMeans(balance=1), KMeansStep()], ids=repr)
def test_clusters_keep_the_numbers_of_the_centroids(clusterer):
    points, truth = make_blobs([9] * 12, n_features=6, cluster_std=0.2, random_state=0)
    means = means_of(points, truth, 12)
    found = clusterer(points, 12, spherical=False, centroids=means)
    np.testing.assert_array_equal(found, truth)


def test_more_restarts_are_never_worse():
    points = np.random.default_rng(0).normal(size=(150, 5)).astype(np.float32)

    def inertia(restarts, spherical):
        labels = KMeans(restarts=restarts)(points, 15, spherical=spherical)
        used = normalize(points) if spherical else points
        means = means_of(used, labels, 15)
        return ((used - means[labels]) ** 2).sum()

    for spherical in (True, False):
        best = inertia(20, spherical)
        assert best < 0.995 * inertia(1, spherical)


# ---------------------------------------------------------------- bounded sizes
@settings(max_examples=50)
@given(
    n=st.integers(2, 40),
    balance=st.sampled_from([1, 1.0, 1.1, 1.5, 3]),
    spherical=st.booleans(),
    warm=st.booleans(),
    duplicates=st.booleans(),
    seed=st.integers(0, 1000),
    data=st.data(),
)
@pytest.mark.parametrize("kind", [KMeans, KMeansStep])
def test_the_bound_holds(kind, n, balance, spherical, warm, duplicates, seed, data):
    num_clusters = data.draw(st.integers(1, n))
    rng = np.random.default_rng(seed)
    points = rng.normal([5, 0], size=(n, 2)).astype(np.float32)  # hence lopsided
    if duplicates:
        points = points[rng.integers(2, size=n)]
    centroids = rng.normal(size=(num_clusters, 2)) if warm else None
    clusterer = kind(balance=balance)
    labels = clusterer(points, num_clusters, spherical=spherical, centroids=centroids)
    sizes = np.bincount(labels, minlength=num_clusters)
    assert sizes.min() >= 1
    assert sizes.max() <= math.ceil(balance * n / num_clusters)


def test_a_bound_that_holds_already_changes_nothing():
    points = np.random.default_rng(0).normal(size=(60, 4))
    free = KMeans()(points, 5, spherical=True)
    share = np.bincount(free).max() / (60 / 5)
    bounded = KMeans(balance=share)(points, 5, spherical=True)
    np.testing.assert_array_equal(bounded, free)
    tighter = KMeans(balance=1)(points, 5, spherical=True)
    assert np.bincount(tighter).tolist() == [12] * 5
    assert adjusted_rand_score(tighter, free) > 0.4  # moved, not dealt out anew


def test_the_nearest_points_go_first():
    points = np.array([[0.3], [0.1], [0.2], [5.0]])
    centroids = np.array([[0.0], [6.0]])
    found = nearest_below_capacity(points, centroids, spherical=False, capacity=2)
    assert found.tolist() == [1, 0, 0, 1]


def test_capacity_is_rounded_up_as_by_hand():
    for hundredths in range(100, 300, 7):
        for n in range(1, 60):
            for num_clusters in range(1, n + 1):
                exact = -(-hundredths * n // (100 * num_clusters))
                assert capacity_of(n, num_clusters, hundredths / 100) == exact


def test_from_the_means_of_the_truth_the_truth_is_found_under_its_own_numbers():
    points, truth = make_blobs([9] * 5, n_features=6, cluster_std=0.2, random_state=0)
    for spherical in (True, False):
        starts = normalize(points) if spherical else points
        centroids = means_of(starts, truth, 5)
        found = KMeans()(points, 5, spherical=spherical, centroids=centroids)
        np.testing.assert_array_equal(found, truth)


def test_many_points_are_sampled_and_all_assigned():
    points, truth = make_blobs(
        6000, n_features=8, centers=4, cluster_std=0.5, center_box=(-20, 20), random_state=1
    )
    found = KMeans()(points.astype(np.float32), 4, spherical=False)
    assert adjusted_rand_score(truth, found) == 1.0


def test_huge_points_are_finite():
    points = np.full((4, 3), 3e38, dtype=np.float32)
    points[2:] *= -1
    with np.errstate(over="ignore"):
        assert not np.isfinite(points[:2].sum())
    found = KMeans()(points, 2, spherical=True)
    assert found[0] == found[1] != found[2] == found[3]


def test_canonical_order_does_not_depend_on_the_order_of_the_rows():
    rng = np.random.default_rng(0)
    for distinct in (200, 3):  # with rows that agree in their first columns
        points = rng.normal(size=(200, 5)).astype(np.float32)
        points[:, :2] = points[rng.integers(distinct, size=200), :2]
        shuffled = points[rng.permutation(200)]
        np.testing.assert_array_equal(
            points[canonical_order(points)], shuffled[canonical_order(shuffled)]
        )
    one_column = rng.normal(size=(9, 1)).astype(np.float32)
    assert sorted(canonical_order(one_column)) == list(range(9))
