"""The tables of the results are what the runs in docs/results/runs.csv say."""

from __future__ import annotations

import shutil

import pandas as pd
import pytest
from doc_pages import ROOT
from scipy import stats

from docs import make_result_tables as script

GAIN = "mean_average_precision_at_r_level1"


@pytest.fixture
def pages(tmp_path, monkeypatch):
    """A copy of the files that the script writes, as the current folder."""
    monkeypatch.chdir(tmp_path)
    script.RESULTS.mkdir(parents=True)
    for name in ("runs.csv", "results.csv", "index.md"):
        shutil.copy(ROOT / script.RESULTS / name, script.RESULTS)
    shutil.copy(ROOT / "README.md", tmp_path)
    return tmp_path


def read(folder):
    names = [script.RESULTS / name for name in ("runs.csv", "results.csv", "index.md")]
    return [(folder / name).read_text(encoding="utf-8") for name in [*names, "README.md"]]


def test_the_tables_in_the_docs_are_those_of_the_runs(pages):
    script.main([])
    assert read(pages) == read(ROOT)


def test_runs_are_added_and_replaced(pages, tmp_path):
    before = pd.read_csv(script.RESULTS / "runs.csv")
    one = (before["dataset"] == "omniglot") & (before["fold"] == 0)
    added = before[one].assign(fold=1, **{GAIN: before.loc[one, GAIN] + 1})
    replaced = before[one].assign(**{GAIN: before.loc[one, GAIN] + 2})
    pd.concat([added, replaced]).to_csv("new.csv", index=False)
    script.main(["new.csv"])
    after = pd.read_csv(script.RESULTS / "runs.csv")
    assert len(after) == len(before) + len(added)
    own = after[(after["dataset"] == "omniglot") & (after["loss"] == "proxy_nca")]
    assert own[GAIN].tolist() == replaced.loc[before["loss"] == "proxy_nca", GAIN].tolist() + (
        added.loc[before["loss"] == "proxy_nca", GAIN].tolist()
    )
    means = pd.read_csv(script.RESULTS / "results.csv")
    row = means[(means["loss"] == "proxy_nca") & (means["key"] == GAIN)].query("minus.isna()")
    row = row[row["dataset"] == "omniglot"].iloc[0]
    assert row["runs"] == 2
    assert row["mean"] == pytest.approx(own[GAIN].mean())
    assert row["half_width"] == pytest.approx(0.5 * stats.t.ppf(0.975, 1))  # 1 apart
    text = read(pages)
    assert "one run of each loss" not in text[-1]
    assert text[-2] != read(ROOT)[-2]


def test_a_seed_and_fold_without_all_losses_does_not_count(pages):
    before = read(pages)[2:]
    runs = pd.read_csv(script.RESULTS / "runs.csv")
    one = (runs["dataset"] == "omniglot") & (runs["loss"] == "arcface")
    runs[one].assign(fold=1, **{GAIN: 0.0}).to_csv("new.csv", index=False)
    script.main(["new.csv"])
    assert read(pages)[2:] == before  # the pages; the run is in the files
    assert (
        (after := pd.read_csv(script.RESULTS / "runs.csv"))["dataset"] == "omniglot"
    ).sum() == 16
    assert len(after) == len(runs) + 1
