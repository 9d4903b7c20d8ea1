"""How long training is, and which epochs may be selected."""

from dataclasses import replace

import pytest
from rich.console import Console
from small_data import SMALL_SETTINGS, small_request

from benchmarks import suite
from benchmarks.backbones import BackboneChoice
from benchmarks.command_line import main
from benchmarks.datasets import DATASETS
from benchmarks.losses import DEFAULT_LOSSES
from benchmarks.run_config import RunConfig
from benchmarks.settings import REGIMES, SETTINGS, about_length
from benchmarks.training.session import best_epoch, selected

OBJECTIVE = "mean_average_precision_at_r_level0"
HIERARCHICAL = ("hpl:proxy_nca", "hpl_given:proxy_anchor", "hpl:soft_triple")


def planned(tmp_path, dataset, losses=HIERARCHICAL, **changes):
    return suite.plan(small_request(tmp_path, losses, dataset, **changes)).runs


@pytest.mark.parametrize("dataset", DATASETS)
@pytest.mark.parametrize("length", [*({"regime": name} for name in REGIMES), {"epochs": 1}])
def test_the_warm_up_is_over_before_an_epoch_may_be_selected(tmp_path, dataset, length):
    for run in planned(tmp_path, dataset, **length):
        warmup = run.loss.settings()["warmup"]
        assert warmup == round(0.3 * run.settings.epochs * run.settings.iterations_per_epoch)
        steps_before = (run.first_selectable_epoch - 1) * run.settings.iterations_per_epoch
        if run.settings.epochs > 1:
            assert warmup <= steps_before
        assert warmup < run.settings.iterations
        assert run.first_selectable_epoch <= run.settings.epochs


def test_all_losses_are_selected_from_the_same_epochs(tmp_path):
    runs = planned(tmp_path, "glyphs", DEFAULT_LOSSES)
    assert {run.first_selectable_epoch for run in runs} == {59}  # of 192, 57.6 of them warm-up
    (longer,) = planned(tmp_path, "omniglot", ["hpl:proxy_nca"])
    spec = longer.loss.with_settings({"warmup": 100 * 60})
    assert replace(longer, loss=spec).first_selectable_epoch == 101


def test_a_warm_up_as_long_as_the_training_is_refused(tmp_path):
    (run,) = planned(tmp_path, "glyphs", ["hpl:proxy_nca"])
    spec = run.loss.with_settings({"warmup": 192 * 60})
    with pytest.raises(ValueError, match=r"warm-up of 11520 .* training has 11520"):
        replace(run, loss=spec).check()


@pytest.mark.parametrize(
    ("values", "first", "expected"),
    [
        ([0.9, 0.2, 0.4, 0.4], 1, 1),
        ([0.9, 0.2, 0.4, 0.4], 2, 3),  # the earliest of equals
        ([0.9, 0.2], 3, None),
    ],
)
def test_selection_leaves_the_warm_up_out(values, first, expected):
    history = {"epoch": list(range(1, len(values) + 1)), OBJECTIVE: values}
    assert best_epoch(history, first) == expected
    result = {"validation": history, "best_epoch": expected}
    assert selected(result) == (values[-1] if expected is None else values[expected - 1])


def test_no_selected_epoch_lies_in_the_warm_up(small_dataset, tmp_path, monkeypatch):
    """Also where the first epoch is by far the best: the network only gets worse."""
    monkeypatch.setitem(SETTINGS, "small", replace(SMALL_SETTINGS, learning_rate=1.0))
    request = small_request(tmp_path, ["proxy_nca", "hpl:proxy_nca"])
    for result in suite.run(suite.plan(request), Console(quiet=True)).results:
        values = result["validation"][OBJECTIVE]
        assert values[0] == max(values)
        assert result["best_epoch"] > 1
        assert len(values) == 3


def test_short_and_full(tmp_path):
    short, full = (planned(tmp_path, "glyphs", regime=name)[0].settings for name in REGIMES[::-1])
    assert (full.epochs, full.weight_decay, full.learning_rate) == (192, 0.05, 3e-3)
    assert replace(short, epochs=192) == full
    assert short.epochs < 10
    (anchor,) = planned(tmp_path, "glyphs", ["hpl:proxy_anchor"])
    assert (anchor.settings.learning_rate, anchor.loss.proxy_learning_rate) == (1e-3, 3e-3)
    share = f"{100 * short.epochs / 192:.0f}% of the full 192"
    assert share in str(about_length("glyphs", short.epochs))
    assert about_length("glyphs", 192) is None


def test_drawings_are_augmented_where_their_own_network_is_trained(tmp_path):
    (own,) = planned(tmp_path, "glyphs", ["contrastive"])
    assert own.settings.augmentation is not None
    assert own.to_dict()["training"]["augmentation"]["degrees"] == 10
    other = BackboneChoice("efficientnet_lite0")
    (features,) = planned(tmp_path, "glyphs", ["contrastive"], backbone=other)
    assert features.settings.augmentation is None
    stronger = planned(tmp_path, "omniglot", ["contrastive"])[0].settings.augmentation
    for name, value in vars(own.settings.augmentation).items():
        assert getattr(stronger, name) == 2 * value


def test_run_is_short_and_the_others_full_unless_told(small_dataset, tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(SETTINGS, "small", replace(SMALL_SETTINGS, short_epochs=1))
    trained = []

    def run(planned, console, report):
        trained.extend(planned.runs)
        report(None)

    monkeypatch.setattr(suite, "run", run)
    monkeypatch.setattr("benchmarks.results.collect", lambda stored: (_ for _ in ()).throw(
        ValueError("enough")
    ))  # fmt: skip
    for arguments in ([], ["--regime", "full"], ["--epochs", "2"]):
        command = ["run", "small", "--losses", "proxy_nca", "--out", str(tmp_path), *arguments]
        assert main(command) == 2
    assert [run.settings.epochs for run in trained] == [1, 3, 2]
    assert main(["run", "small", "--epochs", "2", "--regime", "full"]) == 2
    assert "give --regime full or --epochs 2, not both" in capsys.readouterr().err
    assert main(["run", "small", "--set", "epochs=2", "--regime", "full"]) == 2
    assert "give --regime full or --set epochs=2, not both" in capsys.readouterr().err


def test_what_identifies_a_run_has_its_length_but_not_the_regime(small_dataset, tmp_path):
    runs = [
        planned(tmp_path, "glyphs", ["arcface"], **length)[0]
        for length in ({"regime": "short"}, {"epochs": SETTINGS["glyphs"].short_epochs})
    ]
    assert isinstance(runs[0], RunConfig)
    assert runs[0].to_dict() == runs[1].to_dict()
