import json
import shutil
import sqlite3
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from killed_suite import LOSSES, MOMENTS
from rich.console import Console
from small_data import SMALL_SETTINGS, small_request

from benchmarks import files, suite
from benchmarks.augmentation import RandomAffine
from benchmarks.command_line import main
from benchmarks.datasets import DATASETS
from benchmarks.settings import SETTINGS
from benchmarks.training import Session
from benchmarks.training.checkpoints import BEST, LAST

pytestmark = pytest.mark.xdist_group("killed suites")
SCRIPT = Path(__file__).parent / "killed_suite.py"
TIMES = ("seconds", "epoch_seconds", "environment")


@pytest.fixture(scope="module")
def left(tmp_path_factory):
    """A folder for each moment, with what the suite that was killed then has left."""
    out = tmp_path_factory.mktemp("killed")
    command = [sys.executable, str(SCRIPT), str(out)]
    root = Path(__file__).parents[2]
    done = subprocess.run(command, cwd=root, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return out


def results(out):
    found = {}
    for path in sorted(out.glob("small/*/*/result.json")):
        result = json.loads(path.read_text())
        found[result["config"]["loss"]] = {k: v for k, v in result.items() if k not in TIMES}
    return found


def records(out):
    """All rows of all tables; the sizes of an update and times differ from run to run."""
    rows = {}
    for path in sorted(out.glob("small/*/*/records/logs.db")):
        with sqlite3.connect(path) as database:
            tables = [r[0] for r in database.execute("SELECT name FROM sqlite_master")]
            for table in tables:
                columns = [c[1] for c in database.execute(f'PRAGMA table_info("{table}")')]
                kept = ", ".join(f'"{c}"' for c in columns if "seconds" not in c)
                rows[path.parts[-4], table] = list(
                    database.execute(f'SELECT {kept} FROM "{table}"')
                )
    return rows


@pytest.fixture(scope="module")
def undisturbed(left):
    """What a suite that nobody disturbs leaves; in a process of its own as the killed ones."""
    return results(left / "never"), records(left / "never")


@pytest.fixture
def go_on(small_dataset, tmp_path):
    """Start the same suite again, here."""

    def run(losses=LOSSES):
        suite.run(suite.plan(small_request(tmp_path, losses)), Console())

    return run


@pytest.mark.parametrize("moment", [moment for moment in MOMENTS if moment != "never"])
def test_a_killed_suite_goes_on_with_the_same_numbers(undisturbed, left, go_on, tmp_path, moment):
    shutil.copytree(left / moment, tmp_path, dirs_exist_ok=True)
    go_on()
    assert results(tmp_path) == undisturbed[0]
    assert records(tmp_path) == undisturbed[1]
    assert not list(tmp_path.rglob("*tmp"))
    # killed right after a result, a run leaves the checkpoint that it would go on from
    assert len(list(tmp_path.rglob(LAST))) == (moment == "after the result")


@pytest.fixture
def killed(left, tmp_path):
    """The folder of the run that was killed in its third epoch, in a copy of what it left."""
    shutil.copytree(left / "in the third epoch", tmp_path, dirs_exist_ok=True)
    return tmp_path / "small" / "hpl-proxy_anchor" / "seed0_fold0"


def test_a_killed_suite_loses_no_finished_epoch(killed, go_on, monkeypatch):
    assert torch.load(killed / LAST, weights_only=True)["epoch"] == 2
    iterations = []
    original = Session._end_of_iteration

    def counted(session, trainer):
        iterations.append((trainer.epoch, trainer.iteration))
        original(session, trainer)

    monkeypatch.setattr(Session, "_end_of_iteration", counted)
    go_on(["hpl:proxy_anchor"])
    assert iterations == [(3, 0), (3, 1), (3, 2), (3, 3)]


def test_a_corrupt_checkpoint_is_named_and_the_run_starts_again(undisturbed, killed, go_on):
    (killed / LAST).write_bytes((killed / LAST).read_bytes()[:1000])
    with pytest.warns(UserWarning, match=r"the checkpoint .*last\.pt cannot be read.*starts again"):
        go_on()
    assert results(killed.parents[2]) == undisturbed[0]


def test_a_corrupt_best_model_is_an_error_that_says_what_to_do(killed, go_on):
    (killed / BEST).write_bytes(b"not a checkpoint")
    checkpoint = torch.load(killed / LAST, weights_only=True)
    torch.save({**checkpoint, "stopped_early": True}, killed / LAST)  # nothing left to train
    with pytest.raises(OSError, match=r"best\.pt cannot be read .*Delete .*seed0_fold0 to do this"):
        go_on()


def test_a_checkpoint_of_other_settings_is_not_gone_on_from(killed, go_on):
    checkpoint = torch.load(killed / LAST, weights_only=True)
    checkpoint["config"]["seed"] = 1
    torch.save(checkpoint, killed / LAST)
    (killed / "left over").touch()
    go_on()
    assert not (killed / "left over").exists()


def test_a_corrupt_result_is_an_error_that_says_what_to_do(make_plan):
    planned = make_plan(losses=["proxy_anchor"])
    suite.run(planned, Console())
    path = planned.runs[0].folder(planned.request.out) / "result.json"
    path.write_text(path.read_text()[:50])
    with pytest.raises(ValueError, match=r"result.json is damaged.*Delete .*seed0"):
        make_plan(losses=["proxy_anchor"])


def test_a_full_disk_is_named_and_what_was_there_stays(make_plan, monkeypatch):
    planned = make_plan(losses=["contrastive", "proxy_anchor"])
    first_result = planned.runs[0].folder(planned.request.out) / "result.json"

    def fsync(descriptor):
        if first_result.exists():
            raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(files.os, "fsync", fsync)
        with pytest.raises(
            OSError, match=r"No space left on device while writing: '.*proxy_anchor"
        ):
            suite.run(planned, Console())
    assert not list(planned.request.out.rglob("*tmp"))
    assert [r["config"]["loss"] for r in suite.run(planned, Console()).results] == [
        "contrastive",
        "proxy_anchor",
    ]


@pytest.mark.parametrize(
    "error",
    [OSError(28, "No space left on device"), sqlite3.OperationalError("database or disk is full")],
)
def test_a_full_disk_is_no_traceback(small_dataset, tmp_path, monkeypatch, capsys, error):
    """Whoever of PML, record-keeper and TensorBoard meets it."""

    def write(*args):
        raise error

    monkeypatch.setattr(suite, "train", write)
    command = ["run", "--dataset", "small", "--losses", "proxy_anchor", "--out", str(tmp_path)]
    assert main(command) == 2
    printed = capsys.readouterr().err
    assert printed.startswith("error: ")
    assert printed.strip().endswith("free some space and start the same command again")


def test_two_suites_in_one_folder(make_plan):
    planned = make_plan(losses=["proxy_anchor"])
    with (
        suite.only_one_in(planned.request.folder),
        pytest.raises(OSError, match=r"another command is running in .*small"),
    ):
        suite.run(planned, Console())
    suite.run(planned, Console())


def test_random_transforms_go_on_where_they_were(make_plan, small_dataset, tmp_path, monkeypatch):
    pictures = (small_dataset.inputs[:, :9].reshape(-1, 1, 3, 3) * 60 + 120).clamp(0, 255).byte()
    pictures = torch.nn.functional.interpolate(pictures, size=(32, 32))
    drawn = replace(small_dataset, inputs=pictures)
    monkeypatch.setitem(DATASETS, "small", replace(DATASETS["small"], load=lambda source: drawn))
    settings = replace(SMALL_SETTINGS, augmentation=RandomAffine(20, 0.2, 10, 0.2))
    monkeypatch.setitem(SETTINGS, "small", settings)

    def run(out):
        planned = make_plan(out=out, losses=["hpl:proxy_nca"])
        (result,) = suite.run(planned, Console(quiet=True)).results
        return {key: result[key] for key in ("test", "validation", "training_loss", "best_epoch")}

    expected = run(tmp_path / "whole")
    original = Session._end_of_iteration

    def interrupted(session, trainer):
        original(session, trainer)
        if trainer.epoch == 2 and trainer.iteration == 1:
            raise KeyboardInterrupt

    monkeypatch.setattr(Session, "_end_of_iteration", interrupted)
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "interrupted")
    monkeypatch.setattr(Session, "_end_of_iteration", original)
    assert run(tmp_path / "interrupted") == expected
    monkeypatch.setitem(SETTINGS, "small", replace(settings, augmentation=None))
    assert run(tmp_path / "plain")["training_loss"] != expected["training_loss"]
