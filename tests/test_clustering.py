import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.cluster import KMeans
from sklearn.datasets import make_blobs
from sklearn.metrics import adjusted_rand_score

from pml_hierarchical import clustering


@settings(max_examples=40, deadline=None)
@given(
    num_points=st.integers(3, 40),
    seed=st.integers(0, 1000),
    spherical=st.booleans(),
    duplicates=st.booleans(),
    data=st.data(),
)
def test_every_number_of_clusters_is_reached(num_points, seed, spherical, duplicates, data):
    num_clusters = data.draw(st.integers(2, num_points - 1))
    points = np.random.default_rng(seed).normal(size=(num_points, 4)).astype(np.float32)
    if duplicates:  # fewer different points than clusters
        points[:] = points[:2].repeat(num_points // 2 + 1, axis=0)[:num_points]
    assignment = clustering.kmeans(points, num_clusters, spherical, seed=seed)
    assert assignment.shape == (num_points,)
    assert np.bincount(assignment, minlength=num_clusters).min() >= 1
    again = clustering.kmeans(points, num_clusters, spherical, seed=seed)
    np.testing.assert_array_equal(assignment, again)


def test_finds_what_scikit_learn_finds():
    points, _ = make_blobs(200, n_features=5, centers=7, cluster_std=0.5, random_state=0)
    ours = clustering.kmeans(points.astype(np.float32), 7, spherical=False)
    theirs = KMeans(7, n_init=10, random_state=0).fit_predict(points)
    assert adjusted_rand_score(ours, theirs) == 1.0


def test_spherical_clusters_go_by_direction_alone():
    rng = np.random.default_rng(0)
    points = rng.normal(size=(80, 5)).astype(np.float32)
    scales = rng.uniform(0.01, 100, size=(80, 1)).astype(np.float32)
    unscaled = clustering.kmeans(points, 9, spherical=True)
    np.testing.assert_array_equal(clustering.kmeans(points * scales, 9, spherical=True), unscaled)
    assert (clustering.kmeans(points * scales, 9, spherical=False) != unscaled).any()


def test_warm_start_keeps_the_numbers_of_the_clusters():
    torch.manual_seed(0)
    proxies = torch.randn(50, 8)
    first = clustering.discover(proxies, (10, 4))
    second = clustering.discover(proxies + 1e-4 * torch.randn(50, 8), (10, 4), previous=first)
    assert (first.class_labels == second.class_labels).mean() > 0.98


def test_levels_are_nested_and_deterministic():
    torch.manual_seed(0)
    proxies = torch.randn(50, 8)
    tree = clustering.discover(proxies, (10, 4), seed=3)  # Hierarchy itself checks the nesting
    assert tree.sizes == (50, 10, 4)
    assert tree == clustering.discover(proxies, (10, 4), seed=3)
    assert tree != clustering.discover(proxies, (10, 4), seed=4)


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 30), st.integers(1, 5), st.integers(0, 100))
def test_group_means_against_a_loop(num_points, num_groups, seed):
    rng = np.random.default_rng(seed)
    assignment = np.concatenate([np.arange(num_groups), rng.integers(num_groups, size=num_points)])
    points = rng.normal(size=(len(assignment), 3))
    means = clustering.group_means(points, assignment, num_groups)
    for group in range(num_groups):
        np.testing.assert_allclose(means[group], points[assignment == group].mean(axis=0))


def test_proxies_that_are_not_finite():
    with pytest.raises(ValueError, match="NaN or infinite"):
        clustering.discover(torch.full((5, 2), float("nan")), (2,))


@pytest.mark.parametrize(("num_classes", "expected"), [(3, 2), (41, 6), (100, 10), (11318, 106)])
def test_default_number_of_superclasses(num_classes, expected):
    assert clustering.default_num_superclasses(num_classes) == expected
