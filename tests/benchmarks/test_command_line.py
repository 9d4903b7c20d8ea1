"""Answers to what people type: each says what to do, and the command can do it."""

import subprocess
import sys
import warnings

import pytest

from benchmarks.command_line import main
from benchmarks.losses import find_loss
from benchmarks.tuning import tuned


@pytest.mark.parametrize(
    ("name", "message"),
    [
        (
            "HierarchicalProxyLoss",
            "HPL needs the loss that it builds on, hpl:LOSS, such as",
        ),
        ("hpl", "hpl:LOSS, such as hpl:proxy_anchor"),
        ("hpl_given", "hpl_given:LOSS, such as hpl_given:proxy_anchor"),
        ("ProxyAnchorLoss", "the class ProxyAnchorLoss is called 'proxy_anchor' here"),
        ("ContrastiveLoss", "is called 'contrastive' here"),
        ("proxy_ancor", "did you mean 'proxy_anchor'?"),
    ],
)
def test_names_of_losses(name, message):
    with pytest.raises(ValueError, match="unknown loss") as caught:
        find_loss(name)
    assert message in str(caught.value)
    for known in ("hpl:proxy_anchor", "hpl_given:proxy_anchor", "proxy_anchor", "contrastive"):
        find_loss(known)  # what the messages name exists


def test_a_typo_in_a_setting_of_a_loss():
    with pytest.raises(ValueError, match=r"'arcface' has no setting 'magrin'; did you mean 'marg"):
        find_loss("arcface", {"arcface": {"magrin": 1}})
    with pytest.raises(ValueError, match="did you mean 'level_weights'"):
        find_loss("hpl:arcface", {"hpl": {"levels_weight": 1}})


def test_tuned_without_its_file_names_the_command(small_dataset, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(tuned, "FOLDER", tmp_path)
    out = str(tmp_path / "runs")
    assert main(["run", "small", "--tuned", "--losses", "arcface", "--out", out]) == 2
    error = capsys.readouterr().err
    assert "small.yaml does not exist" in error
    assert "`pml-hierarchical tune small`" in error
    assert not (tmp_path / "runs").exists()
    common = ["--epochs", "1", "--losses", "arcface", "--out", out]
    assert main(["tune", "small", "--trials", "1", *common]) == 0  # what the message says works
    assert (tmp_path / "small.yaml").exists()


@pytest.mark.parametrize(
    "arguments", [["small"], ["--dataset", "small"], ["small", "--dataset", "small"]]
)
def test_a_data_set_is_an_argument_or_an_option_of_every_command(
    small_dataset, tmp_path, capsys, arguments
):
    for command in ("run", "tune", "ablate"):
        # stops at the fold, after the data set was found
        assert main([command, *arguments, "--folds", "9", "--out", str(tmp_path)]) == 2
        assert "--folds must be in" in capsys.readouterr().err


def test_no_data_set_and_two(small_dataset, capsys):
    assert main(["tune", "small", "--dataset", "glyphs"]) == 2
    assert "give one data set, not small and --dataset glyphs" in capsys.readouterr().err
    assert main(["tune"]) == 2
    assert "which data set?" in capsys.readouterr().err


def test_a_warning_is_a_line_of_the_command_line_alone(small_dataset, tmp_path, capfd):
    usual = warnings.formatwarning
    run = ["run", "small", "--losses", "contrastive", "--epochs", "1", "--out"]
    out = tmp_path / "runs [of mine]"
    assert main([*run, str(out)]) == 0
    assert f"wrote {out / 'small' / 'report.html'}" in capfd.readouterr().out  # no markup
    (out / "small" / "triplet_margin" / "seed0_fold0").mkdir(parents=True)
    broken = out / "small" / "triplet_margin" / "seed0_fold0" / "result.json"
    broken.write_text("{")
    command = [sys.executable, "-m", "benchmarks", "report", str(out), "--out", str(tmp_path / "r")]
    errors = subprocess.run(command, check=True, capture_output=True, text=True).stderr
    assert errors.startswith(f"warning: {broken} is damaged")
    assert ".py:" not in errors
    assert warnings.formatwarning is usual
