"""The table of features, from the outcomes of the tests that are marked with a feature.

``pytest tests/losses --feature-table docs/features.md``
"""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from bases import BASES
from tabulate import tabulate

FEATURES = ("value", "gradients", "given", "discovered", "mixed", "resume", "DDP", "autocast",
            "compile")  # fmt: skip


def pytest_addoption(parser):
    parser.addoption("--feature-table", metavar="MARKDOWN", help="write the table of features")


def pytest_configure(config):
    config.addinivalue_line("markers", "feature(name): a column of the table of features")
    path = config.getoption("--feature-table")
    if path and not hasattr(
        config, "workerinput"
    ):  # of pytest-xdist's, the process with all reports
        config.pluginmanager.register(FeatureTable(Path(path)))


@pytest.fixture(autouse=True)
def _seed():
    torch.manual_seed(0)


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    report = (yield).get_result()
    marker = item.get_closest_marker("feature")
    if marker and "name" in getattr(item, "callspec", SimpleNamespace(params={})).params:
        cell = [item.callspec.params["name"], marker.args[0]]
        report.user_properties.append(("cell of the table", cell))


class FeatureTable:
    """Collects the outcomes and writes the table when all tests are done."""

    def __init__(self, path):
        self.path, self.outcomes = path, defaultdict(list)

    def pytest_runtest_logreport(self, report):
        cell = dict(report.user_properties).get("cell of the table")
        if cell and (report.when == "call" or report.outcome != "passed"):
            self.outcomes[tuple(cell)].append((report.outcome, getattr(report, "wasxfail", "")))

    def pytest_sessionfinish(self):
        self.path.write_text(_page(self.outcomes))


def _page(outcomes) -> str:
    notes: list[str] = []
    rows = [[f"`{name}`", *(_cell(outcomes[name, f], notes) for f in FEATURES)] for name in BASES]
    table = tabulate(rows, ["base loss", *FEATURES], tablefmt="github")
    lines = [
        "# Base losses and features",
        "",
        "Written by `pytest tests/losses --feature-table docs/features.md`: **yes** where the",
        "tests of a feature passed with a base loss, *no* where one failed, a number where PML's",
        "own loss prevents it (see the notes below).",
        "",
        table,
        "",
        *(f"{number}. {note}" for number, note in enumerate(notes, start=1)),
        *([""] if notes else []),
        _MEANING,
    ]
    return "\n".join(lines)


def _cell(reports, notes) -> str:
    if not reports:
        return ""
    if any(outcome == "failed" for outcome, _ in reports):
        return "*no*"
    reasons = {reason for outcome, reason in reports if outcome == "skipped"}
    if not reasons:
        return "yes"
    for reason in sorted(reasons - set(notes)):
        notes.append(reason)
    return ", ".join(f"({notes.index(reason) + 1})" for reason in sorted(reasons))


_MEANING = """\
What a column says (`tests/losses/test_features.py`):

- **value**, **gradients**: with one level, those of PML's own loss, bit for bit, in float32 and
  float64; with three levels, those of PML's own losses summed by hand.
- **given**, **discovered**, **mixed**: the loss trains with a given tree, with a tree of clusters,
  and with clusters inside given superclasses, with learned and with fixed coarse proxies. Both
  are the means of their classes' proxies after the first update, fixed ones after every update.
- **resume**: training that is stopped, saved, loaded and continued ends with the same bits as
  uninterrupted training.
- **DDP**: 2 and 4 processes agree with one process on the same batches to 1e-5, and have the same
  tree after every step. Coarse proxies are learned, except for SubCenterArcFaceLoss. There they are
  fixed, because learned sub-centers start equal and rounding would decide which one is trained.
- **autocast**: bfloat16 on the CPU; parameters and gradients stay float32.
- **compile**: `torch.compile(fullgraph=True)` of the loss, with updates only by the hook.
"""
