"""Answers to what people type: each says what to do, and the command can do it."""

import json
import os
import subprocess
import sys
import warnings
from typing import Annotated

import numpy as np
import pytest
import typer
from typer.main import get_command

from benchmarks.command_line import app, main
from benchmarks.losses import find_loss
from benchmarks.several_values import FROM_DATASET, SeveralValues
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
    for command in ("run", "tune", "converge", "ablate"):
        # stops at the fold, after the data set was found
        assert main([command, *arguments, "--folds", "9", "--out", str(tmp_path)]) == 2
        assert "--folds must be in" in capsys.readouterr().err


def test_no_data_set_and_two(small_dataset, capsys):
    assert main(["tune", "small", "--dataset", "glyphs"]) == 2
    assert "give one data set, not small and --dataset glyphs" in capsys.readouterr().err
    assert main(["tune"]) == 2
    assert "which data set?" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("index", "e", "--kind", "foo"), "'--kind': 'foo' is not one of 'auto', 'exact'"),
        (("search", "g", "q", "-k"), "an argument. (see `pml-hierarchical search --help`)"),
    ],
)
def test_a_wrong_option_is_explained_in_one_sentence(words, told, capsys):
    assert main(words) == 2
    error = capsys.readouterr().err
    assert told in error
    assert ".," not in error


def test_a_warning_is_a_line_of_the_command_line_alone(small_dataset, tmp_path, capfd):
    usual = warnings.formatwarning
    run = ["run", "small", "--losses", "contrastive", "--epochs", "1", "--out"]
    out = tmp_path / "runs [of mine]"
    assert main([*run, str(out)]) == 0
    assert f"wrote {out / 'small' / 'report.html'}" in capfd.readouterr().out  # no markup
    (out / "small" / "triplet_margin" / "seed0_fold0").mkdir(parents=True)
    broken = out / "small" / "triplet_margin" / "seed0_fold0" / "result.json"
    broken.write_text("{")

    def show(message, category, filename, lineno, file=None, line=None):
        print(warnings.formatwarning(message, category, filename, lineno), file=sys.stderr, end="")

    with warnings.catch_warnings():
        warnings.showwarning = show  # what Python does, and pytest does not
        assert main(["report", str(out), "--out", str(tmp_path / "r")]) == 0
    errors = capfd.readouterr().err
    assert errors.startswith(f"warning: {broken} is damaged")
    assert ".py:" not in errors
    assert warnings.formatwarning is usual


# ---------------------------------------------------------------- the help
def test_an_option_of_the_same_meaning_looks_the_same_in_all_commands():
    looks: dict[tuple[str, bool], set[str | None]] = {}
    for command in get_command(app).commands.values():
        for param in command.params:
            name, is_repeated = param.opts[0], getattr(param, "multiple", False)
            looks.setdefault((name, is_repeated), set()).add(param.metavar)
            assert not is_repeated or (param.metavar or "").endswith("..."), name
    differing = {name for (name, _), found in looks.items() if name[0] == "-" and len(found) > 1}
    # a folder, and of `search` and `tree` a file; factors of `ablate`, and what `speed` measures
    assert differing <= {"--out", "--what"}


# ---------------------------------------------------------------- the command line itself
def parsed(*arguments):
    """What a command with options of all kinds gets."""
    app, found = typer.Typer(), {}

    @app.command(cls=SeveralValues)
    def command(
        name: Annotated[str | None, typer.Argument()] = None,
        losses: Annotated[list[str] | None, typer.Option()] = None,
        seeds: Annotated[list[int], typer.Option("--seeds", "-s")] = [0],  # noqa: B006
        tuned: Annotated[str | None, typer.Option(metavar="[FILE]")] = None,
        out: str = "runs",
    ) -> None:
        found.update(name=name, losses=losses, seeds=seeds, tuned=tuned, out=out)

    app(list(arguments), standalone_mode=False)
    return found


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", {"losses": None, "seeds": [0], "tuned": None}),
        ("--losses a b --seeds 1 2", {"losses": ["a", "b"], "seeds": [1, 2]}),
        ("x --losses a --losses b", {"losses": ["a", "b"], "name": "x"}),
        ("--losses a b --out o", {"losses": ["a", "b"], "out": "o"}),
        ("--losses a b -- x", {"losses": ["a", "b"], "name": "x"}),
        ("--losses=a x", {"losses": ["a"], "name": "x"}),
        ("--out o x --seeds -1 2", {"seeds": [-1, 2], "name": "x"}),
        ("-s 1 2", {"seeds": [1, 2]}),
        ("--tuned", {"tuned": FROM_DATASET}),
        ("--tuned --losses a", {"tuned": FROM_DATASET, "losses": ["a"]}),
        ("--tuned f.yaml x", {"tuned": "f.yaml", "name": "x"}),
        ("--losses a --tuned", {"tuned": FROM_DATASET, "losses": ["a"]}),
    ],
)
def test_options_of_several_values(text, expected):
    assert parsed(*text.split()).items() >= expected.items()


def test_an_option_of_several_values_without_any():
    with pytest.raises(Exception, match="requires an argument"):
        parsed("--losses")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("rum", "No such command 'rum'. Did you mean 'run'?"),
        ("run --epoch 1", "--epochs"),
        ("run --epochs two", "Invalid value for '--epochs'"),
        ("converge glyphs --times 1.5 2", "'1.5'"),
        ("run --regime medium", "Invalid value for '--regime'"),
        ("embed", "Missing argument"),
        ("report nowhere", "nowhere"),
    ],
)
def test_errors_are_one_line_with_exit_code_2(arguments, message, capsys):
    assert main(arguments.split()) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("error: ")
    assert message in line


def test_an_error_of_the_operating_system_is_the_file_and_the_reason(tmp_path, capsys):
    (tmp_path / "tree.json").write_text('["a/x", "a/y", "b/z"]')
    assert main(["tree", str(tmp_path / "tree.json"), "--names", str(tmp_path)]) == 2
    assert capsys.readouterr().err == f"error: {tmp_path}: Is a directory\n"


def test_an_error_without_words_says_what_to_do(monkeypatch, capsys):
    def fail(*_):
        raise MemoryError

    monkeypatch.setattr("benchmarks.tree_page.sources.read_source", fail)
    assert main(["tree", "tree.json"]) == 2
    assert capsys.readouterr().err.startswith("error: there is not enough memory: choose smaller")


def test_debug_shows_where_an_error_came_from():
    for command in (["--debug", "report", "nowhere"], ["report", "nowhere", "--debug"]):
        with pytest.raises(FileNotFoundError, match="nowhere"):
            main(command)


def test_a_fault_of_the_program_is_not_hidden(monkeypatch):
    monkeypatch.setattr("benchmarks.report.write_joint_report", lambda folders, out: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        main(["report", "runs"])


def test_interrupted(monkeypatch, capsys):
    def interrupt(*arguments):
        raise KeyboardInterrupt

    monkeypatch.setattr("benchmarks.report.write_joint_report", interrupt)
    monkeypatch.setattr("benchmarks.suite.plan", interrupt)
    assert main(["report", "runs"]) == 130
    assert capsys.readouterr().err.splitlines()[-1] == "interrupted"
    assert main(["run"]) == 130
    assert "the same command continues from there" in capsys.readouterr().err


def test_help_is_grouped(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "100")
    assert main([]) == 0
    text = capsys.readouterr().out
    assert text.index("Search pictures") < text.index(" embed ") < text.index("Compare losses")
    assert main(["run", "-h"]) == 0
    text = capsys.readouterr().out
    for group in ("Data", "Training", "Settings", "Network"):
        assert f"─ {group} ─" in text


def test_every_option_has_a_help_text():
    commands = typer.main.get_command(app).commands
    assert [
        f"{name} {option.name}"
        for name, command in commands.items()
        for option in command.params
        if not getattr(option, "help", None)
    ] == []


def test_completion_is_typers():
    environment = {**os.environ, "_PML_HIERARCHICAL_COMPLETE": "complete_bash"}
    environment |= {"COMP_WORDS": "pml-hierarchical ev", "COMP_CWORD": "1"}
    command = [sys.executable, "-m", "pml_hierarchical"]
    found = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert found.stdout.split() == ["evaluate"]


# ---------------------------------------------------------------- evaluate on what a run leaves
def test_evaluate_finds_the_numbers_of_a_run_again(small_dataset, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("benchmarks.report.write_report", lambda stored, summary: [])
    run = ["run", "small", "--losses", "proxy_nca", "--epochs", "1", "--out", str(tmp_path)]
    assert main(run) == 0
    folder = tmp_path / "small" / "proxy_nca" / "seed0_fold0"
    evaluate = ["evaluate", "--embeddings", str(folder / "test.npz"), "--device", "cpu"]
    assert main([*evaluate, "--quiet", "--output", str(tmp_path / "found.json")]) == 0
    found = json.loads((tmp_path / "found.json").read_text())
    tested = json.loads((folder / "result.json").read_text())["test"]
    shared = found["metrics"].keys() & tested.keys()
    assert {"precision_at_1_level0", "mean_average_precision_at_r_level2"} <= shared
    for name in shared:
        assert found["metrics"][name] == pytest.approx(tested[name], abs=1e-6)


def test_evaluate_with_the_gallery_of_a_run(tmp_path, capsys):
    rng = np.random.default_rng(0)
    arrays = {}
    for part, size in (("test", 30), ("gallery", 50)):
        arrays[f"{part}_embeddings"] = rng.standard_normal((size, 6)).astype(np.float32)
        arrays[f"{part}_labels"] = np.stack([np.arange(size) % 10, np.arange(size) % 2], axis=1)
        np.savez(
            tmp_path / f"{part}.npz",
            embeddings=arrays[f"{part}_embeddings"],
            labels=arrays[f"{part}_labels"],
        )
    np.savez(tmp_path / "run.npz", test_indices=np.arange(30), **arrays)
    tables = []
    for files in (
        f"{tmp_path}/run.npz",
        f"{tmp_path}/test.npz --gallery {tmp_path}/gallery.npz",
        f"{tmp_path}/run.npz --gallery {tmp_path}/run.npz",
        f"{tmp_path}/test.npz",
    ):
        assert main(f"evaluate --device cpu --quiet --embeddings {files}".split()) == 0
        tables.append(capsys.readouterr().out)
    assert tables[0] == tables[1] == tables[2] != tables[3]
