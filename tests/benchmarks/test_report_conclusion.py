"""The three sentences on top of a report say what the numbers hold, and no more."""

from dataclasses import replace

import pandas as pd
import pytest
from test_report import KEYS, VALUES, make_store

from benchmarks.report.conclusion import conclusion, listed
from benchmarks.report.csv_files import csv_files
from benchmarks.report.joint_conclusion import joint_conclusion
from benchmarks.report.tables import difference_cell, difference_rows
from benchmarks.results import Summary, base_of

SCORE = "mean_average_precision_at_r_level0"


def summary_of(values, untrained=30.0, levels=("species", "genus")):
    """From a list of numbers per loss, one per seed, that stand for every metric."""
    keys = KEYS[: 3 * len(levels)]
    rows = [
        {"loss": loss, "base": base_of(loss), "seed": seed, "fold": 0, "seconds": 1.0}
        | dict.fromkeys(keys, value)
        for loss, numbers in values.items()
        for seed, value in enumerate(numbers)
    ]
    raw = pd.DataFrame([dict.fromkeys(keys, untrained)])
    return Summary(pd.DataFrame(rows), raw, "raw pixels", keys, levels)


def sentences(values, short=None, **options):
    return conclusion(summary_of(values, **options), short).sentences


def test_one_run_of_each_loss_leaves_all_differences_open():
    best, hierarchy, sure = sentences(
        {"contrastive": [40.0], "proxy_anchor": [50.0], "hpl:proxy_anchor": [52.0]}, (2, 48)
    )
    assert best == (
        "HPL on Proxy-Anchor has the best MAP@R (species) of 3 losses: 52.0%, 2.0 points more than "
        "Proxy-Anchor (50.0%); without training (raw pixels) it is 30.0%."
    )
    assert hierarchy == (
        "Compared with its base loss, HPL on Proxy-Anchor changes MAP@R by +2.0 points (species) "
        "and +2.0 points (genus)."
    )
    assert sure == (
        "How sure: there is one run of each loss, so nothing has an interval and any difference "
        "may be chance; trained for 2 of the full 48 epochs, this does not show which loss "
        "is best."
    )


def test_an_interval_without_0_is_said_and_one_with_it_too():
    values = {"proxy_anchor": [50.0, 51.0, 50.5], "hpl:proxy_anchor": [52.0, 53.1, 52.6]}
    *_, sure = sentences(values)
    assert "over 3 pairs of runs the 95% interval of the lead is +1.9 to +2.2 points" in sure
    assert "which does not include 0; of the 2 differences" in sure
    assert "2 are better and 0 are worse with an interval" in sure
    *_, sure = sentences({**values, "hpl:proxy_anchor": [50.2, 51.9, 50.0]})
    assert "which includes 0: the best two losses cannot be told apart" in sure
    assert (
        "all 2 differences in MAP@R by the hierarchy, one per loss and level, have intervals that"
        in sure
    )
    *_, sure = sentences({**values, "hpl:proxy_anchor": [48.0, 49.1, 48.6]})
    assert "0 are better and 2 are worse" in sure


def test_a_single_difference_and_a_single_better_one_are_singular():
    values = {"proxy_anchor": [50.0, 51.0, 50.5], "hpl:proxy_anchor": [52.0, 53.1, 52.6]}
    *_, sure = sentences(values, levels=("species",))
    assert "by the hierarchy is better, with an interval that does not include 0." in sure
    summary = summary_of(values)
    of_base = summary.runs.loc[summary.runs["loss"] == "proxy_anchor", KEYS[5]].to_numpy()
    summary.runs.loc[summary.runs["loss"] == "hpl:proxy_anchor", KEYS[5]] = of_base
    assert (
        "one per loss and level, 1 is better and 0 are worse with"
        in conclusion(summary).sentences[2]
    )


def test_without_a_hierarchical_loss_or_its_base_nothing_is_said_of_the_hierarchy():
    assert sentences({"arcface": [1.0], "cosface": [2.0]})[1].startswith("No hierarchical loss was")
    assert "beside its base loss" in sentences({"arcface": [1.0], "hpl:cosface": [2.0]})[1]


def test_a_single_loss_is_not_the_best_of_any():
    best, _, sure = sentences({"arcface": [10.0, 12.0]})
    assert best.startswith("ArcFace, the only loss, has a MAP@R (species) of 11.0%; without")
    assert "interval of the score is -1.7 to 23.7%" in sure
    assert "there is one run, so nothing" in sentences({"arcface": [10.0]})[2]


def test_equal_scores_share_the_first_place():
    best = sentences({"arcface": [10.0], "cosface": [10.0], "circle": [9.0]})[0]
    assert best.startswith("CosFace and ArcFace share the best MAP@R") or best.startswith(
        "ArcFace and CosFace share the best MAP@R"
    )
    assert "less than 0.1 points more" in sentences({"arcface": [10.0], "cosface": [10.01]})[0]


def test_seeds_that_are_not_shared_give_no_interval():
    summary = summary_of({"arcface": [1.0, 2.0], "cosface": [3.0, 4.0]})
    summary.runs.loc[summary.runs["loss"] == "cosface", "seed"] += 5
    assert "fewer than two combinations of seed and fold were" in conclusion(summary).sentences[2]


def test_a_lead_over_other_runs_than_the_means_is_named():
    shared = {"arcface": [1.0, 2.0, 9.0], "cosface": [3.0, 4.2]}
    *_, sure = sentences(shared)
    assert sure.startswith("How sure: over 2 pairs of runs the 95% interval of the lead is ")
    summary = summary_of({**shared, "proxy_nca": [0.0]})
    # a third loss with one run: the two share more, but all three only one
    assert "fewer than two combinations of seed and fold were" in conclusion(summary).sentences[2]
    summary.runs.loc[summary.runs["loss"] == "proxy_nca", "seed"] = 7
    best, _, sure = conclusion(summary).sentences
    assert best.startswith("ArcFace has the best MAP@R (species) of 3 losses: 4.0%, 0.4 points")
    assert sure.startswith(
        "How sure: no seed and fold was run with all losses, so their means are over different "
        "ones; over 2 pairs of runs the 95% interval of the lead is −"
    )


def test_many_hierarchical_losses_are_told_as_a_range():
    flat = {"arcface": [10.0], "cosface": [20.0], "proxy_nca": [30.0]}
    gains = {"hpl:arcface": [11.0], "hpl:cosface": [19.5], "hpl:proxy_nca": [30.01]}
    assert sentences({**flat, **gains})[1] == (
        "Compared with their base losses, the 3 hierarchical losses change MAP@R by −0.5 to +1.0 "
        "points (species; higher for 2 of 3) and −0.5 to +1.0 points (genus; higher for 2 of 3)."
    )


def test_differences_that_are_shown_as_0_are_said_to_be_small():
    assert sentences({"arcface": [10.0], "hpl:arcface": [10.04]})[1] == (
        "Compared with its base loss, HPL on ArcFace changes MAP@R by less than 0.1 points at "
        "every level."
    )


def test_a_hierarchical_loss_of_other_seeds_than_its_base_is_not_compared_with_it():
    summary = summary_of({"arcface": [1.0, 2.0], "hpl:arcface": [3.0, 4.0]})
    runs = summary.runs
    apart = replace(summary, runs=runs[(runs["loss"] == "arcface") == (runs["seed"] == 0)])
    assert apart.hierarchical() == []
    assert difference_rows(apart) == []
    assert "with the same seed and fold, so the numbers" in conclusion(apart, None).sentences[1]
    assert "with the same seed and fold, so" in joint_conclusion({"a": apart}, {}).sentences[1]


def test_a_tie_is_told_of_several_data_sets_too():
    equal = summary_of({"arcface": [1.0], "cosface": [1.0], "circle": [0.5]})
    best = joint_conclusion({"a": equal, "b": equal}, {}).sentences[0]
    assert "CosFace and ArcFace on a and b" in best or "ArcFace and CosFace on a and b" in best


def test_several_data_sets_in_three_sentences():
    one = summary_of({"arcface": [1.0, 2.0], "hpl:arcface": [3.0, 4.1]})
    other = summary_of({"arcface": [5.0], "cosface": [3.0]})
    found = joint_conclusion({"a": one, "b": other, "c": one}, {"b": (1, 10)}).sentences
    assert found[0] == (
        "MAP@R at the finest level is best with HPL on ArcFace on a and c and with ArcFace on b."
    )
    assert found[1].endswith("change it by +2.0 points on a and +2.0 points on c.") or (
        "+2.1 points on a" in found[1]
    )
    assert "does not include 0 on 2 of 3 data sets" in found[2]
    assert "on b the training runs are shorter" in found[2]
    alone = joint_conclusion({"b": other}, {}).sentences
    assert "do not say what a hierarchy changes" in alone[1]
    assert "may be chance" in alone[2]


@pytest.mark.parametrize(
    ("key", "mean", "trend"),
    [
        (SCORE, 1.0, 1),
        (SCORE, -1.0, -1),
        (SCORE, 0.04, 0),  # shown as +0.0
        ("mistake_severity", -0.25, 1),  # lower is better
        ("mistake_severity", 0.25, -1),
        (SCORE, float("nan"), 0),
    ],
)
def test_better_and_worse_go_the_way_of_the_metric(key, mean, trend):
    assert difference_cell(mean, float("nan"), key).trend == trend


def test_csv_has_every_run_and_every_mean_with_all_digits(tmp_path):
    import io

    from benchmarks.results import collect
    from benchmarks.stored import read_stored

    summary = collect(read_stored(make_store(tmp_path / "small")))
    files = csv_files({"=1+1": summary})
    runs, results = (pd.read_csv(io.StringIO(files[name])) for name in ("runs.csv", "results.csv"))
    assert set(runs["dataset"]) == {"'=1+1"}  # no formula for a spreadsheet
    assert len(runs) == 4 * len(VALUES)
    row = runs[(runs["loss"] == "contrastive") & (runs["fold"] == 2)].iloc[0]
    assert row[SCORE] == pytest.approx(42, rel=1e-15)
    assert row["name"] == "Contrastive"
    result = results[(results["key"] == SCORE) & (results["loss"] == "hpl:proxy_anchor")]
    means = result.set_index(result["minus"].fillna(""))["mean"]
    assert means.to_dict() == pytest.approx({"": 53.5, "proxy_anchor": 2.0})


def test_words_as_a_list():
    assert [listed(list("abc")[:n]) for n in range(4)] == ["", "a", "a and b", "a, b and c"]
