"""The calculator against brute force in float64, against PML, and against its own promises."""

import contextlib
import math
from concurrent.futures import ThreadPoolExecutor

import brute_force
import numpy as np
import pytest
import torch
from pml_by_level import RETRIEVAL, assert_close, pml
from pytorch_metric_learning import distances
from pytorch_metric_learning.utils.accuracy_calculator import AccuracyCalculator
from pytorch_metric_learning.utils.inference import CustomKNN, FaissKNN
from sklearn.metrics import average_precision_score

from pml_hierarchical import Hierarchy
from pml_hierarchical.accuracy import HierarchicalAccuracyCalculator, catalogue
from pml_hierarchical.core.hierarchical_accuracy_calculator import (
    HierarchicalAccuracyCalculator as CoreCalculator,
)

NO_CLUSTERING = ("NMI", "AMI")


def calculator(**kwargs):
    kwargs.setdefault("exclude", () if "include" in kwargs else NO_CLUSTERING)
    return HierarchicalAccuracyCalculator(device="cpu", **kwargs)


def tree_sample(num_samples=150, num_levels=3, seed=0, dtype=np.float64):
    """Clustered embeddings, and labels of classes of uneven size, some of a single sample."""
    rng = np.random.default_rng(seed)
    labels = [np.sort(rng.integers(0, num_samples // 4, num_samples))]
    for level in range(1, num_levels):
        labels.append(labels[-1] // (level + 2))
    labels = np.stack(labels, axis=1)
    embeddings = rng.standard_normal((num_samples, 8))
    for level in range(num_levels):
        embeddings += rng.standard_normal((labels.max() + 1, 8))[labels[:, level]] * 0.5
    order = rng.permutation(num_samples)
    return embeddings[order].astype(dtype), labels[order] * 7 - 5  # ids need not start at 0


@pytest.mark.parametrize("num_levels", [1, 2, 3])
@pytest.mark.parametrize("block_size", [None, 11])
def test_equal_to_brute_force(num_levels, block_size):
    embeddings, labels = tree_sample(num_levels=num_levels)
    lists = brute_force.ranked_lists(embeddings, labels, embeddings, labels, True)
    expected = brute_force.all_metrics(lists, num_levels)
    found = calculator(block_size=block_size).get_accuracy(embeddings, labels)
    assert found == pytest.approx(expected, abs=1e-9)


def test_equal_to_brute_force_in_a_gallery_apart():
    embeddings, labels = tree_sample(200)
    query, gallery = slice(0, 60), slice(60, 200)
    lists = brute_force.ranked_lists(
        embeddings[query], labels[query], embeddings[gallery], labels[gallery]
    )
    found = calculator().get_accuracy(
        embeddings[query], labels[query], embeddings[gallery], labels[gallery]
    )
    assert found == pytest.approx(brute_force.all_metrics(lists, 3), abs=1e-9)
    assert sum(calculator().get_accuracy(embeddings, labels)[k] != found[k] for k in found) > 10


def test_with_one_level_h_ap_is_the_average_precision_of_scikit_learn():
    embeddings, labels = tree_sample(100, num_levels=1)
    ours = calculator(include=("hierarchical_average_precision",))
    found = ours.get_accuracy(embeddings, labels)["hierarchical_average_precision"]
    distances, expected = np.linalg.norm(embeddings[:, None] - embeddings, axis=2), []
    for row, label in enumerate(labels[:, 0]):
        others = np.arange(100) != row
        same = labels[others, 0] == label
        if same.any():
            expected.append(average_precision_score(same, -distances[row, others]))
    assert found == pytest.approx(np.mean(expected))


# ------------------------------------------------------------------ PML
OPTIONS = [
    {},
    {"avg_of_avgs": True},
    {"return_per_class": True},
    {"k": 1},
    {"k": 7},
    {"k": "max_bin_count"},
    {"k": 7, "avg_of_avgs": True},
]


@pytest.mark.parametrize("options", OPTIONS, ids=str)
@pytest.mark.parametrize("normalised", [True, False])
def test_equal_to_pml(options, normalised):
    embeddings, labels = tree_sample(300, dtype=np.float32)
    if normalised:
        embeddings /= np.linalg.norm(embeddings, axis=1, keepdims=True)
    names = RETRIEVAL
    if options.get("k") == "max_bin_count":  # to PML the largest class of the level at hand
        names = ("precision_at_1", "r_precision", "mean_average_precision_at_r")
    found = calculator(include=names, **options).get_accuracy(embeddings, labels)
    assert_close(found, pml(embeddings, labels, include=names, **options))


def test_max_bin_count_is_that_of_pml():
    embeddings, labels = tree_sample(300, num_levels=1, dtype=np.float32)
    found = calculator(include=RETRIEVAL, k="max_bin_count").get_accuracy(embeddings, labels)
    assert_close(found, pml(embeddings, labels, k="max_bin_count"))
    assert found != calculator(include=RETRIEVAL).get_accuracy(embeddings, labels)


@pytest.mark.parametrize("options", OPTIONS[:3], ids=str)
@pytest.mark.parametrize("includes_query", [True, False])
def test_equal_to_pml_with_references(options, includes_query):
    embeddings, labels = tree_sample(300, dtype=np.float32)
    start = 0 if includes_query else 100
    arguments = (embeddings[:100], labels[:100], embeddings[start:], labels[start:])
    found = calculator(include=RETRIEVAL, **options).get_accuracy(*arguments, includes_query)
    expected = pml(*arguments, get={"ref_includes_query": includes_query}, **options)
    assert_close(found, expected)


def test_nmi_and_ami_are_those_of_pml():
    embeddings, labels = tree_sample(300, dtype=np.float32)

    def kmeans(x, num_clusters):
        return (x[:, 0] * 3).long() % num_clusters

    found = calculator(include=NO_CLUSTERING, kmeans_func=kmeans).get_accuracy(embeddings, labels)
    assert_close(found, pml(embeddings, labels, include=NO_CLUSTERING, kmeans_func=kmeans))
    as_numpy = calculator(include=NO_CLUSTERING, kmeans_func=lambda *x: kmeans(*x).numpy())
    assert as_numpy.get_accuracy(embeddings, labels) == found
    default = calculator(include=("NMI",)).get_accuracy(embeddings, labels)
    assert default == pytest.approx(pml(embeddings, labels, include=("NMI",)), abs=1e-9)


def test_a_drop_in_for_labels_without_levels():
    embeddings, labels = tree_sample(200, num_levels=1, dtype=np.float32)
    theirs = AccuracyCalculator(device=torch.device("cpu"))
    ours = HierarchicalAccuracyCalculator(device=torch.device("cpu"))
    expected = theirs.get_accuracy(torch.from_numpy(embeddings), torch.from_numpy(labels[:, 0]))
    found = ours.get_accuracy(torch.from_numpy(embeddings), torch.from_numpy(labels[:, 0]))
    assert {key: found[key] for key in expected} == pytest.approx(expected, abs=1e-6)
    assert set(theirs.get_curr_metrics()) <= set(ours.get_curr_metrics())
    assert ours.description() == theirs.description() == ""
    assert calculator(avg_of_avgs=True).description() == "avg_of_avgs"


def test_a_hierarchy_above_plain_labels():
    embeddings, labels = tree_sample(200)
    labels = np.stack([np.unique(c, return_inverse=True)[1] for c in labels.T], axis=1)
    tree = Hierarchy.from_labels(labels)
    found = calculator(hierarchy=tree).get_accuracy(embeddings, labels[:, 0])
    assert found == calculator().get_accuracy(embeddings, labels)
    assert found == calculator(hierarchy=tree).get_accuracy(embeddings, labels[:, :1])
    for form in (labels, tree.to_dict()):  # whatever Hierarchy.of takes
        assert found == calculator(hierarchy=form).get_accuracy(embeddings, labels[:, 0])


@pytest.mark.parametrize(
    "knn_func",
    [FaissKNN(), CustomKNN(distances.LpDistance(normalize_embeddings=False), batch_size=64)],
    ids=["faiss", "custom"],
)
def test_neighbours_of_a_function_of_pml(knn_func):
    embeddings, labels = tree_sample(200, dtype=np.float32)
    found = calculator(knn_func=knn_func, block_size=33).get_accuracy(embeddings, labels)
    assert found == pytest.approx(calculator().get_accuracy(embeddings, labels), abs=1e-9)


@pytest.mark.parametrize("dtypes", [("f8", "f4"), ("f4", "f8"), ("f2", "f4"), ("f8", "f2")])
@pytest.mark.parametrize("kind", ["faiss", "custom", "numpy"])
def test_a_knn_func_gets_one_dtype(dtypes, kind):
    embeddings, labels = tree_sample(200)
    custom = CustomKNN(distances.LpDistance(normalize_embeddings=False))

    def returns_numpy(*args):
        return tuple(x.numpy() for x in custom(*args))

    knn_func = {"faiss": FaissKNN(), "custom": custom, "numpy": returns_numpy}[kind]
    query, reference = embeddings[:80].astype(dtypes[0]), embeddings[80:].astype(dtypes[1])
    arguments = (query, labels[:80], reference, labels[80:])
    found = calculator(include=RETRIEVAL, knn_func=knn_func).get_accuracy(*arguments)
    expected = pml(*arguments, knn_func=FaissKNN() if kind == "numpy" else knn_func)
    assert_close(found, expected)


def test_distance():
    embeddings, labels = tree_sample(200)
    unit = embeddings / np.linalg.norm(embeddings, axis=1, keepdims=True)
    found = calculator(distance=distances.CosineSimilarity()).get_accuracy(embeddings, labels)
    assert found == pytest.approx(calculator().get_accuracy(unit, labels), abs=1e-9)
    assert found != calculator().get_accuracy(embeddings, labels)


# ------------------------------------------------------------------ which queries count
def test_queries_without_a_partner_are_left_out_and_counted():
    embeddings = np.array([[0.0], [0.1], [5.0], [9.0]])
    labels = np.array([[0, 0], [0, 0], [1, 0], [2, 1]])
    ours = calculator(include=("precision_at_1", "ndcg", "mistake_severity", "recall_at_2"))
    found = ours.get_accuracy(embeddings, labels)
    assert ours.num_lone_queries == {0: 2, 1: 1}
    assert found["precision_at_1_level0"] == 1.0
    assert found["precision_at_1_level1"] == pytest.approx(2 / 3)  # the nearest of 5.0 is 9.0
    assert math.isnan(found["mistake_severity"])  # no mistake among those that could be right


def test_no_partner_at_all(caplog):
    ours = calculator()
    found = ours.get_accuracy(np.eye(3), np.array([[0, 0], [1, 1], [2, 2]]))
    assert all(math.isnan(value) for value in found.values())
    assert "no query has a partner at level 1" in caplog.text
    per_class = calculator(include=("r_precision",), return_per_class=True)
    values = per_class.get_accuracy(np.eye(3), np.arange(3))["r_precision"]
    assert len(values) == 3
    assert all(map(math.isnan, values))
    alone = ours.get_accuracy(np.ones((1, 2)), np.array([[0, 0]]))
    assert all(math.isnan(value) for value in alone.values())


def test_duplicates_of_the_query_stay():
    """PML leaves out by index too, but only if its index returns the query among the first k."""
    embeddings = np.repeat(np.array([[1.0, 0], [0, 1]], dtype=np.float32), 40, axis=0)
    labels = np.repeat([0, 1], 40)
    found = calculator(include=("r_precision", "precision_at_1")).get_accuracy(embeddings, labels)
    assert found == {"r_precision": 1.0, "precision_at_1": 1.0}
    apart = calculator(include=("r_precision",))
    assert apart.get_accuracy(embeddings, labels, embeddings, labels) == {"r_precision": 1.0}


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_ties_go_to_the_smaller_index(dtype):
    same = np.ones((6, 4), dtype=dtype)
    labels = np.array([0, 0, 0, 1, 1, 1])
    lists = brute_force.ranked_lists(same, labels[:, None], same, labels[:, None], True)
    expected = brute_force.all_metrics(lists, 1)
    found = calculator(block_size=2).get_accuracy(same, labels)
    assert found == pytest.approx({k.replace("_level0", ""): v for k, v in expected.items()})


def test_label_ids_that_float32_would_merge():
    base = 2**24
    embeddings = np.array([[0.0], [0.1], [5.0], [5.1]], dtype=np.float32)
    labels = np.array([base, base + 1, base, base + 1])
    assert calculator(include=("precision_at_1",)).get_accuracy(embeddings, labels) == {
        "precision_at_1": 0.0
    }
    theirs = AccuracyCalculator(include=("precision_at_1",), device=torch.device("cpu"))
    assert theirs.get_accuracy(embeddings, labels)["precision_at_1"] == 1.0  # the trap
    huge = labels + 2**62
    assert calculator(include=("precision_at_1",)).get_accuracy(embeddings, huge) == {
        "precision_at_1": 0.0
    }


def test_k_beyond_the_gallery():
    embeddings, labels = tree_sample(60)
    names = ("recall_at_1000", "mistake_severity_at_1000", "hierarchical_precision_at_1000")
    area = "hierarchical_precision_area_at_1000"
    lists = brute_force.ranked_lists(embeddings, labels, embeddings, labels, True)
    expected = brute_force.all_metrics(lists, 3, ks=(1000,))
    found = calculator(include=(*names, area), k=1000).get_accuracy(embeddings, labels)
    assert found["recall_at_1000_level0"] == 1.0
    for name in names[1:]:
        assert found[name] == pytest.approx(expected[name])
    assert found[area] == pytest.approx(expected["hierarchical_precision_area_at_250"])


def test_too_small_a_k_warns(caplog):
    embeddings, labels = tree_sample(60)
    calculator(include=("r_precision",), k=2).get_accuracy(embeddings, labels)
    assert "k=2 is less than" in caplog.text


# ------------------------------------------------------------------ choosing metrics and levels
def test_include_exclude_and_any_k():
    embeddings, labels = tree_sample(60, num_levels=2)
    ours = calculator(include=("recall_at_3", "ndcg", "precision_at_5", "r_precision"))
    found = ours.get_accuracy(embeddings, labels, exclude=("r_precision",))
    assert set(found) == {f"{m}_at_{k}_level{n}" for m, k in (("recall", 3), ("precision", 5))
                          for n in (0, 1)} | {"ndcg"}  # fmt: skip
    assert ours.get_curr_metrics() == ["recall_at_3", "ndcg", "precision_at_5"]
    assert set(ours.get_accuracy(embeddings, labels, include=["mistake_severity"])) == {
        "mistake_severity"
    }
    assert "recall_at_4" in calculator(at_k=(2, 4)).get_curr_metrics()
    assert "recall_at_1" not in calculator(at_k=(2, 4)).get_curr_metrics()


def test_a_block_looks_up_no_signature(monkeypatch):
    """It takes as long as the metrics of a small block."""
    calculator = HierarchicalAccuracyCalculator(exclude=("NMI", "AMI"), block_size=1)
    labels = torch.arange(8)[:, None] // torch.tensor([2, 4])
    data = torch.arange(8.0)[:, None], labels
    found = calculator.get_accuracy(*data)
    monkeypatch.setattr(catalogue.inspect, "signature", None)
    assert calculator.get_accuracy(*data) == found


def test_negatives_for_whoever_takes_the_largest():
    embeddings, labels = tree_sample(60, num_levels=2)
    names = ("mistake_severity", "mistake_severity_at_5")
    found = calculator(include=(*names, *(f"neg_{n}" for n in names)))
    values = found.get_accuracy(embeddings, labels)
    assert all(values[f"neg_{name}"] == -values[name] != 0 for name in names)


def test_levels_to_evaluate():
    embeddings, labels = tree_sample(60)
    every = calculator().get_accuracy(embeddings, labels)
    some = calculator().get_accuracy(embeddings, labels, levels=[2, 0])
    assert set(some) == {key for key in every if "level1" not in key}
    assert some == {key: every[key] for key in some}
    with pytest.raises(ValueError, match=r"levels must be some of 0\.\.2"):
        calculator().get_accuracy(embeddings, labels, levels=[3])
    with pytest.raises(ValueError, match=r"levels must be some of 0\.\.2"):
        calculator().get_accuracy(embeddings, labels, levels=[])


def test_levels_that_are_not_nested():
    embeddings, labels = tree_sample(200, dtype=np.float32)
    labels[:, 1] = np.arange(200) % 3  # a fine class in several classes of level 1
    with pytest.raises(ValueError, match=r"class -5 of level 0 lies in two classes of level 1: 0"):
        calculator().get_accuracy(embeddings, labels)
    per_level = calculator(include=RETRIEVAL)
    assert_close(per_level.get_accuracy(embeddings, labels), pml(embeddings, labels))
    assert per_level.num_lone_queries.keys() == {0, 1, 2}


# ------------------------------------------------------------------ a metric of one's own
class WithOwnMetrics(HierarchicalAccuracyCalculator):
    def calculate_second_is_right(self, knn_labels, query_labels, **kwargs):
        return (knn_labels[:, 1] == query_labels).float()

    def calculate_num_clusters(self, query_labels, cluster_labels, **kwargs):
        return len(np.unique(cluster_labels)) / len(np.unique(query_labels))

    def requires_clustering(self):
        return [*super().requires_clustering(), "num_clusters"]


def test_own_metrics():
    embeddings, labels = tree_sample(100, num_levels=2)
    lists = brute_force.ranked_lists(embeddings, labels, embeddings, labels, True)
    ours = WithOwnMetrics(
        include=("second_is_right", "num_clusters", "ndcg"), device="cpu", block_size=13,
        kmeans_func=lambda x, n: torch.arange(len(x)) % n,
    )  # fmt: skip
    found = ours.get_accuracy(embeddings, labels)
    for level in (0, 1):
        least = 2 - level
        expected = [x[1] >= least for x in lists if any(v >= least for v in x)]
        assert found[f"second_is_right_level{level}"] == pytest.approx(np.mean(expected))
        assert found[f"num_clusters_level{level}"] == 1.0
    assert "second_is_right" in WithOwnMetrics(device="cpu").get_curr_metrics()
    assert ours.over_hierarchy() == ["ndcg"]


CPU = torch.device("cpu")


class OverHierarchy(HierarchicalAccuracyCalculator):
    """A metric over the hierarchy, as the core documents it."""

    def over_hierarchy(self):
        return [*super().over_hierarchy(), "shared"]

    def calculate_shared(self, query_labels, knn_labels, num_partners, **_):
        assert num_partners.shape == query_labels.shape
        return (knn_labels == query_labels[:, None]).double().mean(dim=(1, 2))


def test_own_metrics_over_the_hierarchy():
    class OfTheCore(CoreCalculator):
        calculate_shared = OverHierarchy.calculate_shared

        def over_hierarchy(self):
            return ["shared"]

    embeddings, labels = tree_sample(60, num_levels=2)
    data = torch.from_numpy(embeddings).float(), torch.from_numpy(labels)
    found = OverHierarchy(include=("shared",), k=5, device=CPU).get_accuracy(*data)
    expected = OfTheCore(include=("shared",), k=5, device=CPU).get_accuracy(*data)
    assert found == pytest.approx(expected)
    assert list(found) == ["shared"]


@pytest.mark.parametrize("kind", [HierarchicalAccuracyCalculator, CoreCalculator])
def test_what_was_not_found_is_no_neighbour(kind):
    """As an index of faiss says it that looks at some of its lists."""

    class Counting(kind):
        def calculate_found(self, query_labels, knn_labels, **_):
            return (knn_labels == query_labels[:, None]).sum(dim=1)

    def finds_two(query, k, reference, ref_includes_query):
        indices = torch.full((len(query), k), -1)
        indices[:, :3] = torch.stack([torch.arange(len(query)) + i for i in range(3)], 1) % 10
        return torch.zeros(indices.shape), indices

    counts = Counting(include=("found",), k=6, device=CPU, knn_func=finds_two)
    labels = torch.zeros(10, dtype=torch.int64)
    assert counts.get_accuracy(torch.randn(10, 3), labels) == {"found": 2.0}


def test_own_metrics_of_blocks_in_pieces(monkeypatch):
    monkeypatch.setattr("pml_hierarchical.accuracy.calculator._PIECE", 100)

    class Labels(HierarchicalAccuracyCalculator):
        def calculate_label(self, knn_labels, query_labels, **kwargs):
            return query_labels

    embeddings, labels = np.random.default_rng(0).standard_normal((60, 3)), np.arange(60) // 2
    ours = Labels(include=("label",), device="cpu", return_per_class=True)
    assert ours.get_accuracy(embeddings, labels)["label"] == list(range(30))
    both = np.stack([labels, np.zeros(60, dtype=int)], axis=1)  # 59 partners: a row is a piece
    assert ours.get_accuracy(embeddings, both)["label_level0"] == list(range(30))


@pytest.mark.parametrize("fails", [False, True])
def test_later_threads_have_as_many_of_torchs_as_before_an_evaluation(fails, monkeypatch):
    seen = []

    def ndcg(levels, level_counts, ranks):
        seen.append(torch.get_num_threads())
        if fails:
            raise ArithmeticError
        return torch.ones(len(levels))

    calculator = HierarchicalAccuracyCalculator(include=("ndcg",), device="cpu")
    monkeypatch.setitem(catalogue._FORMULAS, "ndcg", ndcg)
    usual = torch.get_num_threads()
    torch.set_num_threads(3)
    try:
        with pytest.raises(ArithmeticError) if fails else contextlib.nullcontext():
            calculator.get_accuracy(torch.eye(6), np.arange(6) // 2)
        with ThreadPoolExecutor(1) as pool:
            assert pool.submit(torch.get_num_threads).result() == torch.get_num_threads() == 3
    finally:
        torch.set_num_threads(usual)
    assert set(seen) == {1}


def test_own_metric_that_averages_by_itself():
    class Wrong(HierarchicalAccuracyCalculator):
        def calculate_mean(self, knn_labels, query_labels, **kwargs):
            return (knn_labels[:, 0] == query_labels).float().mean()

    with pytest.raises(TypeError, match=r"calculate_mean must return a tensor of shape \(10,\)"):
        Wrong(include=("mean",), device="cpu").get_accuracy(np.eye(10), np.zeros(10, dtype=int))


# ------------------------------------------------------------------ progress
@pytest.mark.parametrize("progress_bar", [True, False])
def test_progress_bar(progress_bar, monkeypatch, capsys):
    monkeypatch.setattr("pml_hierarchical.accuracy.calculator._QUICK", 0)
    embeddings, labels = tree_sample(60)
    calculator(progress_bar=progress_bar).get_accuracy(embeddings, labels)
    assert ("60/60" in capsys.readouterr().err) == progress_bar


def test_quick_evaluations_are_silent(capsys):
    embeddings, labels = tree_sample(60)
    calculator().get_accuracy(embeddings, labels)
    assert capsys.readouterr().err == ""
