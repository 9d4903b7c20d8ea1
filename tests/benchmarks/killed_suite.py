"""Suites on the small data set, each of which kills itself at another moment: ``OUT``.

Each leaves what it wrote in ``OUT/MOMENT``.
"""

import multiprocessing
import os
import signal
import sys
from pathlib import Path

from rich.console import Console

from benchmarks import files, suite
from benchmarks.datasets import DATASETS, DatasetEntry
from benchmarks.settings import SETTINGS
from benchmarks.training import session, testing

sys.path.insert(0, str(Path(__file__).parent))
from small_data import SMALL_SETTINGS, make_small_data, small_request


def die():
    os.kill(os.getpid(), signal.SIGKILL)


def call_then_die(module, name, number, before=False):
    """Kill the process at the given call of a function, before or after it is done."""
    original = getattr(module, name)
    calls = []

    def wrapped(*args, **kwargs):
        calls.append(None)
        if before and len(calls) == number:
            die()
        result = original(*args, **kwargs)
        if len(calls) == number:
            die()
        return result

    setattr(module, name, wrapped)


LOSSES = ["hpl:proxy_anchor", "contrastive_xbm"]

# The losses have 3 epochs of 4 iterations; a better one than before writes two
# checkpoints, but the first, which may not be selected, writes one.
MOMENTS = {
    "never": lambda: None,
    "in the first epoch": lambda: call_then_die(session.Session, "_end_of_iteration", 2),
    "in the second epoch": lambda: call_then_die(session.Session, "_end_of_iteration", 6),
    "in the third epoch": lambda: call_then_die(session.Session, "_end_of_iteration", 11),
    "before the first checkpoint": lambda: call_then_die(session, "write_checkpoint", 1, True),
    "after the first best": lambda: call_then_die(session, "write_checkpoint", 2),
    "after the first epoch": lambda: call_then_die(session, "write_checkpoint", 1),
    "while writing": lambda: call_then_die(files.os, "fsync", 4),
    "before the test": lambda: call_then_die(testing, "test", 1, True),
    "after the test": lambda: call_then_die(testing, "test", 1),
    "after the result": lambda: call_then_die(testing, "write_result", 1),
    "in the second run": lambda: call_then_die(session.Session, "_end_of_iteration", 18),
}


def run(out, moment):
    data = make_small_data()
    DATASETS["small"] = DatasetEntry("small", "vectors", (0,), lambda root: data)
    SETTINGS["small"] = SMALL_SETTINGS
    planned = suite.plan(small_request(out, LOSSES))
    MOMENTS[moment]()
    suite.run(planned, Console())


def main():
    """Forked, from a process that did nothing else: to import all of it takes longest."""
    context = multiprocessing.get_context("fork")
    for moment in MOMENTS:
        process = context.Process(target=run, args=(Path(sys.argv[1], moment), moment))
        process.start()
        process.join()
        expected = 0 if moment == "never" else -signal.SIGKILL
        assert process.exitcode == expected, f"{moment}: {process.exitcode}"


if __name__ == "__main__":
    main()
