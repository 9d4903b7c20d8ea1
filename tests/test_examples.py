"""The examples run, learn, and do what they say."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parent.parent / "examples"
LINE = re.compile(r"epoch (\d+):.* MAP@R of classes (\S+), of superclasses ([\d.]+)")
TORCHRUN = ["-m", "torch.distributed.run", "--standalone"]
# what torchrun tells a process that it starts alone, without the time that torchrun takes
ALONE = {"RANK": "0", "WORLD_SIZE": "1", "LOCAL_RANK": "0", "LOCAL_WORLD_SIZE": "1",
         "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "0"}  # fmt: skip


def run(folder, *arguments, variables=None):
    """The lines printed, and MAP@R of every epoch as (epoch, of classes, of superclasses)."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1", **(variables or {})}
    command = [sys.executable, *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=folder, env=environment)
    assert done.returncode == 0, done.stderr
    return done.stdout, [tuple(map(float, found)) for found in LINE.findall(done.stdout)]


def check_learned(epochs):
    assert [epoch for epoch, *_ in epochs] == list(range(len(epochs)))
    (_, *first), (_, *last) = epochs[0], epochs[-1]
    assert all(after > 2 * before for before, after in zip(first, last, strict=True))


def test_two_processes_train_as_one(tmp_path):
    script = EXAMPLES / "train_distributed.py"
    printed, two = run(tmp_path, *TORCHRUN, "--nproc-per-node=2", script)
    check_learned(two)
    moved = [int(share) for share in re.findall(r"moved (\d+)%", printed)]
    assert len(moved) == len(two) - 1
    assert max(moved) > 0
    printed_by_one, one = run(tmp_path, script, variables=ALONE)
    losses, losses_of_one = (
        [float(loss) for loss in re.findall(r"loss (\S+),", text)]
        for text in (printed, printed_by_one)
    )
    assert losses == pytest.approx(losses_of_one, rel=1e-3)
    for in_two, in_one in zip(two, one, strict=True):
        assert in_two == pytest.approx(in_one, rel=1e-2)


def test_pmls_trainer(tmp_path):
    script = EXAMPLES / "train_with_pml_trainer.py"
    printed, epochs = run(tmp_path, script, "out")
    check_learned(epochs)
    last = len(epochs) - 1
    assert (tmp_path / "out" / "models" / f"metric_loss_{last}.pth").exists()
    assert f"{last} updates" in printed
