"""Runs on two processes give what one gives: the same weights, histories and tests."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import torchrun_worker
from torchrun_worker import FEATURE_LOSSES, KILLED_LOSSES, LAYERS, PICTURE_LOSSES, SIZE

from benchmarks import distributed, jobs
from benchmarks.datasets import DATASETS
from benchmarks.distributed import processes
from benchmarks.settings import SETTINGS
from benchmarks.training.checkpoints import BEST, LAST
from benchmarks.training.session import Session

pytestmark = [
    pytest.mark.filterwarnings("ignore:Converting a tensor with requires_grad"),
    pytest.mark.xdist_group("torchrun"),
]


def start(task, out):
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
    command += [f"--nproc-per-node={SIZE}", torchrun_worker.__file__, task, str(out)]
    root = Path(__file__).parents[2]
    return subprocess.run(command, cwd=root, capture_output=True, text=True, check=False)


@pytest.fixture(scope="module")
def one(tmp_path_factory):
    """The folder of what one process gives; the data sets are known while the tests last."""
    out = tmp_path_factory.mktemp("one")
    with pytest.MonkeyPatch.context() as monkeypatch:
        for name, (entry, settings) in torchrun_worker.small_datasets().items():
            monkeypatch.setitem(DATASETS, name, entry)
            monkeypatch.setitem(SETTINGS, name, settings)
        torchrun_worker.run("small", FEATURE_LOSSES, out)
        torchrun_worker.run("small_pictures", PICTURE_LOSSES, out)
        yield out


@pytest.fixture(scope="module")
def two(one, tmp_path_factory):
    """The folder of what two processes give."""
    out = tmp_path_factory.mktemp("two")
    interrupt(out / "interrupted")
    done = start("together", out)
    assert done.returncode == 0, done.stderr
    return out


def interrupt(out):
    """Leave a run of one process in its second epoch."""
    original, calls = Session._end_of_iteration, []

    def counted(session, trainer):
        original(session, trainer)
        calls.append(trainer)
        if len(calls) == 6:
            raise KeyboardInterrupt

    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setattr(Session, "_end_of_iteration", counted)
        with pytest.raises(KeyboardInterrupt):
            torchrun_worker.run("small", KILLED_LOSSES, out)
    (last,) = out.glob(f"*/*/*/{LAST}")
    assert torch.load(last, weights_only=False)["epoch"] == 1


def folder(out, dataset, loss):
    return out / dataset / loss.replace(":", "-") / "seed0_fold0"


def check_result(there, here, tolerance):
    found, expected = (json.loads((path / "result.json").read_text()) for path in (there, here))
    assert found["best_epoch"] == expected["best_epoch"]
    for part in ("test", "validation", "training_loss"):
        assert found[part].keys() == expected[part].keys()
        for key, value in expected[part].items():
            assert found[part][key] == pytest.approx(value, rel=tolerance, abs=tolerance), key


def check_checkpoint(there, here, weights, gradients):
    """What AdamW makes of gradients hardly depends on their size: its means of them do."""
    found, expected = (torch.load(path / BEST, weights_only=False) for path in (there, here))
    for part in ("models", "loss_funcs"):
        for name, state in expected[part].items():
            assert found[part][name].keys() == state.keys()
            for key, value in state.items():
                if isinstance(value, torch.Tensor):
                    check_near(found[part][name][key], value, weights)
    for name, optimizer in expected["optimizers"].items():
        for index, state in optimizer["state"].items():
            for key in ("exp_avg", "exp_avg_sq"):
                check_near(found["optimizers"][name]["state"][index][key], state[key], gradients)


def check_near(found, expected, tolerance):
    difference = (found - expected).float().norm()
    assert difference <= tolerance * expected.float().norm()


@pytest.mark.parametrize("loss", FEATURE_LOSSES)
def test_two_processes_give_what_one_gives(one, two, loss):
    there, here = (folder(out, "small", loss) for out in (two / "runs", one))
    check_result(there, here, 1e-5)
    check_checkpoint(there, here, weights=1e-5, gradients=1e-4)
    environment = json.loads((there / "result.json").read_text())["environment"]
    assert environment["processes"] == SIZE


@pytest.mark.parametrize("loss", PICTURE_LOSSES)
def test_two_processes_give_what_one_gives_with_batch_normalisation(one, two, loss):
    there, here = (folder(out, "small_pictures", loss) for out in (two / "runs", one))
    check_result(there, here, 0.02)
    check_checkpoint(there, here, weights=1e-3, gradients=0.02)


@pytest.mark.parametrize("name", LAYERS)
def test_batch_normalisation_of_parts_is_that_of_the_whole(two, name):
    found = [torch.load(two / f"rank{rank}.pt")["layers"][name] for rank in range(SIZE)]
    expected, weights, buffers = torchrun_worker.batch_norm(LAYERS[name](), slice(None))
    for key, value in expected.items():
        parts = torch.cat([of_rank[0][key] for of_rank in found])
        torch.testing.assert_close(parts, value, rtol=1e-4, atol=2e-5, msg=key)
    for key, value in weights.items():
        total = sum(of_rank[1][key] for of_rank in found)
        torch.testing.assert_close(total, value, rtol=1e-4, atol=1e-4)
    for of_rank in found:
        torch.testing.assert_close(of_rank[2], buffers, rtol=1e-5, atol=0)


def test_what_cannot_be_equal_is_refused(two):
    for rank in range(SIZE):
        parts, dropout = torch.load(two / f"rank{rank}.pt")["refused"]
        assert "2 processes cannot have equal parts of a batch of 15" in parts
        assert "draws random numbers in training" in dropout


def test_nothing_is_left_of_the_process_group(two):
    """Its threads would abort the process now and then, at its end."""
    assert [(two / f"group{rank}").read_text() for rank in range(SIZE)] == ["gone", "gone"]


def test_two_processes_go_on_where_one_stopped(one, two):
    loss = KILLED_LOSSES[0]
    there, here = (folder(out, "small", loss) for out in (two / "interrupted", one))
    check_result(there, here, 1e-5)
    check_checkpoint(there, here, weights=1e-5, gradients=1e-4)


def test_one_process_goes_on_where_two_were_killed(one, tmp_path):
    ended = start("killed", tmp_path)
    assert ended.returncode != 0
    (last,) = tmp_path.glob(f"*/*/*/{LAST}")
    assert torch.load(last, weights_only=False)["epoch"] == 1
    torchrun_worker.run("small", KILLED_LOSSES, tmp_path)
    loss = KILLED_LOSSES[0]
    check_result(folder(tmp_path, "small", loss), folder(one, "small", loss), 1e-5)
    # both had asked for another command before
    assert ended.stderr.count("error: torchrun is for `run`") == 1
    assert [(tmp_path / f"code{rank}").read_text() for rank in range(SIZE)] == ["2", "2"]


def test_runs_side_by_side_are_refused(monkeypatch):
    monkeypatch.setattr(jobs, "launched_together", lambda: True)
    assert jobs.check_jobs(1) == 1
    with pytest.raises(ValueError, match="torchrun trains every run on several processes: choose"):
        jobs.check_jobs(2)


@pytest.mark.parametrize(
    ("device", "count", "message"),
    [
        ("cuda:1", 2, "takes the GPU of its number: --device cuda, not cuda:1"),
        ("cuda", 1, "2 processes were started here, and the number of GPUs is 1"),
    ],
)
def test_a_process_without_a_gpu_of_its_own(monkeypatch, device, count, message):
    variables = {"WORLD_SIZE": "2", "LOCAL_RANK": "1", "LOCAL_WORLD_SIZE": "2"}
    for name, value in {**variables, "TORCHELASTIC_RUN_ID": "none"}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(processes.torch.cuda, "device_count", lambda: count)
    with (
        pytest.raises(ValueError, match=message),
        distributed.process_group(device),
    ):
        pass


def test_without_torchrun_nothing_happens():
    with distributed.process_group("cpu") as device:
        assert device == "cpu"
        assert not torch.distributed.is_initialized()
        assert not distributed.is_helper()
        assert distributed.from_first("value") == "value"
