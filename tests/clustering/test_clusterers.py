"""What holds for every clusterer: valid clusters, whatever the points, their order and number."""

import pickle

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.cluster import AgglomerativeClustering
from sklearn.cluster import KMeans as TheirKMeans
from sklearn.datasets import make_blobs
from sklearn.metrics import adjusted_rand_score

from pml_hierarchical import clustering
from pml_hierarchical.clustering import Agglomerative, Clusterer, FromFunction, KMeans, KMeansStep


def by_scikit_learn(points, num_clusters):
    return TheirKMeans(num_clusters, n_init=1, random_state=0).fit_predict(points)


BUILT_IN = [
    KMeans(),
    KMeans(balance=1),
    KMeansStep(),
    KMeansStep(balance=1.3),
    *[Agglomerative(linkage) for linkage in ("average", "complete", "single", "ward")],
]
EVERY = pytest.mark.parametrize("clusterer", BUILT_IN, ids=repr)


@st.composite
def problems(draw, smallest=2):
    """Points, how many clusters, whether spherical, and maybe centroids."""
    n = draw(st.integers(smallest, 24))
    num_clusters = draw(st.integers(1, n))
    rng = np.random.default_rng(draw(st.integers(0, 1000)))
    points = rng.normal(size=(n, 3)).astype(np.float32)
    kind = draw(st.sampled_from(["different", "duplicates", "one point", "with zeros"]))
    if kind == "duplicates":  # maybe fewer different points than clusters
        points = points[rng.integers(2, size=n)]
    elif kind == "one point":
        points[:] = points[0]
    elif kind == "with zeros":
        points[: n // 2] = 0
    warm = draw(st.booleans())
    centroids = rng.normal(size=(num_clusters, 3)).astype(np.float32) if warm else None
    return points, num_clusters, draw(st.booleans()), centroids


@EVERY
@settings(max_examples=30, deadline=None)
@given(problem=problems())
def test_every_number_of_clusters_is_reached(clusterer, problem):
    points, num_clusters, spherical, centroids = problem
    before = points.copy()
    labels = clusterer.cluster(points, num_clusters, spherical=spherical, centroids=centroids)
    assert labels.shape == (len(points),)
    assert labels.dtype == np.int64
    assert np.unique(labels).tolist() == list(range(num_clusters))
    np.testing.assert_array_equal(points, before)
    again = clusterer.cluster(points, num_clusters, spherical=spherical, centroids=centroids)
    np.testing.assert_array_equal(labels, again)


@pytest.mark.parametrize("spherical", [True, False])
@pytest.mark.parametrize("clusterer", [*BUILT_IN, FromFunction(by_scikit_learn)], ids=repr)
def test_the_order_of_the_points_changes_nothing(clusterer, spherical):
    rng = np.random.default_rng(0)
    for size, num_clusters in ((60, 9), (30, 20), (200, 3)):
        points = rng.normal(size=(size, 6)).astype(np.float32)
        for centroids in (None, rng.normal(size=(num_clusters, 6)).astype(np.float32)):
            arguments = {"spherical": spherical, "centroids": centroids, "seed": 3}
            labels = clusterer.cluster(points, num_clusters, **arguments)
            order = rng.permutation(size)
            shuffled = clusterer.cluster(points[order], num_clusters, **arguments)
            np.testing.assert_array_equal(shuffled, labels[order])


@EVERY
def test_only_directions_count_where_spherical(clusterer):
    rng = np.random.default_rng(1)
    points = rng.normal(size=(80, 5)).astype(np.float32)
    scaled = points * 2.0 ** rng.integers(-60, 60, size=(80, 1)).astype(np.float32)
    labels = clusterer.cluster(points, 9, spherical=True)
    np.testing.assert_array_equal(clusterer.cluster(scaled, 9, spherical=True), labels)
    scaled = points * rng.uniform(0.1, 9, size=(80, 1)).astype(np.float32)
    assert (clusterer.cluster(scaled, 9, spherical=False) != labels).any()


@EVERY
@pytest.mark.parametrize("spherical", [True, False])
def test_blobs_are_found(clusterer, spherical):
    points, truth = make_blobs([20] * 6, n_features=8, cluster_std=0.3, random_state=2)
    for seed in range(3):
        labels = clusterer.cluster(points, 6, spherical=spherical, seed=seed)
        assert adjusted_rand_score(labels, truth) == 1.0


def test_agrees_with_the_kmeans_of_scikit_learn():
    points, _ = make_blobs(200, n_features=5, centers=7, cluster_std=0.5, random_state=0)
    theirs = TheirKMeans(7, n_init=10, random_state=0).fit_predict(points)
    for seed in range(4):
        ours = KMeans().cluster(points, 7, spherical=False, seed=seed)
        assert adjusted_rand_score(ours, theirs) == 1.0


@pytest.mark.parametrize("spherical", [True, False])
@pytest.mark.parametrize("linkage", ["average", "complete", "single", "ward"])
def test_agrees_with_the_agglomerative_clustering_of_scikit_learn(linkage, spherical):
    points = np.random.default_rng(4).normal(size=(50, 4)).astype(np.float32)
    metric = "cosine" if spherical and linkage != "ward" else "euclidean"
    unit = points / np.linalg.norm(points, axis=1, keepdims=True) if spherical else points
    theirs = AgglomerativeClustering(8, metric=metric, linkage=linkage).fit_predict(unit)
    ours = Agglomerative(linkage).cluster(points, 8, spherical=spherical)
    assert adjusted_rand_score(ours, theirs) == 1.0


@pytest.mark.parametrize("clusterer", [*BUILT_IN, FromFunction(by_scikit_learn)], ids=repr)
def test_pickles(clusterer):
    copy = pickle.loads(pickle.dumps(clusterer))
    assert copy == clusterer
    points = np.random.default_rng(0).normal(size=(20, 3))
    labels = clusterer.cluster(points, 4, spherical=True)
    np.testing.assert_array_equal(copy.cluster(points, 4, spherical=True), labels)


def test_a_function_gets_unit_vectors_where_spherical():
    seen = []

    def function(points, num_clusters):
        seen.append(points)
        return [0, 1, *[0] * (len(points) - 2)]

    clusterer = clustering.get_clusterer(function)
    points = np.random.default_rng(0).normal(size=(10, 3))
    assert np.bincount(clusterer.cluster(points, 2, spherical=True)).tolist() == [9, 1]
    np.testing.assert_allclose(np.linalg.norm(seen[0], axis=1), 1, rtol=1e-6)
    clusterer.cluster(points, 2, spherical=False)
    assert sorted(map(tuple, seen[1])) == sorted(map(tuple, points.astype(np.float32)))
    assert sorted(clusterer.cluster(points[:3], 3, spherical=True)) == [0, 1, 2]
    assert clusterer.cluster(points, 1, spherical=True).tolist() == [0] * 10
    assert len(seen) == 2  # nothing to ask in the two last


def test_get_clusterer():
    assert clustering.get_clusterer("kmeans") == KMeans()
    assert clustering.get_clusterer("kmeans_step") == KMeansStep()
    assert clustering.get_clusterer("agglomerative") == Agglomerative()
    mine = KMeans(balance=2)
    assert clustering.get_clusterer(mine) is mine
    assert clustering.get_clusterer(by_scikit_learn) == FromFunction(by_scikit_learn)
    assert repr(FromFunction(by_scikit_learn)) == "FromFunction(by_scikit_learn)"


class Constant(Clusterer):
    def __init__(self, answer):
        self.answer = answer

    def assign(self, points, num_clusters, *, spherical, centroids, seed):
        return self.answer

    def __repr__(self):
        return "Constant"


@pytest.mark.parametrize(
    ("answer", "error", "message"),
    [
        ([0, 1, 0], ValueError, r"Constant .*shape \(4,\), but returned shape \(3,\)"),
        (np.zeros((4, 1), int), ValueError, r"returned shape \(4, 1\)"),
        (None, ValueError, r"returned shape \(\)"),
        ([0.0, 1.0, 0.0, 1.0], TypeError, "Constant .*dtype float64"),
        ([True, False, True, False], TypeError, "Constant .*dtype bool"),
        ([0, 1, 2, 1], ValueError, r"0\.\.1 .*labels in 0\.\.2"),
        ([0, 1, -1, 1], ValueError, r"0\.\.1 .*labels in -1\.\.1"),
        ([1, 1, 1, 1], ValueError, "Constant .*no point of cluster 0 .1 clusters instead of 2"),
    ],
)
def test_bad_answers(answer, error, message):
    with pytest.raises(error, match=message):
        Constant(answer).cluster(np.eye(4), 2, spherical=True)


POINTS = np.eye(4, dtype=np.float32)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: KMeans(iterations=0), ValueError, "iterations .*got 0"),
        (lambda: KMeans(warm_iterations=0), ValueError, "warm_iterations .*got 0"),
        (lambda: KMeans(restarts=1.5), ValueError, "restarts .*got 1.5"),
        (lambda: KMeans(iterations=True), ValueError, "iterations .*got True"),
        (lambda: KMeans(balance=0.9), ValueError, "balance .*got 0.9"),
        (lambda: KMeans(balance="1"), ValueError, "balance .*got '1'"),
        (lambda: KMeans(balance=float("nan")), ValueError, "balance .*got nan"),
        (lambda: KMeansStep(balance=True), ValueError, "balance .*got True"),
        (lambda: Agglomerative("median"), ValueError, "average, complete.*got 'median'"),
        (lambda: FromFunction(3), TypeError, "callable .*got 3"),
        (lambda: clustering.get_clusterer("k-means"), ValueError, "'kmeans_step'.*got 'k-means'"),
        (lambda: clustering.get_clusterer(None), TypeError, "'agglomerative'.*got None"),
        (lambda: clustering.get_clusterer(KMeans), TypeError, r"class KMeans: .*KMeans\("),
        (lambda: KMeans().cluster(POINTS, 5, spherical=True), ValueError, r"1\.\.4.*got 5"),
        (lambda: KMeans().cluster(POINTS, 0, spherical=True), ValueError, r"1\.\.4.*got 0"),
        (lambda: KMeans().cluster(POINTS, 2.0, spherical=True), TypeError, "integer, got 2.0"),
        (lambda: KMeans().cluster(POINTS, True, spherical=True), TypeError, "integer, got True"),
        (lambda: KMeans().cluster(POINTS[0], 2, spherical=True), ValueError, r"shape \(4,\)"),
        (lambda: KMeans().cluster(POINTS[:0], 2, spherical=True), ValueError, r"shape \(0, 4\)"),
        (lambda: KMeans().cluster(POINTS * np.nan, 2, spherical=True), ValueError, "row 0"),
        (
            lambda: KMeans().cluster(POINTS, 2, spherical=True, centroids=POINTS),
            ValueError,
            r"\(2, 4\), got \(4, 4\)",
        ),
        (
            lambda: KMeans().cluster(POINTS, 2, spherical=True, centroids=POINTS[:2] + np.inf),
            ValueError,
            "centroids hold NaN or infinite",
        ),
    ],
)
def test_bad_input(call, error, message):
    with pytest.raises(error, match=message):
        call()
