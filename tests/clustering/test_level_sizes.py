"""The sizes of the levels: what may be asked for, and how given and discovered ones are merged."""

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pml_hierarchical.clustering import (
    check_num_superclasses,
    default_num_superclasses,
    merged_sizes,
)
from pml_hierarchical.clustering.sizes import share_out


@pytest.mark.parametrize(("num_classes", "expected"), [(3, 2), (41, 6), (100, 10), (11318, 106)])
def test_default_number_of_superclasses(num_classes, expected):
    assert default_num_superclasses(num_classes) == expected
    assert check_num_superclasses("auto", num_classes) == (expected,)


def test_what_may_be_asked_for():
    assert check_num_superclasses((), 5) == ()
    assert check_num_superclasses(4, 5) == (4,)
    assert check_num_superclasses(np.array([4, 2]), 5) == (4, 2)
    assert merged_sizes(100, (), "auto") == ((100, 10), (True, False))
    assert merged_sizes(100, (40, 1), ()) == ((100, 40, 1), (True, True, True))
    sizes, is_given = merged_sizes(100, (40, 12), [60, 20, 5])
    assert sizes == (100, 60, 40, 20, 12, 5)
    assert is_given == (True, False, True, False, True, False)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ((10, (), [0]), ValueError, "at least 2 .*got 0"),
        ((10, (), [1]), ValueError, "at least 2 .*got 1"),
        ((10, (), [-3]), ValueError, "at least 2 .*got -3"),
        ((10, (), [True]), TypeError, "integers, got True"),
        ((10, (), [4.0]), TypeError, "integers, got 4.0"),
        ((10, (), 2.5), TypeError, "integers, got 2.5"),
        ((10, (), None), TypeError, "integers, got None"),
        ((10, (), "many"), ValueError, "\"auto\", got 'many'"),
        ((10, (), ["auto"]), TypeError, "integers, got 'auto'"),
        ((2, (), "auto"), ValueError, "num_classes: got 2 superclasses for 2"),
        ((10, (), [10]), ValueError, "smaller than num_classes: got 10 superclasses for 10"),
        ((10, (), [5, 5]), ValueError, "the level below it: got 5 superclasses for 5"),
        ((10, (), [3, 5]), ValueError, "the level below it: got 5 superclasses for 3"),
        ((10, (5, 5), ()), ValueError, "5 classes at level 2 and 5 at level 1"),
        ((10, (10,), ()), ValueError, "10 classes at level 1 and 10 at level 0"),
        ((10, (6, 3), [3]), ValueError, "num_superclasses=3 is the size of level 2 .*, 3:"),
        ((9, (3,), "auto"), ValueError, "num_superclasses=3 is the size of level 1"),
    ],
)
def test_bad_sizes(arguments, error, message):
    with pytest.raises(error, match=message):
        merged_sizes(*arguments)


@given(st.lists(st.integers(1, 50), min_size=1, max_size=12), st.data())
def test_clusters_are_shared_out_in_proportion(counts, data):
    counts = np.array(counts)
    num_clusters = data.draw(st.integers(len(counts), int(counts.sum())))
    shares = share_out(num_clusters, counts)
    assert shares.sum() == num_clusters
    assert (shares >= 1).all()
    assert (shares <= counts).all()
    fair = num_clusters * counts / counts.sum()
    if (fair >= 1).all():
        assert (np.abs(shares - fair) < 1).all()
    for a, b in itertools.combinations(range(len(counts)), 2):
        if counts[a] > counts[b]:
            assert shares[a] >= shares[b]


def test_shares_by_hand():
    assert share_out(7, np.array([10, 20, 40])).tolist() == [1, 2, 4]
    assert share_out(10, np.array([3, 3, 3, 3])).tolist() == [3, 3, 2, 2]  # ties: the first
    assert share_out(5, np.array([1, 1, 1, 97])).tolist() == [1, 1, 1, 2]
