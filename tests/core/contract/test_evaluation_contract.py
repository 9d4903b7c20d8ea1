"""What the calculator and the tester promise, against PML's own; see ``conftest.py``."""

from __future__ import annotations

import pytest
import torch
from pytorch_metric_learning.distances import LpDistance
from pytorch_metric_learning.testers import GlobalEmbeddingSpaceTester
from pytorch_metric_learning.utils import common_functions as c_f
from pytorch_metric_learning.utils.accuracy_calculator import AccuracyCalculator
from pytorch_metric_learning.utils.inference import CustomKNN

METRICS = ("precision_at_1", "r_precision", "mean_average_precision_at_r", "mean_reciprocal_rank")
SIZES = (12, 4, 2)


@pytest.fixture
def data():
    fine = torch.randint(SIZES[0], (90,))
    return torch.randn(90, 5), torch.stack([fine, fine // 3, fine // 6], dim=1)


def pml(**kwargs):
    return AccuracyCalculator(
        include=METRICS, knn_func=CustomKNN(LpDistance(normalize_embeddings=False)), **kwargs
    )


@pytest.mark.parametrize("options", [{}, {"avg_of_avgs": True}, {"return_per_class": True}])
@pytest.mark.parametrize("own", [True, False])
def test_calculator_is_pmls_at_every_level(api, data, options, own):
    embeddings, labels = data
    ours = api.HierarchicalAccuracyCalculator(include=METRICS, **options)
    arguments = [embeddings, labels] if own else [*(x[:30] for x in data), *(x[30:] for x in data)]
    found = ours.get_accuracy(*arguments)
    assert set(found) == {f"{name}_level{level}" for name in METRICS for level in range(3)}
    for level in range(3):
        one = [x[:, level] if i % 2 else x for i, x in enumerate(arguments)]
        for name, value in pml(**options).get_accuracy(*one).items():
            assert found[f"{name}_level{level}"] == pytest.approx(value, abs=1e-6), name


@pytest.mark.parametrize("levels", [[-1], [0, 3], range(-1, 1)])
def test_levels_that_are_none(api, data, levels):
    """Which are no positions from the end, as of a list."""
    calculator = api.HierarchicalAccuracyCalculator(include=METRICS)
    with pytest.raises(ValueError, match=r"levels must be some of 0\.\.2.*0 .*the finest.* got "):
        calculator.get_accuracy(*data, levels=levels)


def test_levels_of_an_iterator(api, data):
    calculator = api.HierarchicalAccuracyCalculator(include=METRICS)
    expected = calculator.get_accuracy(*data, levels=[0, 2])
    assert calculator.get_accuracy(*data, levels=iter([0, 2])) == pytest.approx(expected)
    assert len(expected) == 2 * len(METRICS)


def test_tester_records_what_pmls_tester_records(api, data):
    dataset = {"val": c_f.EmbeddingDataset(*data)}
    options = {"label_hierarchy_level": "all", "dataloader_num_workers": 0}
    ours = api.HierarchicalTester(
        accuracy_calculator=api.HierarchicalAccuracyCalculator(include=METRICS), **options
    )
    theirs = GlobalEmbeddingSpaceTester(accuracy_calculator=pml(), **options)
    found, expected = (
        tester.test(dataset, epoch=1, trunk_model=torch.nn.Identity())["val"]
        for tester in (ours, theirs)
    )
    assert found == pytest.approx(expected, abs=1e-6)
    assert found["AVERAGE_precision_at_1"] == ours.all_accuracies["val"]["AVERAGE_precision_at_1"]
