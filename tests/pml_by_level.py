"""The oracle of the calculators' tests: PML's own calculator, called for one level at a time."""

from __future__ import annotations

import pytest
import torch
from pytorch_metric_learning.utils.accuracy_calculator import AccuracyCalculator

RETRIEVAL = (
    "precision_at_1",
    "r_precision",
    "mean_average_precision_at_r",
    "mean_average_precision",
    "mean_reciprocal_rank",
)


def pml(embeddings, labels, *reference, include=RETRIEVAL, get=None, **kwargs):
    """What PML's calculator finds, level by level, under the names of ours."""
    found = {}
    theirs = AccuracyCalculator(include=include, device=torch.device("cpu"), **kwargs)
    for level in range(labels.shape[1]):
        others = [reference[0], reference[1][:, level]] if reference else []
        values = theirs.get_accuracy(embeddings, labels[:, level], *others, **(get or {}))
        found |= {f"{name}_level{level}": value for name, value in values.items()}
    return found


def assert_close(found, expected):
    assert found.keys() == expected.keys()
    for key, value in expected.items():
        assert found[key] == pytest.approx(value, abs=1e-6, nan_ok=True), key
