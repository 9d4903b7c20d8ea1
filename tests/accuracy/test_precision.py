"""Neighbours do not depend on an offset, nor cosines on a length: float64 brute force is right."""

import brute_force
import numpy as np
import pytest
import torch
from pytorch_metric_learning import distances
from pytorch_metric_learning.utils.accuracy_calculator import AccuracyCalculator

from pml_hierarchical.accuracy import HierarchicalAccuracyCalculator
from pml_hierarchical.accuracy.distances import ReferenceDistances
from pml_hierarchical.accuracy.inputs import Embeddings

CPU = torch.device("cpu")
NAMES = ("precision_at_1", "mean_average_precision_at_r")


def sample(spread=0.05, dtype=np.float32):
    rng = np.random.default_rng(0)
    labels = np.arange(120) % 20
    centres = spread * rng.standard_normal((20, 8))
    return centres[labels] + 0.6 * spread * rng.standard_normal((120, 8)).astype(dtype), labels


def ours(embeddings, labels, distance=None):
    calculator = HierarchicalAccuracyCalculator(include=NAMES, device="cpu", distance=distance)
    return calculator.get_accuracy(embeddings, labels)


def exact(embeddings, labels):
    lists = brute_force.ranked_lists(embeddings, labels[:, None], embeddings, labels[:, None], True)
    found = brute_force.all_metrics(lists, 1)
    return {name: found[f"{name}_level0"] for name in NAMES}


def unit(embeddings):
    embeddings = embeddings / np.abs(embeddings).max(axis=1, keepdims=True)
    return embeddings / np.linalg.norm(embeddings, axis=1, keepdims=True)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("offset", [0, 1, 30, 1000])
def test_an_offset_that_all_share(offset, dtype):
    embeddings, labels = sample()
    embeddings = (embeddings + offset).astype(dtype)
    found = ours(embeddings, labels)
    assert found == pytest.approx(exact(embeddings, labels), abs=1e-12)
    assert 0.3 < found["precision_at_1"] < 0.9


@pytest.mark.parametrize("scale", [1e-6, 1, 1e6])
def test_an_offset_that_would_cost_all_digits_of_float64(scale):
    embeddings, labels = sample()
    embeddings = scale * (embeddings + 1e8)
    assert ours(embeddings, labels) == pytest.approx(exact(embeddings, labels), abs=1e-12)
    gallery = ours(embeddings - embeddings.mean(axis=0), labels)
    assert ours(embeddings, labels) == pytest.approx(gallery, abs=0.02)


@pytest.mark.parametrize("row", [0, 50])
def test_an_embedding_far_from_all_others(row):
    embeddings, labels = sample(dtype=np.float64)
    embeddings[row] = 1e8
    without = distances.LpDistance(normalize_embeddings=False)
    assert ours(embeddings, labels, without) == pytest.approx(exact(embeddings, labels), abs=1e-12)


def test_with_an_offset_as_pml_without():
    embeddings, labels = sample()
    embeddings = (embeddings + 1000).astype(np.float32)
    theirs = AccuracyCalculator(include=NAMES, device=CPU)
    expected = theirs.get_accuracy(embeddings.astype(np.float64) - 1000, labels)
    assert ours(embeddings, labels) == pytest.approx(expected, abs=1e-6)


def test_two_groups_far_from_each_other():
    embeddings, labels = sample()
    embeddings = (embeddings + np.where(labels < 10, 500, -500)[:, None]).astype(np.float32)
    assert ours(embeddings, labels) == pytest.approx(exact(embeddings, labels), abs=1e-12)


@pytest.mark.parametrize("spread", [1e-2, 1e-3, 1e-4])
def test_cosines_of_embeddings_that_lie_close_together(spread):
    embeddings, labels = sample(spread)
    embeddings = (1 + embeddings).astype(np.float32)
    expected = exact(unit(embeddings.astype(np.float64)), labels)
    assert ours(embeddings, labels, distances.CosineSimilarity()) == pytest.approx(expected)


def test_products_of_embeddings_that_lie_close_together():
    embeddings, labels = sample(1.0)
    embeddings = unit(embeddings) * 1e-3  # of one length, so that distances rank them as products
    embeddings = np.hstack([embeddings, np.full((120, 1), 10)])
    expected = exact(embeddings, labels)
    product = distances.DotProductSimilarity(normalize_embeddings=False)
    assert ours(embeddings.astype(np.float32), labels, product) == pytest.approx(expected, abs=0.02)


@pytest.mark.parametrize("share", [0.15, 0.3, 0.45])
def test_a_part_of_the_embeddings_lies_close_together(share):
    embeddings, labels = sample(1.0)
    is_close = np.random.default_rng(1).random(120) < share
    embeddings = unit(embeddings)
    embeddings[is_close] = 1 + 1e-4 * embeddings[is_close]
    embeddings = unit(embeddings).astype(np.float32)
    expected = exact(embeddings.astype(np.float64), labels)
    assert ours(embeddings, labels) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("scale", [1e-38, 1e-25, 1e-12, 1, 1e12, 1e20, 1e36])
def test_cosines_do_not_depend_on_the_length(scale):
    embeddings, labels = sample(1.0)
    scaled = (embeddings * scale).astype(np.float32)
    cosine = distances.CosineSimilarity()
    assert ours(scaled, labels, cosine) == pytest.approx(
        exact(unit(scaled.astype(np.float64)), labels), abs=1e-12
    )
    mixed = (embeddings * np.where(labels % 2, scale, 1)[:, None]).astype(np.float32)
    assert ours(mixed, labels, cosine) == pytest.approx(
        exact(unit(mixed.astype(np.float64)), labels), abs=1e-12
    )


@pytest.mark.parametrize("scale", [1e-36, 1e-20, 1, 1e20, 1e36])
@pytest.mark.parametrize("p", [1, 2])
def test_distances_do_not_depend_on_the_unit(scale, p):
    embeddings, labels = sample(1.0)
    distance = distances.LpDistance(normalize_embeddings=False, p=p)
    scaled = (embeddings * scale).astype(np.float32).astype(np.float64)
    expected = ours(scaled / scale, labels, distance)
    assert ours(scaled.astype(np.float32), labels, distance) == pytest.approx(expected, abs=1e-12)


def test_dot_products_of_long_vectors():
    embeddings, labels = sample(1.0)
    dot = distances.DotProductSimilarity(normalize_embeddings=False)
    scaled = (embeddings * 1e30).astype(np.float32)
    assert ours(scaled, labels, dot) == ours(scaled.astype(np.float64) / 1e30, labels, dot)


@pytest.mark.parametrize("name", ["DotProductSimilarity", "LpDistance"])
def test_beyond_float64_is_refused(name):
    embeddings, labels = sample(1.0)
    distance = getattr(distances, name)(normalize_embeddings=False)
    with pytest.raises(ValueError, match=r"query holds values up to .*: scale the embeddings down"):
        ours(embeddings.astype(np.float64) * 1e200, labels, distance)


def test_usual_embeddings_are_compared_in_float32():
    def dtype(values, distance=None):
        block = Embeddings(values, "query", CPU)
        return ReferenceDistances(block, block, distance).dtype

    embeddings = torch.from_numpy(sample(1.0)[0]).float()
    for values in (embeddings, torch.nn.functional.normalize(embeddings), embeddings.relu() * 50):
        assert dtype(values) == torch.float32
        assert dtype(values, distances.CosineSimilarity()) == torch.float32
    assert dtype(embeddings + 1000) == torch.float64
    assert dtype(embeddings.repeat(2, 1)) == torch.float32  # duplicates are not near misses
    assert dtype(torch.ones(9, 3)) == dtype(torch.zeros(9, 3)) == torch.float32
