import json
from dataclasses import replace
from threading import Thread

import numpy as np
import optuna
import pytest
import torch
import yaml
from filelock import FileLock
from rich.console import Console
from small_data import make_small_data, small_request

from benchmarks.command_line import main
from benchmarks.datasets import DATASETS
from benchmarks.datasets.base import RetrievalData
from benchmarks.losses import DEFAULT_LOSSES, find_loss
from benchmarks.progress import SuiteProgress
from benchmarks.request import DataSource
from benchmarks.run_config import read_result
from benchmarks.settings import SETTINGS
from benchmarks.training import OBJECTIVE, selected, train_and_validate
from benchmarks.tuning import apply_tuned, running, tuned_settings
from benchmarks.tuning.plan import plan_tuning, run_tuning
from benchmarks.tuning.report import trials_table, write_trials
from benchmarks.tuning.trials import FILE, read_study

pytestmark = [
    pytest.mark.filterwarnings("ignore:Converting a tensor with requires_grad"),
    pytest.mark.filterwarnings("ignore::UserWarning"),  # of warm-ups longer than these runs
]


@pytest.fixture
def make_tuning(small_dataset, tmp_path):
    def make(**changes):
        trials = changes.pop("trials", 4)
        settings = changes.pop("settings", tmp_path / "small.yaml")
        usual = {"losses": ["proxy_anchor"], "folds": (0,), "epochs": 1, "out": tmp_path / "runs"}
        return plan_tuning(small_request(**(usual | changes)), trials, settings)

    return make


def made_up_accuracy(learning_rate, margin):
    return -np.log10(learning_rate) / 10 + margin / 2


@pytest.fixture
def made_up(monkeypatch):
    """Instead of a training, a number that its settings give; the list of what was asked for."""
    asked = []

    def train(config, data, out, device, progress, stop):
        asked.append(config)
        progress.advance(config.settings.iterations_per_epoch)
        margin = config.loss.arguments.get("neg_margin", 0)
        wanted = made_up_accuracy(config.settings.learning_rate, margin) + 0.01 * config.fold
        history, stopped = [], False
        while len(history) < config.settings.epochs and not stopped:
            history.append(wanted if len(history) == config.settings.epochs // 2 else 0.01)
            stopped = len(history) < config.settings.epochs and stop(history)
        return {
            "validation": {"epoch": list(range(1, len(history) + 1)), OBJECTIVE: history},
            "best_epoch": None if stopped else config.settings.epochs // 2 + 1,
            "stopped_early": stopped,
            "environment": {"commit": "abc", "versions": {"torch": "2"}},
        }

    monkeypatch.setattr(running, "train_and_validate", train)
    return asked


def trials_of(tuning, number=0):
    return read_study(tuning.searches[number].folder).trials


def test_every_loss_has_the_same_budget_and_begins_untuned(make_tuning, made_up):
    losses = [*DEFAULT_LOSSES, "hpl_given:soft_triple"]
    tuning = make_tuning(
        losses=losses,
        trials=3,
        folds=(1, 3),
        epochs=None,
    )
    run_tuning(tuning, Console(quiet=True))
    ran = [(config.loss.name, config.fold, config.settings.epochs) for config in made_up]
    assert ran == [(loss, fold, 3) for loss in losses for _ in range(3) for fold in (1, 3)]
    settings = SETTINGS["small"]
    for position, loss in enumerate(losses):
        first, second, *_ = (made_up[6 * position + 2 * i] for i in range(3))
        usual = find_loss(loss, settings.loss_overrides).settings()
        assert usual.items() <= first.loss.settings().items()
        assert first.settings == settings
        assert second.loss.settings() != first.loss.settings()
        assert second.settings == settings
    assert {name: found.trials for name, found in tuned_settings(tuning.settings).items()} == (
        dict.fromkeys(losses, 3)
    )


@pytest.mark.parametrize("name", ["50%20off", "why?not#this"])
def test_any_folder_will_do(make_tuning, made_up, name, tmp_path):
    tuning = make_tuning(out=tmp_path / name, trials=2)
    run_tuning(tuning, Console(quiet=True))
    assert len(trials_of(tuning)) == 2
    written = {name, "small.yaml", ".small.yaml.lock"}
    assert {path.name for path in tmp_path.iterdir()} == written


def test_value_is_the_mean_of_the_best_epochs_of_the_folds(make_tuning, made_up):
    tuning = make_tuning(
        folds=(0, 2),
        trials=1,
    )
    run_tuning(tuning, Console(quiet=True))
    (trial,) = trials_of(tuning)
    assert trial.user_attrs["folds"] == pytest.approx([0.2, 0.22])  # of a learning rate of 0.01
    assert trial.value == pytest.approx(0.21)


def test_only_training_and_validation_classes_are_touched(make_tuning, monkeypatch):
    original = RetrievalData.split

    class Untested:
        def __init__(self, split):
            self.train, self.val = split.train, split.val

    monkeypatch.setattr(RetrievalData, "split", lambda self, fold: Untested(original(self, fold)))
    tuning = make_tuning(losses=["hpl:proxy_nca"], trials=1)
    run_tuning(tuning, Console(quiet=True))
    (file,) = tuning.folder.rglob("result.json")
    assert set(json.loads(file.read_text())["num_images"]) == {"train", "val"}
    assert not any("test" in key for key in json.loads(file.read_text()))


@pytest.mark.parametrize("loss", ["hpl:proxy_anchor", "soft_triple"])
def test_search_that_goes_on_is_the_one_that_was_not_interrupted(
    make_tuning, made_up, monkeypatch, tmp_path, loss
):
    whole = make_tuning(
        losses=[loss],
        trials=10,
        folds=(0, 1),
        out=tmp_path / "whole",
    )
    run_tuning(whole, Console(quiet=True))
    parts = make_tuning(
        losses=[loss],
        trials=6,
        folds=(0, 1),
    )
    train = running.train_and_validate
    for calls in (1, 4, 5):  # within a trial and between two

        def interrupted(*arguments, left=[calls]):  # noqa: B006
            if left[0] == 0:
                raise KeyboardInterrupt
            left[0] -= 1
            return train(*arguments)

        monkeypatch.setattr(running, "train_and_validate", interrupted)
        with pytest.raises(KeyboardInterrupt):
            run_tuning(parts, Console(quiet=True))
    monkeypatch.setattr(running, "train_and_validate", train)
    run_tuning(parts, Console(quiet=True))
    assert len(trials_of(parts)) == 6
    run_tuning(
        make_tuning(
            losses=[loss],
            trials=10,
            folds=(0, 1),
        ),
        Console(quiet=True),
    )
    expected, found = trials_of(whole), trials_of(parts)
    assert [t.params for t in found] == [t.params for t in expected]
    assert [t.value for t in found] == [t.value for t in expected]
    assert len({str(t.params) for t in found}) == 10
    count = len(made_up)
    run_tuning(
        make_tuning(
            losses=[loss],
            trials=10,
            folds=(0, 1),
        ),
        Console(quiet=True),
    )
    assert len(made_up) == count  # a finished search only reports


def test_interrupted_trial_keeps_its_finished_folds(make_tuning, monkeypatch):
    tuning = make_tuning(
        trials=2,
        folds=(0, 1),
    )
    trained, train = [], running.train_and_validate

    def interrupted(config, *arguments):
        trained.append(config.fold)
        if len(trained) == 4:
            raise KeyboardInterrupt
        return train(config, *arguments)

    monkeypatch.setattr(running, "train_and_validate", interrupted)
    with pytest.raises(KeyboardInterrupt):
        run_tuning(tuning, Console(quiet=True))
    run_tuning(tuning, Console(quiet=True))
    assert trained == [0, 1, 0, 1, 1]
    assert len(trials_of(tuning)) == 2
    folder = tuning.searches[0].trial_folder(1)
    assert {file.name for file in folder.rglob("*.*")} == {"config.json", "result.json"}


def test_failed_trials_use_the_budget_and_say_why(make_tuning, made_up, monkeypatch, capsys):
    train = running.train_and_validate

    def failing(config, *arguments):
        if len(made_up) == 2:
            made_up.append(config)
            raise ValueError("embeddings hold NaN")
        result = train(config, *arguments)
        if len(made_up) == 5:
            result["validation"][OBJECTIVE][0] = float("nan")
        return result

    monkeypatch.setattr(running, "train_and_validate", failing)
    tuning = make_tuning(
        folds=(0, 1),
        trials=4,
    )
    run_tuning(tuning, Console())
    trials = trials_of(tuning)
    assert [bool(t.user_attrs["error"]) for t in trials] == [False, True, True, False]
    assert [t.value == 0 for t in trials] == [False, True, True, False]
    assert len(made_up) == 2 + 1 + 2 + 2  # a trial that failed is over
    assert "failed: embeddings hold NaN" in capsys.readouterr().out
    entry = yaml.safe_load(tuning.settings.read_text())["losses"]["proxy_anchor"]
    assert (entry["trials"], entry["failed"]) == (4, 2)
    table = trials_table(tuning.folder)
    assert list(table["error"].notna()) == [False, True, True, False]
    assert table["value"].tolist()[1] == 0


def test_hopeless_trials_end_early_and_are_never_the_best(make_tuning, made_up, capsys, tmp_path):
    """Among the worst quarter of the trials so far at the same epoch, from the fifth trial on."""
    tuning = make_tuning(losses=["contrastive"], trials=12, epochs=4, folds=(0, 1))
    run_tuning(tuning, Console(width=200))
    trials = trials_of(tuning)
    pruned = [trial for trial in trials if trial.state.name == "PRUNED"]
    assert 0 < len(pruned) < 8
    assert min(trial.number for trial in pruned) >= 4
    value = [
        made_up_accuracy(trial.params["learning_rate"], trial.params["neg_margin"])
        for trial in trials
    ]
    for trial in pruned:
        whole = [i for i in range(trial.number) if trials[i].state.name == "COMPLETE"]
        assert value[trial.number] < np.percentile([value[i] for i in whole], 25)
        assert len(trial.user_attrs["folds"]) == 1
        assert max(trial.intermediate_values) == 3  # the first epoch with the made-up accuracy
    assert capsys.readouterr().out.count("ended early") == len(pruned)
    assert sum(config.fold == 1 for config in made_up) == 12 - len(pruned)
    entry = yaml.safe_load(tuning.settings.read_text())["losses"]["contrastive"]
    assert entry["ended_early"] == len(pruned)
    assert entry["trials"] == 12
    best = trials[int(np.argmax(value))].user_attrs
    assert (entry["training"], entry["loss"]) == (best["training"], best["loss"])
    table = trials_table(tuning.folder)
    assert table["pruned"].sum() == len(pruned)
    again = make_tuning(
        losses=["contrastive"], trials=6, epochs=4, folds=(0, 1), out=tmp_path / "again"
    )
    for number in (6, 12):  # a search that goes on is the same search
        run_tuning(replace(again, searches=tuple(
            replace(search, trials=number) for search in again.searches
        )), Console(quiet=True))  # fmt: skip
    assert [t.value for t in trials_of(again)] == [t.value for t in trials]
    assert [t.state for t in trials_of(again)] == [t.state for t in trials]


def test_a_real_training_ends_when_it_is_told(make_tuning, small_dataset, tmp_path):
    (config,) = make_tuning(epochs=3).searches[0].runs(
        make_tuning(epochs=3).searches[0].loss, make_tuning(epochs=3).searches[0].settings
    )  # fmt: skip
    seen = []

    def stop(history):
        seen.append(list(history))
        return len(history) == 2

    progress = SuiteProgress(Console(quiet=True), 1, 1)
    result = train_and_validate(
        config, small_dataset, tmp_path, torch.device("cpu"), progress, stop
    )
    assert [len(history) for history in seen] == [1, 2]
    assert result["stopped_early"]
    assert result["validation"][OBJECTIVE] == seen[-1]
    assert result["best_epoch"] == 2


def test_search_in_which_all_fails_is_given_up(make_tuning, monkeypatch):
    def failing(*arguments):
        raise ValueError("no such pictures")

    monkeypatch.setattr(running, "train_and_validate", failing)
    tuning = make_tuning(trials=8)
    for _ in range(2):
        with pytest.raises(
            ValueError, match=r"first 3 trials of proxy_anchor failed.*no such pict"
        ):
            run_tuning(tuning, Console(quiet=True))
    assert len(trials_of(tuning)) == 3
    assert not tuning.settings.exists()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"folds": (1,)}, r"folds: \[0\] there, \[1\] asked for"),
        ({"epochs": 2}, r"\(training\.epochs: 1 there, 2 asked for\)"),
        ({"seeds": (3,)}, "seed: 0 there, 3 asked for"),
        ({"skip_broken": True}, "skip_broken: False there"),
    ],
)
def test_other_search_is_refused(make_tuning, made_up, tmp_path, changes, message):
    run_tuning(make_tuning(trials=1), Console(quiet=True))
    other = make_tuning(
        **changes, settings=tmp_path / "other.yaml", losses=["arcface", "proxy_anchor"]
    )
    with pytest.raises(ValueError, match=f"holds a search with other settings.*{message}"):
        run_tuning(other, Console(quiet=True))
    assert len(made_up) == 1  # not even the loss before it


def test_other_images_are_another_search(
    make_tuning, made_up, small_dataset, monkeypatch, tmp_path
):
    run_tuning(make_tuning(trials=1), Console(quiet=True))
    other = replace(small_dataset, untrained=small_dataset.untrained + 1)
    monkeypatch.setitem(DATASETS, "small", replace(DATASETS["small"], load=lambda source: other))
    with pytest.raises(ValueError, match=r"holds a search on other images \(images: .*--out"):
        run_tuning(make_tuning(trials=2, settings=tmp_path / "new.yaml"), Console(quiet=True))
    with pytest.raises(ValueError, match=r"searches on other pictures.*another --settings"):
        run_tuning(make_tuning(trials=2, out=tmp_path / "new"), Console(quiet=True))
    assert len(made_up) == 1


def test_other_defaults_are_another_search(make_tuning, made_up, monkeypatch):
    run_tuning(make_tuning(trials=1), Console(quiet=True))
    monkeypatch.setitem(SETTINGS, "small", replace(SETTINGS["small"], batch_size=8))
    with pytest.raises(
        ValueError, match=r"other settings \(training\.batch_size: 16 there, 8 asked for\)"
    ):
        run_tuning(make_tuning(trials=2), Console(quiet=True))


@pytest.mark.parametrize(
    "changes",
    [
        {
            "folds": (
                0,
                1,
            )
        },
        {"seeds": (1,)},
        {"epochs": 2},
        {"batch_size": 8},
        {"learning_rate": 0.5},
    ],
)
def test_results_of_other_searches_are_not_mixed(make_tuning, made_up, tmp_path, changes):
    run_tuning(make_tuning(trials=1), Console(quiet=True))
    with pytest.raises(ValueError, match="Choose another --settings"):
        make_tuning(losses=["arcface"], out=tmp_path / "elsewhere", **changes)


def test_a_batch_size_that_was_chosen_is_kept_with_what_was_found(make_tuning, made_up):
    tuning = make_tuning(trials=1, batch_size=8)
    run_tuning(tuning, Console(quiet=True))
    assert "--epochs 1 --batch-size 8\n" in tuning.settings.read_text()
    found = tuned_settings(tuning.settings)
    _, settings = apply_tuned(find_loss("proxy_anchor"), SETTINGS["small"], tuned=found)
    assert settings.batch_size == 8 != SETTINGS["small"].batch_size
    text = tuning.settings.read_text()
    for wrong in ("batch_size: 0", "batchsize: 8"):
        tuning.settings.write_text(text.replace("  batch_size: 8", f"  {wrong}"))
        with pytest.raises(ValueError, match=r"small\.yaml: .*batch_?size"):
            tuned_settings(tuning.settings)


def test_one_search_at_a_time_writes_the_file_wherever_its_runs_are(make_tuning, made_up, tmp_path):
    tuning = make_tuning(trials=1)
    writing = Thread(target=run_tuning, args=(tuning, Console(quiet=True)))
    with FileLock(tmp_path / ".small.yaml.lock"):  # as one with another --out does
        writing.start()
        writing.join(2)
        assert writing.is_alive()
        assert not tuning.settings.exists()
    writing.join()
    assert tuning.settings.exists()


@pytest.mark.parametrize("how", ["no study yet", "empty"])
def test_a_search_that_was_killed_before_its_first_trial_starts(make_tuning, made_up, how):
    tuning = make_tuning(trials=1)
    folder = tuning.searches[0].folder
    folder.mkdir(parents=True)
    if how == "empty":
        (folder / FILE).touch()
    else:  # tables alone
        optuna.storages.RDBStorage(f"sqlite:///{folder / FILE}")
    run_tuning(tuning, Console(quiet=True))
    assert len(trials_of(tuning)) == 1


def test_a_damaged_file_of_trials_is_named(make_tuning, made_up):
    tuning = make_tuning(trials=1)
    folder = tuning.searches[0].folder
    folder.mkdir(parents=True)
    (folder / FILE).write_bytes(bytes(range(256)) * 8)
    with pytest.raises(OSError, match=rf"{FILE} is not what a search wrote \(file is not a data"):
        run_tuning(tuning, Console(quiet=True))
    (folder / FILE).unlink()
    (folder / FILE).mkdir()
    with pytest.raises(OSError, match=rf"{FILE} cannot be opened \(unable to open"):
        run_tuning(tuning, Console(quiet=True))


def test_losses_of_earlier_searches_stay_and_their_budget_is_compared(make_tuning, made_up, capsys):
    run_tuning(make_tuning(losses=["proxy_anchor"], trials=2), Console())
    before = tuned_settings(make_tuning().settings)
    assert "budgets" not in capsys.readouterr().out
    run_tuning(make_tuning(losses=["arcface"], trials=1), Console(width=300))
    after = tuned_settings(make_tuning().settings)
    assert after["proxy_anchor"] == before["proxy_anchor"]
    assert set(after) == {"arcface", "proxy_anchor"}
    assert "had different budgets (trials: arcface 1, proxy_anchor 2)" in capsys.readouterr().out


def test_fewer_trials_are_the_first_of_many(make_tuning, made_up):
    run_tuning(make_tuning(trials=2), Console(quiet=True))
    short = make_tuning().settings.read_text()
    run_tuning(make_tuning(trials=9), Console(quiet=True))
    assert make_tuning().settings.read_text() != short
    run_tuning(make_tuning(trials=2), Console(quiet=True))
    assert make_tuning().settings.read_text() == short


@pytest.mark.parametrize("loss", ["hpl:soft_triple", "triplet_margin", "multi_similarity"])
def test_tuned_settings_give_the_best_trial_again(make_tuning, loss):
    tuning = make_tuning(losses=[loss], trials=3, epochs=2)
    run_tuning(tuning, Console(quiet=True))
    (search,) = tuning.searches
    best = max(trials_of(tuning), key=lambda trial: trial.value)
    settings = SETTINGS["small"].with_epochs(2)
    spec = find_loss(loss, settings.loss_overrides)
    (config,) = search.runs(*apply_tuned(spec, settings, tuned=tuned_settings(tuning.settings)))
    result = read_result(config, search.trial_folder(best.number))  # refuses other settings
    assert selected(result) == best.value
    content = yaml.safe_load(tuning.settings.read_text())
    assert content["losses"][loss]["validation"]["best"] == round(100 * best.value, 2)
    assert content["losses"][loss]["commit"] == result["environment"]["commit"]
    assert content["epochs"] == 2


class SmallSource(DataSource):
    """Other processes do not know the data set of the fixture."""

    def load(self, warn=False):
        return make_small_data()


def test_searches_in_processes_are_the_same(make_tuning, tmp_path, capsys):
    losses = ["proxy_nca", "hpl:proxy_nca"]
    alone = make_tuning(losses=losses, trials=2, out=tmp_path / "alone")
    run_tuning(alone, Console(quiet=True))
    together = make_tuning(losses=losses, trials=2, jobs=2, settings=tmp_path / "together.yaml")
    run_tuning(
        replace(together, request=replace(together.request, source=SmallSource("small"))), Console()
    )
    printed = capsys.readouterr().out
    assert printed.count("trial   2/2") == 2
    assert [t.value for t in trials_of(together, 1)] == [t.value for t in trials_of(alone, 1)]
    found, expected = tuned_settings(together.settings), tuned_settings(alone.settings)
    assert [found[loss].loss for loss in losses] == [expected[loss].loss for loss in losses]


def test_table_and_plot(make_tuning, made_up):
    tuning = make_tuning(losses=["hpl:proxy_anchor", "proxy_anchor"], trials=3)
    run_tuning(tuning, Console(quiet=True))
    table, plot = write_trials(tuning.folder)
    assert plot.read_bytes().startswith(b"\x89PNG")
    assert table.read_text().startswith("loss,trial,value,best,seconds,error,pruned,learning_rate")
    trials = trials_table(tuning.folder)
    assert len(trials) == 6
    for _, rows in trials.groupby("loss"):
        assert rows["best"].tolist() == rows["value"].cummax().tolist()
    flat = trials[trials["loss"] == "proxy_anchor"]
    assert flat["level_weights"].isna().all()
    assert np.allclose(flat["value"], -10 * np.log10(flat["learning_rate"]))
    with pytest.raises(OSError, match="no finished trial"):
        trials_table(tuning.settings.parent)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"trials": 0}, "--trials must be at least 1, got 0"),
        ({"losses": ["proxy_ancor"]}, "did you mean"),
        ({"losses": ["arcface", "arcface"]}, "--losses has arcface more than once"),
        ({"dataset": "glyfs"}, "unknown data set 'glyfs'"),
        ({"folds": (4,)}, r"in 0\.\.3, got 4"),
        ({"epochs": 0}, "at least 1, got 0"),
        ({"seeds": (-1,)}, "must not be negative"),
        ({"jobs": 0}, "--jobs must be at least 1"),
        ({"device": "gpu"}, "--device gpu"),
    ],
)
def test_bad_input_before_anything_is_written(make_tuning, changes, message, tmp_path):
    with pytest.raises(ValueError, match=message):
        make_tuning(**changes)
    assert not list(tmp_path.iterdir())


def test_command_line_end_to_end(small_dataset, tmp_path, capsys):
    out, file = tmp_path / "runs", tmp_path / "small.yaml"
    common = ["--losses", "hpl:proxy_anchor", "--epochs", "2", "--out", str(out)]
    tune = ["tune", "small", *common, "--trials", "2", "--settings", str(file)]
    assert main(tune) == 0
    printed = capsys.readouterr().out
    assert "trial   2/2" in printed
    assert "trials.csv" in printed
    written = file.read_text()
    assert f"tune small --settings {file} --folds 0 --seed 0 --epochs 2\n" in written
    assert f"`pml-hierarchical run small --tuned {file}`" in written
    assert main([*tune, "--seed", "1"]) == 2
    assert "Choose another --settings" in capsys.readouterr().err
    assert main(["run", "--dataset", "small", *common, "--tuned", str(file)]) == 0
    (result,) = (out / "small").rglob("result.json")
    config = json.loads(result.read_text())["config"]
    entry = yaml.safe_load(file.read_text())["losses"]["hpl:proxy_anchor"]
    assert config["loss_settings"] == entry["loss"]
    assert entry["training"].items() <= config["training"].items()
    other = ["run", "--dataset", "small", "--losses", "arcface", "--tuned", str(file)]
    assert main([*other, "--out", str(out)]) == 2
    assert "no tuned settings for 'arcface'" in capsys.readouterr().err
