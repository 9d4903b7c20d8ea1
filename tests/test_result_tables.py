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


def test_the_ranges_at_the_top_of_the_readme():
    runs = pd.read_csv(ROOT / script.RESULTS / "runs.csv")
    text = " ".join((ROOT / "README.md").read_text(encoding="utf-8").split())
    finest, coarsest = [], []
    for dataset in script.IN_README:
        own = script.paired(script.runs_of(runs, dataset))
        given = [loss for loss in own["loss"].unique() if loss.startswith("hpl_given:")]
        found = script.over_bases(own, given)
        levels = [key for key in found if key.startswith(script.FINEST[:-1])]
        if len(given) < 3:  # a row of other base losses, which the sentence is not about
            continue
        finest.append(found[script.FINEST].mean())
        coarsest.append(found[levels[-1]].mean())
    assert f"coarsest superclasses by {min(coarsest):.2f} to {max(coarsest):.2f} points" in text
    assert f"that of the exact class by {min(finest):+.2f} to {max(finest):+.2f} points" in text


def test_runs_are_added_and_replaced(pages):
    before = pd.read_csv(script.RESULTS / "runs.csv")
    old = before[before["dataset"] == "omniglot"]
    replaced = old.assign(**{GAIN: old[GAIN] + 2})
    added = old[(old["seed"] == 0) & (old["fold"] == 0)].assign(fold=99)
    pd.concat([added, replaced]).to_csv("new.csv", index=False)
    script.main(["new.csv"])
    after = pd.read_csv(script.RESULTS / "runs.csv")
    assert len(after) == len(before) + len(added)
    both = pd.concat([added, replaced]).query("loss == 'proxy_nca'")[GAIN]
    own = after[(after["dataset"] == "omniglot") & (after["loss"] == "proxy_nca")]
    assert sorted(own[GAIN]) == sorted(both)
    means = pd.read_csv(script.RESULTS / "results.csv", keep_default_na=False)
    means = means[(means["dataset"] == "omniglot") & (means["key"] == GAIN)]
    (row,) = means[means["loss"] == "proxy_nca"].to_dict("records")
    shared = own[own["fold"].isin([0, 99])][GAIN]  # as in the tables: what all losses have
    assert row["runs"] == len(shared)
    assert row["mean"] == pytest.approx(shared.mean())
    half = shared.sem() * stats.t.ppf(0.975, len(shared) - 1)
    assert float(row["half_width"]) == pytest.approx(half)
    assert "one run of each loss" not in read(pages)[-1]
    assert read(pages)[-2] != read(ROOT)[-2]


def test_a_second_call_changes_nothing(pages):
    """Even if the new run's loss was known from a later data set alone."""
    runs = pd.read_csv(script.RESULTS / "runs.csv")
    first = runs["dataset"].min()
    (loss, *_) = runs.loc[runs["dataset"] == "grocery, other bases", "loss"][::-1]
    assert loss not in set(runs.loc[runs["dataset"] == first, "loss"])
    runs[runs["dataset"] == first].head(1).assign(loss=loss).to_csv("new.csv", index=False)
    script.main(["new.csv"])
    once = read(pages)
    script.main([])
    assert read(pages) == once


def test_runs_of_another_length_are_refused(pages):
    runs = pd.read_csv(script.RESULTS / "runs.csv")
    runs[runs["dataset"] == "glyphs"].assign(epochs=48).to_csv("new.csv", index=False)
    with pytest.raises(ValueError, match=r"different epochs.*glyphs.*another name"):
        script.main(["new.csv"])
    assert read(pages) == read(ROOT)


def test_the_mean_over_bases_counts_a_fold_once():
    runs = pd.read_csv(ROOT / script.RESULTS / "runs.csv").query("dataset == 'grocery'")
    bases = ("proxy_nca", "proxy_anchor", "normalized_softmax")
    found = script.over_bases(runs, [f"hpl_given:{base}" for base in bases])[GAIN]
    own = runs.set_index(["loss", "seed", "fold"])[GAIN].unstack("loss")
    by_hand = sum(own[f"hpl_given:{base}"] - own[base] for base in bases) / 3
    assert found.to_numpy() == pytest.approx(by_hand.to_numpy())
    assert len(found) == 12


def test_a_seed_and_fold_without_all_losses_does_not_count(pages):
    before = pd.read_csv(script.RESULTS / "runs.csv")
    one = (before["dataset"] == "omniglot") & (before["loss"] == "arcface")
    before[one].head(1).assign(fold=99, **{GAIN: 0.0}).to_csv("new.csv", index=False)
    script.main(["new.csv"])
    assert len(pd.read_csv(script.RESULTS / "runs.csv")) == len(before) + 1
    assert read(pages)[2:] == read(ROOT)[2:]  # the pages
