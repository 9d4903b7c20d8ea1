"""What holds for every clusterer: valid clusters, whatever the points, their order and number."""

import pickle
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.cluster import AgglomerativeClustering
from sklearn.cluster import KMeans as TheirKMeans
from sklearn.datasets import make_blobs
from sklearn.metrics import adjusted_rand_score

import pml_hierarchical
from pml_hierarchical import clustering
from pml_hierarchical.clustering import Agglomerative, KMeans, KMeansStep


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
@settings(max_examples=30)
@given(problem=problems())
def test_every_number_of_clusters_is_reached(clusterer, problem):
    points, num_clusters, spherical, centroids = problem
    before = points.copy()
    labels = clusterer(points, num_clusters, spherical=spherical, centroids=centroids)
    assert labels.shape == (len(points),)
    assert labels.dtype == torch.int64
    assert np.unique(labels).tolist() == list(range(num_clusters))
    np.testing.assert_array_equal(points, before)
    again = clusterer(points, num_clusters, spherical=spherical, centroids=centroids)
    np.testing.assert_array_equal(labels, again)


@pytest.mark.parametrize("spherical", [True, False])
@pytest.mark.parametrize("clusterer", BUILT_IN, ids=repr)
def test_the_order_of_the_points_changes_nothing(clusterer, spherical):
    rng = np.random.default_rng(0)
    for size, num_clusters in ((60, 9), (30, 20), (200, 3)):
        points = rng.normal(size=(size, 6)).astype(np.float32)
        for centroids in (None, rng.normal(size=(num_clusters, 6)).astype(np.float32)):
            arguments = {"spherical": spherical, "centroids": centroids}
            labels = clusterer(points, num_clusters, **arguments)
            order = rng.permutation(size)
            shuffled = clusterer(points[order], num_clusters, **arguments)
            np.testing.assert_array_equal(shuffled, labels[order])


@EVERY
def test_only_directions_count_where_spherical(clusterer):
    rng = np.random.default_rng(1)
    points = rng.normal(size=(80, 5)).astype(np.float32)
    scaled = points * 2.0 ** rng.integers(-60, 60, size=(80, 1)).astype(np.float32)
    labels = clusterer(points, 9, spherical=True)
    np.testing.assert_array_equal(clusterer(scaled, 9, spherical=True), labels)
    scaled = points * rng.uniform(0.1, 9, size=(80, 1)).astype(np.float32)
    assert (clusterer(scaled, 9, spherical=False) != labels).any()


@EVERY
@pytest.mark.parametrize("spherical", [True, False])
def test_blobs_are_found(clusterer, spherical):
    points, truth = make_blobs([20] * 6, n_features=8, cluster_std=0.3, random_state=2)
    assert adjusted_rand_score(clusterer(points, 6, spherical=spherical), truth) == 1.0


def test_agrees_with_the_kmeans_of_scikit_learn():
    points, _ = make_blobs(200, n_features=5, centers=7, cluster_std=0.5, random_state=0)
    theirs = TheirKMeans(7, n_init=10, random_state=0).fit_predict(points)
    for seed in range(4):
        ours = KMeans(seed=seed)(points, 7, spherical=False)
        assert adjusted_rand_score(ours, theirs) == 1.0


@pytest.mark.parametrize("spherical", [True, False])
@pytest.mark.parametrize("linkage", ["average", "complete", "single", "ward"])
def test_agrees_with_the_agglomerative_clustering_of_scikit_learn(linkage, spherical):
    points = np.random.default_rng(4).normal(size=(50, 4)).astype(np.float32)
    metric = "cosine" if spherical and linkage != "ward" else "euclidean"
    unit = points / np.linalg.norm(points, axis=1, keepdims=True) if spherical else points
    theirs = AgglomerativeClustering(8, metric=metric, linkage=linkage).fit_predict(unit)
    ours = Agglomerative(linkage)(points, 8, spherical=spherical)
    assert adjusted_rand_score(ours, theirs) == 1.0


@pytest.mark.parametrize("clusterer", BUILT_IN, ids=repr)
def test_pickles(clusterer):
    copy = pickle.loads(pickle.dumps(clusterer))
    assert copy == clusterer
    points = np.random.default_rng(0).normal(size=(20, 3))
    labels = clusterer(points, 4, spherical=True)
    np.testing.assert_array_equal(copy(points, 4, spherical=True), labels)


def test_get_clusterer():
    assert clustering.get_clusterer("kmeans") == KMeans()
    assert clustering.get_clusterer("kmeans_step") == KMeansStep()
    assert clustering.get_clusterer("agglomerative") == Agglomerative()
    mine = KMeans(balance=2)
    assert clustering.get_clusterer(mine) is mine
    assert clustering.get_clusterer(by_scikit_learn) is by_scikit_learn


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
        (lambda: clustering.get_clusterer(3), TypeError, "a function .*got 3"),
        (lambda: KMeans(seed=-1), ValueError, "seed .*got -1"),
        (lambda: KMeans(seed=1.0), ValueError, "seed .*got 1.0"),
        (lambda: clustering.get_clusterer("k-means"), ValueError, "'kmeans_step'.*got 'k-means'"),
        (lambda: clustering.get_clusterer(None), TypeError, "'agglomerative'.*got None"),
        (lambda: clustering.get_clusterer(KMeans), TypeError, r"class KMeans: .*KMeans\("),
        (lambda: KMeans()(POINTS, 5, spherical=True), ValueError, r"1\.\.4.*got 5"),
        (lambda: KMeans()(POINTS, 0, spherical=True), ValueError, r"1\.\.4.*got 0"),
        (lambda: KMeans()(POINTS, 2.0, spherical=True), TypeError, "integer, got 2.0"),
        (lambda: KMeans()(POINTS, True, spherical=True), TypeError, "integer, got True"),
        (lambda: KMeans()(POINTS[0], 2, spherical=True), ValueError, r"shape \(4,\)"),
        (lambda: KMeans()(POINTS[:0], 2, spherical=True), ValueError, r"shape \(0, 4\)"),
        (lambda: KMeans()(POINTS * np.nan, 2, spherical=True), ValueError, "row 0"),
        (
            lambda: KMeans()(POINTS, 2, spherical=True, centroids=POINTS),
            ValueError,
            r"\(2, 4\), got \(4, 4\)",
        ),
        (
            lambda: KMeans()(POINTS, 2, spherical=True, centroids=POINTS[:2] + np.inf),
            ValueError,
            "centroids hold NaN or infinite",
        ),
    ],
)
def test_bad_input(call, error, message):
    with pytest.raises(error, match=message):
        call()


# ---------------------------------------------------------------- values of any scale
SCALES = [1e30, 3e37, 1e20, 1e-20, 1e-30, 1e-37, 1e-41]


@EVERY
@pytest.mark.parametrize("spherical", [True, False])
@pytest.mark.parametrize("scale", SCALES)
def test_huge_and_tiny_values_are_clustered_as_others_are(clusterer, spherical, scale):
    points, truth = make_blobs([10] * 4, n_features=3, cluster_std=0.1, random_state=1)
    points = (points / np.abs(points).max() * scale).astype(np.float32)
    for centroids in (None, points[np.unique(truth, return_index=True)[1]]):
        found = clusterer(points, 4, centroids, spherical)
        assert adjusted_rand_score(found, truth) == 1.0


@pytest.mark.parametrize("clusterer", [KMeans(), KMeansStep(), KMeans(balance=1)], ids=repr)
def test_a_common_offset_changes_nothing(clusterer):
    # so many that faiss computes distances as |a|^2 + |b|^2 - 2ab
    points, truth = make_blobs([20] * 100, n_features=8, cluster_std=0.3, random_state=1)
    moved = (points * 0.01 + 1000).astype(np.float32)
    start = moved[np.unique(truth, return_index=True)[1]]
    assert clusterer(moved, 100, start).tolist() == truth.tolist()


@EVERY
@pytest.mark.parametrize("spherical", [True, False])
@pytest.mark.parametrize("value", [0.0, 1.0, 3e38, -1e-45])
def test_constant_points_are_dealt_out(clusterer, spherical, value):
    points = np.full((9, 4), value, dtype=np.float32)
    for centroids in (None, points[:5], np.eye(5, 4, dtype=np.float32) * 3e38):
        found = clusterer(points, 5, centroids, spherical)
        assert found.unique().tolist() == [0, 1, 2, 3, 4]


def test_values_at_both_ends_of_the_range():
    points = np.array([[3.4e38], [3.3e38], [-3.4e38], [-3.3e38], [0], [1e-45]], dtype=np.float32)
    for clusterer in BUILT_IN:
        found = clusterer(points, 3).tolist()
        assert found[0] == found[1] != found[2] == found[3] != found[4] == found[5] != found[0]


def test_agglomerative_takes_unit_vectors_for_directions():
    points = np.random.default_rng(4).normal(size=(50, 4)).astype(np.float32)
    unit = points / np.linalg.norm(points, axis=1, keepdims=True)
    unit[7] = 0
    for linkage in ("average", "complete"):
        clusterer = Agglomerative(linkage)
        directions = clusterer(unit, 8, spherical=True)
        assert torch.equal(clusterer(unit, 8), directions)
        assert not torch.equal(clusterer(points, 8), directions)


def test_what_clusters_is_imported_when_it_is_used():
    """Of all files of the package, since most users of the loss need none or one of these."""
    files = list(Path(pml_hierarchical.__file__).parent.rglob("*.py"))
    heavy = re.compile(r"^(?:import|from) (?:faiss|sklearn|scipy)\b.*", re.MULTILINE)
    found = {str(path): heavy.findall(path.read_text()) for path in files}
    assert len(found) > 20
    assert {path: lines for path, lines in found.items() if lines} == {}
