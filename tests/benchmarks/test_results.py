import math

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from benchmarks.report import tables
from benchmarks.results import Summary, mean_and_interval, metric_keys

KEYS = metric_keys(2)


def make_summary(seeds=(0, 1, 2)) -> Summary:
    rng = np.random.default_rng(0)
    rows = [
        {"loss": loss, "base": base, "seed": seed, "fold": 0, "seconds": 3.0}
        | {key: 50 + rng.normal() + (5 if base else 0) for key in KEYS}
        for seed in seeds
        for loss, base in (("a", None), ("hpl:a", "a"), ("b", None))
    ]
    untrained = pd.DataFrame([dict.fromkeys(KEYS, 90.0)])
    return Summary(pd.DataFrame(rows), untrained, "pixels", KEYS, ("class", "kind"))


def test_interval_is_that_of_scipy():
    values = np.array([1.0, 2.5, 2.0, 4.0])
    mean, half = mean_and_interval(values)
    low, high = stats.ttest_1samp(values, 0).confidence_interval(0.95)
    assert (mean - half, mean + half) == pytest.approx((low, high))
    assert mean_and_interval([3.0])[0] == 3.0
    assert math.isnan(mean_and_interval([3.0])[1])
    assert all(math.isnan(value) for value in mean_and_interval([]))


def test_differences_are_paired_by_seed_and_fold():
    summary = make_summary()
    differences = summary.paired_differences("hpl:a", "a", KEYS[0])
    expected = summary.values("hpl:a", KEYS[0]) - summary.values("a", KEYS[0])
    np.testing.assert_allclose(differences, expected)
    shuffled = Summary(summary.runs.sample(frac=1, random_state=0), *_rest(summary))
    np.testing.assert_allclose(
        np.sort(shuffled.paired_differences("hpl:a", "a", KEYS[0])), np.sort(expected)
    )
    without = summary.runs.drop(index=0)  # one run of "a" is missing: one pair less
    assert len(Summary(without, *_rest(summary)).paired_differences("hpl:a", "a", KEYS[0])) == 2


def _rest(summary):
    return summary.untrained, summary.untrained_name, summary.metrics, summary.level_names


def test_a_run_without_a_mistake_has_no_severity():
    runs = pd.DataFrame({"loss": ["a", "a"], "mistake_severity": [math.nan, 1.5], "x": [0, 1.0]})
    summary = Summary(runs, pd.DataFrame(), "", ("mistake_severity",), ("class",))
    assert summary.values("a", "mistake_severity").tolist() == [1.5]
    assert summary.values("a", "x").tolist() == [0, 1]


def test_best_loss_is_bold_and_the_untrained_row_never_is():
    rows = {row.key or row.name: row for row in tables.rows(make_summary())}
    assert set(rows) == {"(pixels)", "a", "hpl:a", "b"}
    assert list(rows)[:2] == ["(pixels)", "hpl:a"]
    assert [cell.is_best for cell in rows["hpl:a"].cells] == [True] * 6 + [False]
    assert not any(cell.is_best for cell in rows["(pixels)"].cells)
    assert "±" in rows["a"].cells[0].text
    single = tables.rows(make_summary(seeds=(0,)))
    assert not any("±" in row.cells[0].text for row in single)


def test_rows_are_sorted_by_score():
    rows = [row.cells[2].value for row in tables.rows(make_summary())]
    assert rows == sorted(rows, reverse=True)
    assert tables.score_column(make_summary()) == 2


def test_a_loss_without_a_score_is_last():
    summary = make_summary()
    summary.runs.loc[summary.runs["loss"] == "hpl:a", KEYS] = math.nan
    assert [row.key for row in tables.rows(summary)][-1] == "hpl:a"


def test_difference_rows_have_signs_and_mark_what_is_beyond_the_interval():
    (row,) = tables.difference_rows(make_summary())
    assert (row.name, row.key) == ("HPL on a − a", "hpl:a − a")
    assert {cell.trend for cell in row.cells} == {1}
    assert all(cell.text.startswith("+") and cell.is_best for cell in row.cells)


def test_markdown_lines_up():
    summary = make_summary()
    text = tables.markdown_table(tables.headers(summary), tables.rows(summary))
    assert len({len(line) for line in text.splitlines()}) == 1
    assert "**" in text


@pytest.mark.parametrize(("width", "count"), [(200, 1), (60, 2)])
def test_terminal_table_fits(width, count):
    from rich.console import Console

    console = Console(width=width, record=True)
    console.print(tables.terminal_table(make_summary(), width))
    text = console.export_text()
    assert max(len(line) for line in text.splitlines()) <= width
    assert text.count("P@1") == (2 if count == 1 else count)
    assert "…" not in text
