"""The whole life of a run, on PML's trainer, hooks, recorder and tester."""

import sqlite3

import pytest
import torch
from pytorch_metric_learning import trainers
from pytorch_metric_learning.samplers import MPerClassSampler
from pytorch_metric_learning.utils import logging_presets
from pytorch_metric_learning.utils.accuracy_calculator import AccuracyCalculator
from pytorch_metric_learning.utils.common_functions import EmbeddingDataset

from pml_hierarchical import losses
from pml_hierarchical.accuracy import HierarchicalAccuracyCalculator
from pml_hierarchical.hooks import ReclusterHook
from pml_hierarchical.testers import HierarchicalTester

C, D = 8, 6
pytestmark = pytest.mark.filterwarnings("ignore:Converting a tensor with requires_grad")


@pytest.fixture
def data():
    generator = torch.Generator().manual_seed(0)
    labels = torch.arange(160) % C
    inputs = torch.eye(C, D + 2)[labels] + 0.5 * torch.randn(160, D + 2, generator=generator)
    return inputs, torch.stack([labels, labels // 4], dim=1)


def make_run(data, folder):
    inputs, labels = data
    torch.manual_seed(0)
    loss_func = losses.HierarchicalProxyLoss(
        C, D, num_superclasses=2, warmup=3, recluster_every=None
    )
    trunk = torch.nn.Linear(D + 2, D)
    record_keeper, _, _ = logging_presets.get_record_keeper(
        str(folder / "records"), str(folder / "tensorboard")
    )
    hooks = logging_presets.get_hook_container(record_keeper, log_freq=1)
    tester = HierarchicalTester(
        accuracy_calculator=HierarchicalAccuracyCalculator(include=tuple(METRICS)),
        end_of_testing_hook=hooks.end_of_testing_hook,
        dataloader_num_workers=0,
        primary_level=0,
        progress_bar=False,
    )
    dataset = EmbeddingDataset(inputs, labels)
    trainer = trainers.MetricLossOnly(
        models={"trunk": trunk},
        optimizers={
            "trunk_optimizer": torch.optim.Adam(trunk.parameters(), lr=0.01),
            "metric_loss_optimizer": torch.optim.Adam(loss_func.parameters(), lr=0.01),
        },
        batch_size=16,
        loss_funcs={"metric_loss": loss_func},
        dataset=dataset,
        sampler=MPerClassSampler(labels[:, 0], 4, 16, 64),
        iterations_per_epoch=4,
        dataloader_num_workers=0,
        end_of_iteration_hook=ReclusterHook(2, hooks.end_of_iteration_hook),
        end_of_epoch_hook=hooks.end_of_epoch_hook(tester, {"val": dataset}, str(folder / "models")),
    )
    return trainer, hooks, tester, loss_func, dataset


METRICS = ("precision_at_1", "r_precision", "mean_average_precision_at_r")


def test_trained_recorded_evaluated_and_loaded_again(data, tmp_path):
    trainer, hooks, _, loss_func, _ = make_run(data, tmp_path)
    trainer.train(num_epochs=3)
    assert loss_func.num_updates == 5  # after iterations 3, 5, 7, 9 and 11

    with sqlite3.connect(tmp_path / "records" / "logs.db") as database:
        rows = database.execute(
            "SELECT loss_level0, loss_level1, num_updates, smallest_superclass "
            "FROM metric_loss_HierarchicalProxyLoss"
        ).fetchall()
    assert len(rows) == 12
    assert all(fine > 0 and (coarse > 0) == (i >= 3) for i, (fine, coarse, *_) in enumerate(rows))
    assert [updates for *_, updates, _ in rows] == [0, 0, 1, 1, 2, 2, 3, 3, 4, 4, 5, 5]
    assert rows[-1][-1] >= 1
    assert (tmp_path / "records" / "metric_loss_HierarchicalProxyLoss.csv").exists()
    assert list((tmp_path / "tensorboard").glob("events*"))

    again, *_, loaded, _ = make_run(data, tmp_path)
    assert hooks.load_latest_saved_models(again, str(tmp_path / "models")) == 4
    assert loaded.hierarchy == loss_func.hierarchy
    assert (loaded.step, loaded.num_updates) == (loss_func.step, loss_func.num_updates)
    torch.testing.assert_close(loaded.state_dict(), loss_func.state_dict(), rtol=0, atol=0)


def test_numbers_of_the_tester_are_those_of_pml(data, tmp_path):
    trainer, _, tester, _, dataset = make_run(data, tmp_path)
    trunk = trainer.models["trunk"]
    found = tester.test({"val": dataset}, 1, trunk)["val"]
    embeddings = torch.nn.functional.normalize(trunk(data[0]).detach())
    for level in (0, 1):
        expected = AccuracyCalculator(include=METRICS).get_accuracy(embeddings, data[1][:, level])
        for metric in METRICS:
            key = f"{metric}_level{level}"
            assert found[key] == pytest.approx(expected[metric], abs=1e-6)
