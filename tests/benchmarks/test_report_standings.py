import itertools
import math

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from benchmarks.report.ranks import ranks_grid
from benchmarks.report.standings import average_ranks, means, standings, ties_with_best
from benchmarks.results import Summary, metric_keys

KEYS = metric_keys(2)
tables = (
    st.integers(2, 6)
    .flatmap(
        lambda rows: st.lists(
            st.lists(st.integers(0, 4).map(float), min_size=rows, max_size=rows),
            min_size=1,
            max_size=5,
        )
    )
    .map(lambda columns: pd.DataFrame(np.array(columns).T))
)


def make_summary(values: dict[str, list[float]], keys=KEYS[:1]) -> Summary:
    """Runs of fold 0, 1, ... by loss; the same number in every metric; NaN for a missing run."""
    rows = [
        {"loss": loss, "base": None, "seed": 0, "fold": fold, "seconds": 1.0}
        | dict.fromkeys(keys, value)
        for loss, numbers in values.items()
        for fold, value in enumerate(numbers)
        if not math.isnan(value)
    ]
    return Summary(pd.DataFrame(rows), pd.DataFrame(columns=list(keys)), "", keys, ("class",))


def test_ranks_by_hand():
    table = pd.DataFrame({"x": [3.0, 2.0, 1.0], "y": [5.0, 7.0, 5.0]}, index=["a", "b", "c"])
    # x: 1, 2, 3; y: b is the best, a and c share 2 and 3
    assert average_ranks(table).to_dict() == {"a": 1.75, "b": 1.5, "c": 2.75}


@given(tables)
@settings(max_examples=60)
def test_ranks_are_those_of_scipy_and_their_sum_is_constant(table):
    ranks = average_ranks(table)
    expected = [stats.rankdata([-v for v in table[c]]) for c in table.columns]
    np.testing.assert_allclose(ranks, np.mean(expected, axis=0))
    n = len(table)
    assert ranks.sum() == pytest.approx(n * (n + 1) / 2)


@given(tables, st.randoms(use_true_random=False))
@settings(max_examples=60)
def test_permuted_losses_have_permuted_ranks(table, random):
    order = list(table.index)
    random.shuffle(order)
    pd.testing.assert_series_equal(average_ranks(table).loc[order], average_ranks(table.loc[order]))


def test_rows_with_a_hole_are_left_out_of_the_ranks():
    table = pd.DataFrame({"x": [3.0, 9.0, 1.0], "y": [5.0, math.nan, 6.0]}, index=list("abc"))
    ranks = average_ranks(table)
    assert math.isnan(ranks["b"])
    assert (ranks["a"], ranks["c"]) == (1.5, 1.5)
    assert average_ranks(table[["y"]].loc[["b"]]).isna().all()


@pytest.mark.parametrize("shift", [0.0, 0.4, 0.8, 1.2, 2.0, 4.0])
def test_a_tie_is_what_the_interval_of_scipys_paired_test_leaves_open(shift):
    rng = np.random.default_rng(3)
    a = rng.normal(50, 3, size=6)
    b = a + rng.normal(-shift, 1, size=6)
    low, high = stats.ttest_rel(b, a).confidence_interval(0.95)
    summary = make_summary({"a": list(a), "b": list(b)})
    assert ties_with_best(summary, "b", "a", KEYS[0]) == (low <= 0 <= high)


def test_pairing_decides_a_tie_and_not_the_spread_of_the_runs():
    paired = make_summary({"a": [10.0, 50.0, 90.0], "b": [9.0, 49.0, 88.9]})
    assert not ties_with_best(paired, "b", "a", KEYS[0])
    unpaired = make_summary({"a": [10.0, 50.0, 90.0], "b": [49.0, 88.9, 9.0]})
    assert ties_with_best(unpaired, "b", "a", KEYS[0])


def test_a_tie_is_over_common_runs_and_a_single_one_decides_nothing():
    summary = make_summary({"a": [10.0, 20.0, 30.0], "b": [9.0, math.nan, 29.5]})
    assert ties_with_best(summary, "b", "a", KEYS[0])  # -1 and -0.5: two pairs, a wide interval
    single = make_summary({"a": [10.0], "b": [9.9]})
    assert not ties_with_best(single, "b", "a", KEYS[0])
    assert [(row.best, row.best_or_tied) for row in standings([single])] == [(1, 1), (0, 0)]


def test_losses_are_ranked_by_the_runs_that_all_have():
    summary = make_summary({"a": [10.0, 10.0], "b": [9.0, 30.0], "c": [11.0, math.nan]})
    assert {row.loss: row.rank for row in standings([summary])} == {"c": 1, "a": 2, "b": 3}
    apart = make_summary({"a": [10.0, math.nan], "b": [math.nan, 30.0]})  # none in common
    assert {row.loss: row.rank for row in standings([apart])} == {"b": 1, "a": 2}


def test_a_loss_without_a_mistake_has_a_rank():
    runs = make_summary({"a": [99.0], "b": [90.0]}).runs
    runs["mistake_severity"] = [math.nan, 1.5]
    keys = (KEYS[0], "mistake_severity")
    summary = Summary(runs, pd.DataFrame(columns=list(keys)), "", keys, ("class",))
    assert [(row.loss, row.rank) for row in standings([summary])] == [("a", 1), ("b", 2)]


def test_standings_by_hand():
    first = make_summary({"a": [10.0, 12.0], "b": [9.0, 12.5], "c": [1.0, 2.9]})
    second = make_summary({"a": [5.0, 6.0], "b": [7.0, 8.1], "d": [6.0, 7.05]}, KEYS[3:5])
    found = {row.loss: row for row in standings([first, second])}
    assert list(found) == ["a", "b", "c", "d"]
    # a − b in the first is 1 and -0.5: a is the best by mean, and b ties
    assert (found["a"].cells, found["a"].best, found["a"].best_or_tied) == (3, 1, 1)
    assert (found["b"].cells, found["b"].best, found["b"].best_or_tied) == (3, 2, 3)
    assert (found["c"].cells, found["c"].best, found["c"].best_or_tied) == (1, 0, 0)
    assert (found["d"].cells, found["d"].best_or_tied) == (2, 0)
    # only a and b are in both data sets, and ranked
    assert found["a"].rank == pytest.approx((1 + 2 + 2) / 3)
    assert found["a"].finest_rank == 1
    assert math.isnan(found["c"].rank)


def test_equal_means_are_both_the_best():
    rows = standings([make_summary({"a": [1.0, 3.0], "b": [3.0, 1.0], "c": [0.0, 0.1]})])
    assert [row.best for row in rows] == [1, 1, 0]
    assert [row.rank for row in rows] == [1.5, 1.5, 3]


@pytest.mark.parametrize("order", list(itertools.permutations("abc")))
def test_standings_do_not_depend_on_the_order_of_losses(order):
    values = {"a": [1.0, 2.0, 2.5], "b": [1.5, 1.9, 3.0], "c": [0.5, 0.7, 0.6]}
    found = {r.loss: r for r in standings([make_summary({k: values[k] for k in order})])}
    assert found == {r.loss: r for r in standings([make_summary(values)])}


def test_means_have_a_hole_where_a_metric_is_missing():
    summary = make_summary({"a": [1.0, 2.0]}, KEYS[:2])
    summary.runs[KEYS[1]] = math.nan
    assert means(summary).loc["a"].tolist() == [1.5, pytest.approx(math.nan, nan_ok=True)]
    (row,) = standings([summary])
    assert (row.cells, row.best) == (1, 1)


def test_table_of_ranks_is_sorted_and_shows_what_is_not_ranked():
    first = make_summary({"a": [1.0, 1.1], "b": [9.0, 9.1], "c": [5.0, 5.2]})
    second = make_summary({"a": [1.0, 1.1], "b": [9.0, 9.1]})
    grid = ranks_grid([first, second])
    assert [row.name for row in grid.rows] == ["b", "a", "c"]
    assert [cell.text for cell in grid.rows[0].cells] == ["1.00", "1.00", "2 of 2", "2 of 2"]
    assert all(cell.is_best for cell in grid.rows[0].cells)
    assert [cell.text for cell in grid.rows[2].cells] == ["–", "–", "0 of 1", "0 of 1"]
    assert not any(cell.is_best for row in grid.rows[1:] for cell in row.cells)
    assert "no rank" in grid.note
    assert "no rank" not in ranks_grid([first]).note
