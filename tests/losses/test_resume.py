"""A training that is killed and resumed ends at the bits of one that was left alone."""

import multiprocessing
import signal

import numpy as np
import pytest
import resume_worker

# one process does the imports for all
pytestmark = pytest.mark.xdist_group("resumed trainings")

# Each training is a process of its own, forked from one that has done the imports, which take
# longer than the training (optimizers import torch._dynamo).
CONTEXT = multiprocessing.get_context("forkserver")
CONTEXT.set_forkserver_preload(
    [
        "pml_hierarchical.hooks",
        "pml_hierarchical.testers",
        "pytorch_metric_learning.trainers",
        "record_keeper",
        "torch._dynamo",
        "torch.utils.tensorboard",
    ]
)

#: place of the kill, after the backward pass of an iteration, to the epoch that is resumed with
KILLS = {
    (8, "step"): 2,  # the last iteration of the warm-up; the checkpoint lies in the warm-up
    (13, "step"): 3,  # just before an update, after a checkpoint with a tree
    (20, "step"): 4,  # after three updates; the checkpoint was written when the third was due
}
#: before there is a checkpoint; in the iteration of an update, which is lost; and further on
CHAIN = [(3, "step"), (9, "step"), (14, "step"), (20, "step")]


def start(name, folder, kill_at=None):
    """What the training reports first, and its process."""
    ours, theirs = CONTEXT.Pipe()
    process = CONTEXT.Process(target=resume_worker.run, args=(name, str(folder), kill_at, theirs))
    process.start()
    theirs.close()
    process.connection = ours  # kept open: the training ends by itself when it is closed
    return ours.recv(), process  # an EOFError here: the training failed, see its traceback


def train(name, folder):
    state, process = start(name, folder)
    process.join()
    assert process.exitcode == 0
    return state


def train_and_kill(name, folder, place):
    report, process = start(name, folder, place)
    assert report == place
    process.kill()
    process.join()
    assert process.exitcode == -signal.SIGKILL


def check_same(found, whole, start_epoch):
    assert found.pop("start_epoch") == start_epoch
    assert found.keys() == whole.keys()
    assert [key for key in whole if found[key] != whole[key]] == []


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory):
    """The state that each training ends with when nobody kills it."""
    states = {}
    for number, name in enumerate(resume_worker.LOSSES):
        states[name] = train(name, tmp_path_factory.mktemp(f"whole{number}"))
        assert states[name].pop("start_epoch") == 1
        read = [states[name][f"/1/superclasses.{key}"][-1] for key in ("steps", "updates")]
        assert [int(np.frombuffer(value, np.int64)[0]) for value in read] == [24, 4]
    return states


@pytest.mark.parametrize("place", KILLS, ids=str)
@pytest.mark.parametrize("name", resume_worker.LOSSES)
def test_killed_once(name, place, uninterrupted, tmp_path):
    train_and_kill(name, tmp_path, place)
    check_same(train(name, tmp_path), uninterrupted[name], KILLS[place])


@pytest.mark.parametrize("name", resume_worker.LOSSES)
def test_killed_again_and_again(name, uninterrupted, tmp_path):
    for place in CHAIN:
        train_and_kill(name, tmp_path, place)
    check_same(train(name, tmp_path), uninterrupted[name], start_epoch=4)


def test_killed_while_saving(uninterrupted, tmp_path):
    """The new checkpoint is written, but has not taken the place of the old one yet."""
    train_and_kill("loop", tmp_path, (18, "save"))
    assert (tmp_path / "checkpoint.tmp").exists()
    check_same(train("loop", tmp_path), uninterrupted["loop"], start_epoch=3)
