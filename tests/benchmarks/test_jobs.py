import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import small_data
from rich.console import Console
from small_data import make_small_data

from benchmarks import jobs, suite
from benchmarks.jobs import check_jobs, map_jobs
from benchmarks.progress import SuiteProgress
from benchmarks.request import DataSource


class SmallSource(DataSource):
    """Other processes do not know the data set of the fixture."""

    def load(self, warn=False):
        return make_small_data()


def wait_in_worker(item, data, progress):
    """Leave the number of the process behind, and stay for longer than any test."""
    Path(item).with_suffix(".tmp").write_text(str(os.getpid()))
    os.replace(Path(item).with_suffix(".tmp"), item)
    time.sleep(600)


def end_from_outside(item, data, progress):
    if item == "killed":
        os.kill(os.getpid(), signal.SIGKILL)
    return item


def report_back_if_even(item, data, progress):
    if item % 2:
        raise ValueError(f"item {item} diverged")
    progress.describe(f"item {item}", "at work")
    progress.advance(item)
    progress.finish(f"item {item} is done")
    return item + len(data.labels)


def make_progress():
    return SuiteProgress(Console(width=100), 2, 6)


SOURCE = SmallSource("small")


def test_runs_side_by_side_are_the_runs_one_by_one(make_plan, monkeypatch, tmp_path):
    monkeypatch.setattr(small_data, "DataSource", SmallSource)
    alone = suite.run(make_plan(), Console(quiet=True))
    together = suite.run(make_plan(jobs=2, out=tmp_path / "together"), Console(quiet=True))
    for one, other in zip(alone.results, together.results, strict=True):
        assert one["config"] == other["config"]
        assert one["test"] == pytest.approx(other["test"], abs=1e-6)
        assert one["validation"]["epoch"] == other["validation"]["epoch"] == [1, 2, 3]


@pytest.mark.parametrize("number", [1, 2])
def test_what_fails_does_not_keep_the_others_from_being_done_and_said(number, capsys):
    progress, items = make_progress(), [1, 2, 3, 4]
    with progress.shown():
        work = map_jobs(report_back_if_even, items, SOURCE, make_small_data(), progress, number)
        found = dict(next(work) for _ in range(2))
        with pytest.raises(ValueError, match=r"item [13] diverged \(1 more failed\)"):
            next(work)
    assert found == {2: 258, 4: 260}
    printed = capsys.readouterr().out
    assert "item 2 is done" in printed
    assert "item 4 is done" in printed
    (task,) = progress._progress.tasks
    assert task.completed == 6


def wait_unless_first(item, data, progress):
    if not item.endswith("first"):
        wait_in_worker(item, data, progress)
    return item


def fail_when_others_wait(item, data, progress):
    if not item.endswith("first"):
        wait_in_worker(item, data, progress)
    wait_until(Path(item).with_name("second").exists)
    raise OSError("the disk is full")


@pytest.mark.parametrize("how", ["the caller stops", "an error"])
def test_what_is_under_way_ends_at_once_and_nothing_else_is_begun(how, tmp_path):
    items = [str(tmp_path / name) for name in ("first", "second", "third", "fourth", "fifth")]
    function = wait_unless_first if how == "the caller stops" else fail_when_others_wait
    work = map_jobs(function, items, SOURCE, make_small_data(), make_progress(), 2)
    if how == "the caller stops":  # as by Ctrl-C
        assert next(work)[0] == items[0]
        wait_until(lambda: Path(items[1]).exists() and Path(items[2]).exists())
        work.close()
    else:
        with pytest.raises(OSError, match="the disk is full"):
            next(work)
    begun = [Path(item) for item in items if Path(item).exists()]
    assert not any(is_running(int(file.read_text())) for file in begun)
    assert len(begun) <= 3


def test_a_process_that_dies_is_an_error_that_says_so():
    work = map_jobs(end_from_outside, ["killed"], SOURCE, make_small_data(), make_progress(), 2)
    with pytest.raises(OSError, match=r"ended from outside.*finished is kept.*fewer --jobs"):
        list(work)


def test_no_process_outlives_a_suite_that_is_killed(tmp_path):
    files = [tmp_path / "a", tmp_path / "b"]
    parent = subprocess.Popen([sys.executable, __file__, *map(str, files)])
    try:
        wait_until(lambda: all(file.exists() for file in files))
    finally:
        parent.kill()
        parent.wait()
    workers = [int(file.read_text()) for file in files]
    wait_until(lambda: not any(is_running(worker) for worker in workers))


def test_numbers_of_jobs():
    assert check_jobs(3) == 3
    with pytest.raises(ValueError, match="--jobs must be at least 1, got 0"):
        check_jobs(0)


def wait_until(is_so):
    end = time.monotonic() + 120
    while not is_so():
        assert time.monotonic() < end
        time.sleep(0.1)


def is_running(process):
    status = Path(f"/proc/{process}/status")
    return status.exists() and "State:\tZ" not in status.read_text()


if __name__ == "__main__":
    sys.path[:0] = [str(Path(__file__).parents[2])]
    list(jobs.map_jobs(wait_in_worker, sys.argv[1:], SOURCE, make_small_data(), make_progress(), 2))
