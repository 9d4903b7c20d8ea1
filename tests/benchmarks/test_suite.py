import json
import re
from dataclasses import replace

import numpy as np
import pytest
from rich.console import Console
from small_data import make_small_data

from benchmarks import suite, training
from benchmarks.command_line import main
from benchmarks.datasets import DATASETS
from benchmarks.report import embedding_map
from benchmarks.results import HIERARCHY_NAMES, collect
from benchmarks.stored import read_stored
from pml_hierarchical import Hierarchy

pytestmark = pytest.mark.filterwarnings("ignore:Converting a tensor with requires_grad")


def test_one_run_is_one_folder(make_plan):
    planned = make_plan(losses=["hpl:proxy_anchor"])
    (result,) = suite.run(planned, Console()).results
    folder = planned.runs[0].folder(planned.request.out)
    assert result.pop("folder") == folder
    assert folder == planned.request.out / "small" / "hpl-proxy_anchor" / "seed0_fold0"
    assert json.loads((folder / "result.json").read_text()) == json.loads(json.dumps(result))
    assert (folder / "records" / "logs.db").exists()
    assert list((folder / "records").glob("*.csv"))
    assert list((folder / "tensorboard").glob("events*"))
    assert {path.name for path in folder.glob("*.pt")} == {"best.pt"}
    assert {path.name for path in folder.glob("*.npz")} == {
        "test.npz",
        "retrievals.npz",
        "tree.npz",
    }
    assert len(result["epoch_seconds"]) == 3
    assert result["seconds"] == result["epoch_seconds"][-1]
    assert result["config"]["loss_settings"]["warmup"] == 4
    assert result["validation"]["epoch"] == [1, 2, 3]
    assert {f"precision_at_1_level{level}" for level in range(3)} <= set(result["test"])
    assert result["num_images"] == {"train": 96, "val": 32, "test": 128}


def test_same_seed_same_numbers(make_plan, tmp_path):
    first, second = (suite.run(make_plan(out=tmp_path / name), Console()).results for name in "ab")
    for a, b in zip(first, second, strict=True):
        assert a["test"] == b["test"]
        assert a["training_loss"] == b["training_loss"]
    (other,) = suite.run(make_plan(losses=["proxy_anchor"], seeds=(1,)), Console()).results
    assert other["training_loss"] != first[0]["training_loss"]


def test_interrupted_suite_goes_on_where_it_stopped(make_plan, monkeypatch):
    planned = make_plan(losses=["contrastive", "proxy_anchor", "proxy_nca"])
    trained = []
    original = training.train

    def interrupted(config, *args):
        if config.loss.name == "proxy_anchor" and "proxy_anchor" not in trained:
            trained.append(config.loss.name)
            (config.folder(planned.request.out) / "records").mkdir(parents=True)  # half a run
            raise KeyboardInterrupt
        trained.append(config.loss.name)
        return original(config, *args)

    monkeypatch.setattr(suite, "train", interrupted)
    with pytest.raises(KeyboardInterrupt):
        suite.run(planned, Console())
    results = suite.run(planned, Console()).results
    assert trained == ["contrastive", "proxy_anchor", "proxy_anchor", "proxy_nca"]
    assert [r["config"]["loss"] for r in results] == ["contrastive", "proxy_anchor", "proxy_nca"]
    suite.run(planned, Console())
    assert len(trained) == 4


def test_results_of_other_settings_are_not_taken_for_these(make_plan):
    suite.run(make_plan(losses=["proxy_anchor"], epochs=1), Console())
    with pytest.raises(ValueError, match=r"other settings \(training.*another --out"):
        make_plan(losses=["proxy_anchor"], epochs=2)


def test_runs_on_other_images_do_not_come_into_one_folder(make_plan, monkeypatch):
    suite.run(make_plan(losses=["proxy_anchor"]), Console())
    fewer = replace(DATASETS["small"], load=lambda source: make_small_data(num_images=224))
    monkeypatch.setitem(DATASETS, "small", fewer)
    with pytest.raises(
        ValueError, match=r"on other images.*\(num_images, fingerprint differ\).*another --out"
    ):
        suite.run(make_plan(losses=["contrastive"]), Console())


def test_it_says_how_many_files_are_left_out(make_plan, monkeypatch):
    data = replace(make_small_data(), left_out=("a.jpg", "b.jpg"))
    monkeypatch.setitem(DATASETS, "small", replace(DATASETS["small"], load=lambda source: data))
    planned = make_plan(losses=["proxy_anchor"], epochs=1, skip_broken=True)
    with pytest.warns(UserWarning, match=r"^2 files left out: .*pictures \(first a.jpg\)$"):
        suite.run(planned, Console())


def test_it_says_when_a_batch_is_smaller_than_what_was_asked_for(make_plan):
    planned = make_plan(losses=["proxy_anchor"], epochs=1, batch_size=128)
    message = "a batch of 128 was asked for and has 48 images: 4 of each of the 12 classes"
    with pytest.warns(UserWarning, match=message):
        suite.run(planned, Console())


def test_a_training_that_diverges_says_so(make_plan):
    planned = make_plan(losses=["proxy_anchor"], epochs=1, learning_rate=1e25)
    message = (
        r"proxy_anchor, seed 0, fold 0: the training has diverged: after epoch 1 .*\(now 1e\+25"
    )
    with pytest.raises(ValueError, match=message):
        suite.run(planned, Console())


def test_no_other_command_writes_into_the_folder_during_the_report(make_plan):
    planned = make_plan(losses=["proxy_anchor"], epochs=1)

    def report(stored):
        assert len(stored.results) == 1
        with pytest.raises(OSError, match="another command is running"):
            suite.run(planned, Console())

    suite.run(planned, Console(), report)


@pytest.mark.parametrize("seed", [2**31 - 1, 2**32])
def test_a_seed_that_clusterers_do_not_take_is_refused(make_plan, seed):
    with pytest.raises(ValueError, match=f"at most {2**31 - 2}, got {seed}"):
        make_plan(losses=["proxy_anchor"], seeds=(seed,))


def test_a_device_without_values_is_refused(make_plan):
    with pytest.raises(ValueError, match="--device meta is not available here"):
        make_plan(losses=["proxy_anchor"], device="meta")


def test_runs_have_the_metrics_over_all_levels(make_plan):
    summary = collect(suite.run(make_plan(losses=["proxy_anchor"], epochs=1), Console()))
    assert summary.metrics[-3:] == tuple(HIERARCHY_NAMES)
    for table in (summary.runs, summary.untrained):
        assert table[list(HIERARCHY_NAMES)].notna().all(axis=None)
        assert table["mistake_severity"].between(1, 3).all()  # levels, not percent


def test_what_is_known_of_the_data_is_there_while_runs_are_missing(make_plan, monkeypatch):
    planned = make_plan(losses=["contrastive", "proxy_anchor"])
    original = training.train

    def interrupted(config, *args):
        if config.loss.name == "proxy_anchor":
            raise KeyboardInterrupt
        return original(config, *args)

    monkeypatch.setattr(suite, "train", interrupted)
    with pytest.raises(KeyboardInterrupt):
        suite.run(planned, Console())
    stored = read_stored(planned.request.folder)
    assert [result["config"]["loss"] for result in stored.results] == ["contrastive"]
    assert stored.untrained[0]["precision_at_1_level0"] > 0


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"dataset": "glyfs"}, r"unknown data set 'glyfs'.*'glyphs'"),
        ({"losses": ["proxy_ancor"]}, "did you mean 'proxy_anchor'"),
        ({"losses": ("arcface", "arcface")}, "--losses has arcface more than once"),
        ({"seeds": (1, 1)}, "--seeds has 1 more than once"),
        ({"seeds": (-1,)}, "not be negative, got -1"),
        ({"folds": (4,)}, r"in 0\.\.3, got 4"),
        ({"epochs": 0}, "at least 1, got 0"),
        ({"device": "gpu"}, "--device gpu"),
    ],
)
def test_bad_input_before_any_training(make_plan, changes, message, tmp_path):
    with pytest.raises(ValueError, match=message):
        make_plan(**changes)
    assert not (tmp_path / "runs").exists()


def test_training_tree_leaves_out_levels_that_say_nothing():
    labels = np.array([[3, 7, 1], [5, 7, 1], [9, 8, 1], [3, 7, 1]])
    fine, tree = training.training_tree(labels)
    assert fine.tolist() == [0, 1, 2, 0]
    assert tree == Hierarchy.from_parents([[0, 0, 1]])
    assert training.training_tree(labels[:, [0]])[1] == Hierarchy.flat(3)
    assert training.training_tree(labels[1:3])[1] == Hierarchy.flat(2)


def test_command_line_end_to_end(small_dataset, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(embedding_map, "project", lambda embeddings: embeddings[:, :2])
    out = tmp_path / "runs"
    arguments = ["run", "--dataset", "small", "--losses", "proxy_nca", "hpl:proxy_nca"]
    arguments += ["--set", "level_weights=0.7", "weight_decay=0.02"]
    assert main([*arguments, "--seeds", "0", "1", "--out", str(out)]) == 0
    printed = capsys.readouterr().out
    assert "hpl:proxy_nca" in printed
    assert "(raw features)" in printed
    report = (out / "small" / "report.md").read_text()
    for name in ("training", "levels", "gain", "embeddings", "retrievals", "tree"):
        assert f"figures/{name}.png" in report
        assert (out / "small" / "figures" / f"{name}.png").stat().st_size > 1000
    assert "level_weights=0.7" in report  # what was given is shown
    assert "weight decay=0.02" in report
    html = (out / "small" / "report.html").read_text()
    assert html.count('class="enlarge"') == 4
    assert len(re.findall(r'<div [^>]*data-root-id="', html)) == 5  # plots
    assert (out / "small" / "thumbnails.npz").exists()
    assert 'src="figures' not in html


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--dataset", "nothing"], "unknown data set"),
        (["--losses", "hpl:nothing"], "unknown loss"),
        (["--dataset", "grocery"], "--data-root"),
        (["--dataset", "grocery", "--data-root", "/no/such/folder"], "/no/such/folder"),
        (["--dataset", "glyphs", "--data-root", "."], "leave --data-root out"),
    ],
)
def test_errors_of_the_command_line(arguments, message, capsys, tmp_path):
    assert main(["run", *arguments, "--out", str(tmp_path / "runs")]) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ")
    assert message in error
    assert not (tmp_path / "runs").exists()


def test_list_shows_data_sets_and_losses(capsys):
    assert main(["list"]) == 0
    printed = capsys.readouterr().out
    for name in ("glyphs", "grocery", "triplet_margin", "hpl:LOSS"):
        assert name in printed


def test_warm_up_keeps_its_share_of_a_shorter_training(make_plan):
    (run,) = make_plan(losses=["hpl:proxy_anchor"], epochs=1).runs
    assert run.loss.settings()["warmup"] == 1  # 30% of 4 iterations
    assert run.settings.epochs == 1


@pytest.mark.parametrize("part", ["val", "test"])
def test_one_image_per_class_is_an_error_before_training(
    small_dataset, make_plan, monkeypatch, part
):
    def data_with(images_per_class):
        chosen = getattr(small_dataset.split(0), part)
        first = np.unique(small_dataset.labels[chosen, 0])
        kept = [np.flatnonzero(small_dataset.labels[:, 0] == c)[:images_per_class] for c in first]
        rest = np.setdiff1d(np.arange(len(small_dataset.labels)), chosen)
        rows = np.sort(np.concatenate([*kept, rest]))
        return replace(
            small_dataset,
            inputs=small_dataset.inputs[rows],
            labels=small_dataset.labels[rows],
            untrained=small_dataset.untrained[rows],
        )

    planned = make_plan(losses=["proxy_nca"])
    one, two = data_with(1), data_with(2)
    monkeypatch.setitem(DATASETS, "small", replace(DATASETS["small"], load=lambda source: one))
    where = "validation" if part == "val" else "test"
    with pytest.raises(ValueError, match=f"the {where} of fold 0 of small has .*expected at least"):
        suite.run(planned, Console())
    assert not planned.request.out.exists()
    monkeypatch.setitem(DATASETS, "small", replace(DATASETS["small"], load=lambda source: two))
    assert suite.run(planned, Console()).results
