import json
import os
import shutil

import numpy as np
import pytest
import torch
from pytorch_metric_learning.utils.accuracy_calculator import AccuracyCalculator
from rich.console import Console
from sklearn.preprocessing import normalize

from benchmarks import suite
from benchmarks.concatenated import evaluate_concatenated
from benchmarks.progress import SuiteProgress
from benchmarks.stored import read_stored
from benchmarks.training.testing import train

FOLDS = [0, 1, 2, 3]


@pytest.fixture
def do_all_folds(make_plan):
    def do():
        planned = make_plan(losses=["contrastive"], folds=FOLDS, epochs=1)
        return planned, suite.run(planned, Console(quiet=True))

    return do


def test_it_is_what_pml_says_of_the_embeddings_side_by_side(do_all_folds):
    planned, stored = do_all_folds()
    (found,) = stored.concatenated
    assert (found["loss"], found["seed"], found["folds"]) == ("contrastive", 0, FOLDS)
    assert found["embedding_size"] == 4 * 8
    models = [np.load(config.folder(planned.request.out) / "test.npz") for config in planned.runs]
    embeddings = np.hstack([normalize(model["test_embeddings"]) for model in models])
    calculator = AccuracyCalculator(
        include=("precision_at_1", "r_precision", "mean_average_precision_at_r"), k="max_bin_count"
    )
    for level in range(3):
        expected = calculator.get_accuracy(embeddings, models[0]["test_labels"][:, level])
        for metric, value in expected.items():
            assert found["test"][f"{metric}_level{level}"] == pytest.approx(value, abs=1e-6)
    separated = np.mean([r["test"]["mean_average_precision_at_r_level0"] for r in stored.results])
    assert found["test"]["mean_average_precision_at_r_level0"] != pytest.approx(separated, abs=1e-6)


def test_models_of_other_test_images_are_not_put_together(do_all_folds, small_dataset, tmp_path):
    planned, _ = do_all_folds()
    path = planned.runs[0].folder(planned.request.out) / "test.npz"
    other = {**np.load(path)}
    other["test_indices"] = other["test_indices"][::-1]
    np.savez(tmp_path / "other.npz", **other)
    with pytest.raises(ValueError, match=r"other\.npz holds other test images than .*test\.npz"):
        evaluate_concatenated([path, tmp_path / "other.npz"], small_dataset)


def test_it_is_kept_until_a_run_is_done_again(do_all_folds):
    planned, stored = do_all_folds()
    path = stored.folder / "contrastive" / "concatenated_seed0.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "test": {}}))
    _, stored = do_all_folds()
    assert stored.concatenated[0]["test"] == {}
    embeddings = planned.runs[2].folder(planned.request.out) / "test.npz"
    later = path.stat().st_mtime_ns + 1_000_000
    os.utime(embeddings, ns=(later, later))
    _, stored = do_all_folds()
    assert stored.concatenated[0]["test"]


def test_it_goes_when_a_model_is_trained_again(do_all_folds, small_dataset):
    planned, stored = do_all_folds()
    path = stored.folder / "contrastive" / "concatenated_seed0.json"
    assert path.exists()
    config, out = planned.runs[2], planned.request.out
    shutil.rmtree(config.folder(out))
    train(config, small_dataset, out, torch.device("cpu"), SuiteProgress(Console(quiet=True), 1, 1))
    assert not path.exists()


def test_a_missing_file_costs_the_concatenated_embeddings_alone(do_all_folds):
    planned, stored = do_all_folds()
    (planned.runs[1].folder(planned.request.out) / "test.npz").unlink()
    with pytest.warns(UserWarning, match=r"fold1.test.npz is missing: .* of contrastive are left"):
        _, again = do_all_folds()
    assert again.results == stored.results


def test_it_is_not_shown_without_all_its_folds(do_all_folds):
    planned, stored = do_all_folds()
    (planned.runs[1].folder(planned.request.out) / "result.json").unlink()
    assert not read_stored(stored.folder).concatenated
