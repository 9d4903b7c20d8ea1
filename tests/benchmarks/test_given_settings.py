"""``--set NAME=VALUE`` and ``--settings FILE``: what they reach, and what they refuse."""

import json
import re

import pytest

from benchmarks.command_line import main
from benchmarks.given_settings import given_settings
from benchmarks.losses import find_loss
from benchmarks.settings import SETTINGS

FLAT, HPL, GIVEN = (find_loss(n) for n in ("arcface", "hpl:arcface", "hpl_given:proxy_nca"))


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("0.1", 0.1),
        ("1e-3", 1e-3),
        ("20", 20),
        ("20,5", (20, 5)),
        ("1,", (1,)),
        ("true", True),
        ("none", None),
        ("learned", "learned"),
        ("LpDistance(power=2, p=1)", "LpDistance(power=2, p=1)"),
    ],
)
def test_values(text, value):
    found = given_settings([f"name={text}"]).losses[""]["name"]
    assert found == value
    assert type(found) is type(value)


def test_a_setting_goes_to_every_loss_that_has_it():
    given = given_settings(["level_weights=0.7", "margin=11", "num_superclasses=3"])
    assert dict(given.on(FLAT).arguments) == {**FLAT.arguments, "margin": 11}
    assert given.on(HPL).arguments["margin"] == 11
    assert given.on(HPL).hpl_arguments["level_weights"] == 0.7
    assert given.on(HPL).hpl_arguments["num_superclasses"] == 3
    assert given.on(GIVEN).hpl_arguments["level_weights"] == 0.7
    assert given.on(GIVEN).arguments == GIVEN.arguments
    assert given.lines([FLAT, HPL, GIVEN]) == [
        "level_weights=0.7 for hpl:arcface, hpl_given:proxy_nca",
        "margin=11 for arcface, hpl:arcface",
        "num_superclasses=3 for hpl:arcface",  # the other tree is given
    ]


def test_one_loss_by_its_name_over_its_kind_over_all():
    given = given_settings(
        ["hpl:arcface.margin=3", "margin=1", "hpl.margin=2", "miner.epsilon=0.5", "hpl.warmup=9"]
    )
    assert [given.on(spec).arguments["margin"] for spec in (FLAT, HPL)] == [1, 3]
    other = find_loss("hpl:cosface")
    assert given.on(other).arguments["margin"] == 2
    assert given.on(other).hpl_arguments["warmup"] == 9
    mined = find_loss("multi_similarity")
    assert given.on(mined).miner_arguments["epsilon"] == 0.5


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("level_weigths=1", "no setting 'level_weigths' .*; did you mean 'level_weights'?"),
        ("lerning_rate=1", "did you mean 'learning_rate'?"),
        ("training.epoch=1", "the training has no setting 'epoch'; did you mean 'epochs'?"),
        ("hpl:arcface.margn=1", "the loss 'hpl:arcface' has no setting 'margn'; did you mean"),
        ("hpl:arcfase.margin=1", "'hpl:arcfase' is not among the losses; did you mean 'hpl:arc"),
        ("level_weights", "--set takes NAME=VALUE, such as level_weights=0.1; got 'level_weights'"),
        ("level_weights=", "--set takes NAME=VALUE"),
        ("epochs=0", "epochs of the training must be an integer of at least 1, got 0"),
        ("epochs=2.5", "epochs of the training must be an integer of at least 1, got 2.5"),
        ("weight_decay=-1", "weight_decay of the training must be a number of at least 0, got -1"),
        ("warmup=0.5", "training.warmup=0.5 is a share of the training"),
        ("training.warmup=1.5", "warmup must be a share of the training"),
        ("coarse_proxies=learnt", "the settings of hpl:arcface: .*coarse_proxies"),
        ("level_weights=a", "the settings of hpl:arcface: .*level_weights"),
        ("distance=LpDistanc()", "LpDistanc"),
    ],
)
def test_what_is_refused_before_anything_is_trained(small_dataset, tmp_path, capsys, text, message):
    command = ["run", "small", "--losses", "arcface", "hpl:arcface", "--out", str(tmp_path / "out")]
    assert main([*command, "--set", text]) == 2
    error = capsys.readouterr().err
    assert re.search(message, error), error
    assert not list(tmp_path.rglob("seed0_fold0"))


def test_what_concerns_no_loss_of_the_command(small_dataset, tmp_path, capsys):
    command = ["run", "small", "--out", str(tmp_path), "--losses"]
    for losses in (["arcface"], ["hpl_given:arcface"]):
        assert main([*command, *losses, "--set", "num_superclasses=3"]) == 2
        assert "no setting 'num_superclasses'" in capsys.readouterr().err
    for name, owner in {"warmup": "hpl:proxy_anchor", "alpha": "multi_similarity"}.items():
        assert main([*command, "arcface", "--set", f"{name}=3"]) == 2
        error = capsys.readouterr().err
        assert f"no setting '{name}' of" in error
        assert f"it is one of other losses, such as {owner}. There are: " in error
        assert f", {name}," not in error
    assert "training.warmup, " in error
    assert main([*command, "arcface", "--set", "epochs=1", "--epochs", "2"]) == 2
    assert "give --epochs or --set epochs, not both" in capsys.readouterr().err


def test_what_is_set_is_recorded(small_dataset, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("benchmarks.report.write_report", lambda stored, summary: [])
    file = tmp_path / "mine.yaml"
    file.write_text(
        "level_weights: [1, 0.7]\n"
        "warmup: 5\n"
        "training:\n  weight_decay: 0.02\n  iterations_per_epoch: 4\n"
        "hpl:arcface:\n  margin: 11\n"
    )
    command = ["run", "small", "--losses", "arcface", "hpl:arcface", "--epochs", "2"]
    command += ["--settings", str(file), "--set", "warmup=3", "training.trunk_factor=0.5"]
    command += ["hpl:arcface.num_superclasses=4", "--out", str(tmp_path)]
    assert main(command) == 0
    said = capsys.readouterr().out
    assert "warmup=3 for hpl:arcface\n" in said
    assert "weight_decay=0.02 for all losses\n" in said
    assert "epochs=2" not in said  # of an option of its own
    configs = {}
    for name in ("arcface", "hpl-arcface"):
        path = tmp_path / "small" / name / "seed0_fold0" / "config.json"
        configs[name] = json.loads(path.read_text())
        training = configs[name]["training"]
        assert training["weight_decay"] == 0.02
        assert training["trunk_factor"] == 0.5
        assert training["epochs"] == 2
    settings = configs["hpl-arcface"]["loss_settings"]
    wanted = {"level_weights": [1, 0.7], "warmup": 3, "margin": 11, "num_superclasses": 4}
    assert settings.items() >= wanted.items()
    assert configs["arcface"]["loss_settings"]["margin"] != 11
    assert main(command) == 0  # the same runs again, which are there
    assert "2 of 2 runs are already done" in capsys.readouterr().out
    assert main([*command, "--set", "warmup=4"]) == 2
    assert "holds a run with other settings" in capsys.readouterr().err


def test_the_warm_up_in_steps_follows_the_given_training(small_dataset, make_plan):
    given = given_settings(["training.warmup=0.5", "epochs=4", "iterations_per_epoch=10"])
    (run,) = make_plan(losses=("hpl:proxy_anchor",), given=given).runs
    assert run.loss.hpl_arguments["warmup"] == 20
    usual = SETTINGS["small"]
    assert (run.settings.epochs, run.settings.batch_size) == (4, usual.batch_size)


def test_files_that_are_none(tmp_path):
    file = tmp_path / "file.yaml"
    for content, message in {
        "a: [": "is not YAML",
        "- a\n": "must hold lines such as",
        "dataset: glyphs\nlosses: {}\n": "give it to `run --tuned`",
    }.items():
        file.write_text(content)
        with pytest.raises(ValueError, match=message):
            given_settings(file=file)
    with pytest.raises(OSError, match=r"^--settings .*none\.yaml cannot be read: No such"):
        given_settings(file=tmp_path / "none.yaml")
