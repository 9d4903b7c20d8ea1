"""Input that cannot be evaluated is refused in words that say how to fix it."""

import numpy as np
import pytest
import torch
from pytorch_metric_learning.distances import CosineSimilarity

from pml_hierarchical import Hierarchy
from pml_hierarchical.accuracy import HierarchicalAccuracyCalculator

EMBEDDINGS = np.random.default_rng(0).standard_normal((8, 3))
LABELS = np.array([[0, 0], [0, 0], [1, 0], [1, 0], [2, 1], [2, 1], [3, 1], [3, 1]])


def evaluate(query=EMBEDDINGS, labels=LABELS, *args, options=(), **kwargs):
    ours = HierarchicalAccuracyCalculator(exclude=("NMI", "AMI"), device="cpu", **dict(options))
    return ours.get_accuracy(query, labels, *args, **kwargs)


def changed(row, value):
    values = EMBEDDINGS.copy()
    values[row, 1] = value
    return values


@pytest.mark.parametrize(
    ("error", "message", "arguments"),
    [
        (ValueError, "query must be finite, but row 3", [changed(3, np.nan), LABELS]),
        (ValueError, "query must be finite, but row 0", [changed(0, -np.inf), LABELS]),
        (ValueError, "reference must be finite, but row 7",
         [EMBEDDINGS, LABELS, changed(7, np.inf), LABELS]),
        (ValueError, "reference is empty", [EMBEDDINGS, LABELS, EMBEDDINGS[:0], LABELS[:0]]),
        (ValueError, "query is empty", [EMBEDDINGS[:0], LABELS[:0]]),
        (ValueError, "same length, got 8 embeddings and 7 query_labels", [EMBEDDINGS, LABELS[:7]]),
        (ValueError, "got 5 embeddings and 8 reference_labels",
         [EMBEDDINGS, LABELS, EMBEDDINGS[:5], LABELS]),
        (ValueError, "query_labels have 2 levels and reference_labels 1",
         [EMBEDDINGS, LABELS, EMBEDDINGS, LABELS[:, 0]]),
        (ValueError, "query_labels have 2 levels and reference_labels 1",
         [EMBEDDINGS, LABELS, EMBEDDINGS, LABELS[:, :1]]),
        (ValueError, "query_labels have 1 levels and reference_labels 2",
         [EMBEDDINGS, LABELS[:, 0], EMBEDDINGS, LABELS]),
        (ValueError, "together, or neither", [EMBEDDINGS, LABELS, EMBEDDINGS]),
        (ValueError, "same embedding size, got 3 and 2",
         [EMBEDDINGS, LABELS, EMBEDDINGS[:, :2], LABELS]),
        (ValueError, r"query must have shape .*, got \(8,\)", [EMBEDDINGS[:, 0], LABELS]),
        (ValueError, r"query must have shape .*, got \(8, 0\)", [EMBEDDINGS[:, :0], LABELS]),
        (TypeError, "query must be real numbers", [EMBEDDINGS.astype(str), LABELS]),
        (TypeError, "query must be real numbers", [torch.zeros(8, 3).cfloat(), LABELS]),
        (TypeError, "query_labels must be integers, got dtype float64", [EMBEDDINGS, LABELS + 0.5]),
        (TypeError, "query_labels must be integers, got dtype <U",
         [EMBEDDINGS, LABELS.astype(str)]),
        (TypeError, "keep labels as integers", [EMBEDDINGS, (LABELS + 2.0**24).astype("f4")]),
        (ValueError, "does not fit int64", [EMBEDDINGS, LABELS.astype("u8") + np.uint64(2**63)]),
        (ValueError, r"query_labels must have shape .* got \(8, 2, 1\)",
         [EMBEDDINGS, LABELS[..., None]]),
        (ValueError, "class 0 of level 0 lies in two classes of level 1: 0 and 1",
         [EMBEDDINGS, np.stack([LABELS[:, 0] % 2, LABELS[:, 1]], axis=1)]),
        (ValueError, r"query holds values up to 1e\+200, .* scale the embeddings down",
         [changed(2, 1e200), LABELS]),
    ],
)  # fmt: skip
def test_refused(error, message, arguments):
    with pytest.raises(error, match=message):
        evaluate(*arguments)


def test_levels_are_integers():
    whole = evaluate(EMBEDDINGS, LABELS)
    one = evaluate(EMBEDDINGS, LABELS, levels=1)
    assert one == evaluate(EMBEDDINGS, LABELS, levels=np.array([1]))
    assert one == {name: whole[name] for name in whole if not name.endswith("level0")}
    for levels in ([1.5], "1"):
        with pytest.raises(TypeError, match="cannot be interpreted as an integer"):
            evaluate(EMBEDDINGS, LABELS, levels=levels)
    for levels in (2, [], [0, -1]):
        with pytest.raises(ValueError, match=r"levels must be some of 0\.\.1"):
            evaluate(EMBEDDINGS, LABELS, levels=levels)


def test_a_conflict_between_queries_and_references():
    others = LABELS.copy()
    others[:2, 1] = 1
    with pytest.raises(ValueError, match="class 0 of level 0 lies in two classes of level 1"):
        evaluate(EMBEDDINGS, LABELS, EMBEDDINGS, others)


@pytest.mark.parametrize("change", ["order", "labels", "length"])
def test_references_that_do_not_start_with_the_queries(change):
    reference, labels = EMBEDDINGS.copy(), LABELS.copy()
    if change == "order":
        reference = reference[::-1].copy()
    elif change == "labels":
        labels = labels[::-1].copy()
    else:
        reference, labels = reference[:6], labels[:6]
    with pytest.raises(ValueError, match="the first references must be the queries"):
        evaluate(EMBEDDINGS, LABELS, reference, labels, True)


def test_labels_with_levels_and_a_hierarchy():
    options = {"hierarchy": Hierarchy.from_labels(LABELS)}
    with pytest.raises(ValueError, match="give it the fine labels alone, or no hierarchy"):
        evaluate(options=options)
    with pytest.raises(ValueError, match=r"labels must be in 0\.\.3"):
        evaluate(labels=LABELS[:, 0] + 1, options=options)


@pytest.mark.parametrize(
    ("error", "message", "options"),
    [
        (ValueError, "mutually exclusive", {"avg_of_avgs": True, "return_per_class": True}),
        (ValueError, "k must be a positive integer", {"k": 0}),
        (ValueError, "k must be a positive integer", {"k": True}),
        (ValueError, "k must be a positive integer", {"k": "all"}),
        (ValueError, "block_size must be a positive integer", {"block_size": 0}),
        (ValueError, "at_k must hold positive integers", {"at_k": (1, 0)}),
        (ValueError, "at_k must hold positive integers below .*got 5", {"at_k": 5}),
        (ValueError, "not both", {"distance": object(), "knn_func": print}),
        (TypeError, "include must be a list or tuple", {"include": "ndcg"}),
        (ValueError, "include names 'ndgc', which is not a metric", {"include": ("ndgc",)}),
        (ValueError, "exclude names 'recall_at_0'", {"exclude": ("recall_at_0",)}),
        (NotImplementedError, "Use PML's AccuracyCalculator", {"label_comparison_fn": torch.eq}),
        (
            TypeError,
            r"be like PML's CosineSimilarity\(\), got 'cosine'",
            {"distance": "cosine"},
        ),
        (
            TypeError,
            r"be like PML's CosineSimilarity\(\), got <class",
            {"distance": CosineSimilarity},
        ),
    ],
)
def test_refused_by_the_constructor(error, message, options):
    with pytest.raises(error, match=message):
        HierarchicalAccuracyCalculator(**options)


def test_whole_numbers_in_floating_point_are_labels():
    """PML's users pass ``torch.float`` labels, which is harmless below 2**24."""
    assert evaluate(labels=LABELS.astype(np.float32)) == evaluate()
    assert evaluate(labels=torch.from_numpy(LABELS).int()) == evaluate()
