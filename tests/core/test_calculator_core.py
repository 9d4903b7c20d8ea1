"""The calculator and tester of the core, without the plugin: against PML and brute force."""

import ast
import math
import sys
from pathlib import Path

import brute_force
import numpy as np
import pytest
import torch
from pml_by_level import RETRIEVAL, assert_close, pml
from pytorch_metric_learning import distances
from pytorch_metric_learning.testers import GlobalEmbeddingSpaceTester
from pytorch_metric_learning.utils.accuracy_calculator import AccuracyCalculator, precision_at_k
from pytorch_metric_learning.utils.inference import CustomKNN, FaissKNN

from pml_hierarchical.core import hierarchical_accuracy_calculator as core
from pml_hierarchical.core.hierarchical_accuracy_calculator import HierarchicalAccuracyCalculator
from pml_hierarchical.core.hierarchical_tester import HierarchicalTester

CPU = torch.device("cpu")


def sample(num_samples=150, seed=0):
    """Embeddings and labels of three levels; some classes have a single sample."""
    rng = np.random.default_rng(seed)
    fine = rng.integers(0, num_samples // 4, num_samples)
    labels = np.stack([fine, fine // 3, fine // 12], axis=1)
    embeddings = rng.standard_normal((num_samples, 8))
    for level in range(3):
        embeddings += rng.standard_normal((labels.max() + 1, 8))[labels[:, level]] * 0.5
    return embeddings.astype(np.float32), labels * 7 - 5


def calculator(include=RETRIEVAL, **kwargs):
    return HierarchicalAccuracyCalculator(include=include, device=CPU, **kwargs)


@pytest.fixture(params=[None, 1, 700], ids=["one block", "single queries", "blocks"])
def small_blocks(request, monkeypatch):
    if request.param is not None:
        monkeypatch.setattr(core, "BLOCK_SIZE", request.param)


OPTIONS = [{}, {"avg_of_avgs": True}, {"return_per_class": True}, {"k": 1}, {"k": 7}]


@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_equal_to_pml(options, small_blocks):
    embeddings, labels = sample()
    assert_close(
        calculator(**options).get_accuracy(embeddings, labels), pml(embeddings, labels, **options)
    )


@pytest.mark.parametrize("includes_query", [True, False])
@pytest.mark.parametrize("options", OPTIONS[:3], ids=str)
def test_equal_to_pml_with_references(options, includes_query, small_blocks):
    embeddings, labels = sample()
    start = 0 if includes_query else 50
    arguments = (embeddings[:50], labels[:50], embeddings[start:], labels[start:])
    found = calculator(**options).get_accuracy(*arguments, includes_query)
    assert_close(found, pml(*arguments, get={"ref_includes_query": includes_query}, **options))


def test_max_bin_count():
    embeddings, labels = sample()
    include = ("precision_at_1", "r_precision", "mean_average_precision_at_r")
    found = calculator(include, k="max_bin_count").get_accuracy(embeddings, labels)
    assert_close(found, pml(embeddings, labels, include=include))


class WithHierarchy(HierarchicalAccuracyCalculator):
    """Metrics with one value for all levels, as a subclass defines them."""

    def over_hierarchy(self):
        return ["mistake_severity", "ndcg"]

    def calculate_mistake_severity(self, knn_labels, query_labels, num_partners, **kwargs):
        height = (knn_labels[:, 0] != query_labels).sum(dim=1).double()
        return torch.where((height > 0) & (num_partners[:, 0] > 0), height, torch.nan)

    def calculate_ndcg(self, knn_labels, query_labels, num_partners, **kwargs):
        levels = (knn_labels == query_labels[:, None]).sum(dim=2)
        counts = torch.stack([(levels == n).sum(dim=1) for n in (3, 2, 1)], dim=1)
        assert torch.equal(counts.cumsum(dim=1), num_partners)  # of the whole list
        gains, best = (2.0**x - 1 for x in (levels, levels.sort(dim=1, descending=True).values))
        discount = 1 / torch.arange(2, levels.shape[1] + 2).log2()
        return (gains * discount).sum(dim=1) / (best * discount).sum(dim=1)


def test_metrics_over_the_hierarchy(small_blocks):
    embeddings, labels = sample()
    lists = brute_force.ranked_lists(embeddings, labels, embeddings, labels, True)
    expected = brute_force.all_metrics(lists, 3)
    include = (*RETRIEVAL, "ndcg", "mistake_severity")
    ours = WithHierarchy(include=include, device=CPU)
    found = ours.get_accuracy(embeddings, labels)
    assert found == pytest.approx({key: expected[key] for key in found}, abs=1e-6)
    assert len(found) == 3 * 5 + 2
    names = include[-2:]
    assert ours.get_accuracy(embeddings, labels, include=names, levels=[1]) == {
        name: found[name] for name in names
    }
    for options in ({"avg_of_avgs": True}, {"return_per_class": True}):
        ours = WithHierarchy(include=names, device=CPU, **options)
        values = ours.get_accuracy(embeddings, labels)["ndcg"]
        means = [
            np.mean([brute_force.ndcg(x) for x in np.array(lists)[labels[:, 0] == c].tolist()
                     if any(x)])
            for c in np.unique(labels[:, 0])
        ]  # fmt: skip
        expected = [x for x in means if not np.isnan(x)]
        assert values == pytest.approx(np.mean(expected) if "avg_of_avgs" in options else expected)


def test_neighbours_are_searched_once_and_a_block_at_a_time(monkeypatch):
    sizes = []
    knn = FaissKNN()

    def counting(query, k, reference, ref_includes_query):
        sizes.append(len(query) * k)
        return knn(query, k, reference, ref_includes_query)

    monkeypatch.setattr(core, "BLOCK_SIZE", 2000)
    embeddings, labels = sample()
    calculator(knn_func=counting).get_accuracy(embeddings, labels)
    assert sum(sizes) == 150 * 150  # once, whatever the number of levels
    assert max(sizes) <= 2000


@pytest.mark.parametrize("kind", ["custom", "numpy"])
@pytest.mark.parametrize("dtypes", [("f8", "f4"), ("f2", "f8")])
def test_functions_of_a_user(kind, dtypes):
    embeddings, labels = sample()
    custom = CustomKNN(distances.CosineSimilarity())
    knn_func = custom if kind == "custom" else lambda *x: tuple(y.numpy() for y in custom(*x))
    kmeans = {"custom": lambda x, n: torch.arange(len(x)) % n,
              "numpy": lambda x, n: np.arange(len(x)) % n}[kind]  # fmt: skip
    include = (*RETRIEVAL, "NMI", "AMI")
    arguments = (embeddings[:50].astype(dtypes[0]), labels[:50],
                 embeddings[50:].astype(dtypes[1]), labels[50:])  # fmt: skip
    ours = calculator(include, knn_func=knn_func, kmeans_func=kmeans)
    expected = pml(*arguments, include=include, knn_func=custom, kmeans_func=kmeans)
    found = ours.get_accuracy(*arguments)
    assert_close(found, {key: expected[key] for key in found})
    assert found.keys() == expected.keys()


def test_fewer_neighbours_than_asked_for():
    def first_two(query, k, reference, ref_includes_query):
        indices = torch.full((len(query), k), -1)
        indices[:, :2] = torch.tensor([0, 1])
        return indices.float(), indices

    embeddings, labels = np.eye(4, dtype=np.float32), np.array([3, 4, 5, 5])
    ours = calculator(("mean_average_precision",), knn_func=first_two)
    found = ours.get_accuracy(embeddings[:1], labels[:1], embeddings, labels)
    assert found == {"mean_average_precision": 1.0}
    others = ours.get_accuracy(embeddings[:1], np.array([5]), embeddings, labels)
    assert others == {"mean_average_precision": 0.0}


class WithOwnMetrics(HierarchicalAccuracyCalculator):
    def calculate_second(self, knn_labels, query_labels, **kwargs):
        return (knn_labels[:, 1] == query_labels).float()

    def calculate_second_as_array(self, **kwargs):
        return self.calculate_second(**kwargs).cpu().numpy()

    def calculate_as_in_pml(self, **kwargs):
        return self.calculate_precision_at_1(**kwargs)


def test_own_metrics(small_blocks):
    embeddings, labels = sample()
    lists = brute_force.ranked_lists(embeddings, labels, embeddings, labels, True)
    names = ("second", "second_as_array", "as_in_pml", "precision_at_1")
    ours = WithOwnMetrics(include=names, device=CPU)
    found = ours.get_accuracy(embeddings, labels)
    for level in range(3):
        right = [x[1] >= 3 - level for x in lists if any(v >= 3 - level for v in x)]
        assert found[f"second_level{level}"] == pytest.approx(np.mean(right))
        assert found[f"second_as_array_level{level}"] == found[f"second_level{level}"]
        assert found[f"as_in_pml_level{level}"] == found[f"precision_at_1_level{level}"]


class CountsLoneQueries:
    """A metric as PML's documentation writes it: queries without a partner count as wrong."""

    def calculate_precision_at_2(self, knn_labels, query_labels, **kwargs):
        options = (self.avg_of_avgs, self.return_per_class, self.label_comparison_fn)
        return precision_at_k(knn_labels, query_labels[:, None], 2, *options)


@pytest.mark.parametrize("options", OPTIONS[:3], ids=str)
def test_a_metric_that_counts_lone_queries_is_that_of_pml(options, small_blocks):
    embeddings, labels = sample()
    options = {"include": ("precision_at_2", "r_precision"), "device": CPU, "k": 5, **options}
    ours = type("Ours", (CountsLoneQueries, HierarchicalAccuracyCalculator), {})(**options)
    theirs = type("Theirs", (CountsLoneQueries, AccuracyCalculator), {})(**options)
    found = ours.get_accuracy(embeddings, labels)
    for level in range(3):
        for name, value in theirs.get_accuracy(embeddings, labels[:, level]).items():
            assert found[f"{name}_level{level}"] == pytest.approx(value)


def test_levels_and_names():
    embeddings, labels = sample()
    every = calculator().get_accuracy(embeddings, labels)
    some = calculator().get_accuracy(embeddings, labels, levels=[2])
    assert some == {key: value for key, value in every.items() if "level2" in key}
    flat = calculator().get_accuracy(embeddings, torch.from_numpy(labels[:, 0]))
    assert flat == {key[:-7]: value for key, value in every.items() if "level0" in key}
    assert set(calculator(()).get_curr_metrics()) == {*RETRIEVAL, "NMI", "AMI"}


def test_nothing_to_find():
    labels = np.array([[0, 0], [1, 1], [2, 2]])
    for num in (1, 3):
        found = calculator().get_accuracy(np.eye(3, dtype=np.float32)[:num], labels[:num])
        assert all(math.isnan(value) for value in found.values())
        assert len(found) == 10


def test_label_ids_that_float32_would_merge():
    labels = np.array([0, 1, 0, 1]) + 2**24
    embeddings = np.array([[0.0], [0.1], [5.0], [5.1]], dtype=np.float32)
    assert calculator(("precision_at_1",)).get_accuracy(embeddings, labels) == {
        "precision_at_1": 0.0
    }


def test_refused():
    embeddings, labels = sample()
    with pytest.raises(NotImplementedError, match="label_comparison_fn"):
        calculator(label_comparison_fn=torch.ne).get_accuracy(embeddings, labels)
    with pytest.raises(TypeError, match="labels must be integers"):
        calculator().get_accuracy(embeddings, labels.astype(np.float32))
    with pytest.raises(ValueError, match="same length"):
        calculator().get_accuracy(embeddings, labels[1:])
    with pytest.raises(ValueError, match="reference must begin with the queries"):
        calculator().get_accuracy(embeddings, labels, embeddings[::-1].copy(), labels, True)


def test_levels_need_not_be_nested():
    embeddings, labels = sample()
    labels[:, 1] = np.arange(150) % 3
    assert_close(calculator().get_accuracy(embeddings, labels), pml(embeddings, labels))


@pytest.mark.parametrize("level", ["all", [0, 2], [1], 0])
def test_records_of_the_tester_are_those_of_pml(level):
    sets = {}
    for seed, name in enumerate(("train", "val")):
        embeddings, labels = sample(80, seed)
        pairs = zip(torch.from_numpy(embeddings), torch.from_numpy(labels), strict=True)
        sets[name] = list(pairs)
    splits = [("val", ["train"]), ("train", ["val", "train"])]
    common = {"dataloader_num_workers": 0, "data_device": CPU, "label_hierarchy_level": level}

    def records(tester):
        fresh = [(query, list(names)) for query, names in splits]
        return tester.test(sets, 3, torch.nn.Identity(), splits_to_eval=fresh)

    ours = WithHierarchy(include=(*RETRIEVAL, "ndcg"), device=CPU)
    found = records(HierarchicalTester(accuracy_calculator=ours, **common))
    theirs = AccuracyCalculator(include=RETRIEVAL, device=CPU)
    expected = records(GlobalEmbeddingSpaceTester(accuracy_calculator=theirs, **common))
    for split in expected:
        assert 0 < found[split].pop("ndcg") < 1
        assert found[split] == pytest.approx(expected[split], abs=1e-6)


def test_default_calculator_of_the_tester():
    default = HierarchicalTester(data_device=CPU).accuracy_calculator.get_curr_metrics()
    assert "precision_at_1" in default
    assert "NMI" not in default


@pytest.mark.parametrize("name", ["hierarchical_accuracy_calculator", "hierarchical_tester"])
def test_imports_what_upstream_has(name):
    """torch, PML and the standard library; nothing of the plugin."""
    tree = ast.parse((Path(core.__file__).parent / f"{name}.py").read_text())
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom):
            if node.level:
                assert node.level == 1
                continue
            modules = [node.module]
        elif isinstance(node, ast.Import):
            modules = [alias.name for alias in node.names]
        else:
            continue
        for module in modules:
            root = module.partition(".")[0]
            known = {"torch", "numpy", "pytorch_metric_learning"}
            assert root in known or root in sys.stdlib_module_names, module
