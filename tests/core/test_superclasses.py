"""The sizes of the levels: what may be asked for, and how given and discovered ones are merged."""

import itertools

import numpy as np
import pytest
import torch
from hypothesis import event, given, settings
from hypothesis import strategies as st

from pml_hierarchical.core.superclasses import (
    SuperclassState,
    discover,
    from_signs,
    group_means,
    level_sizes,
    share_out,
    to_signs,
    unit_vectors,
)


@pytest.mark.parametrize(("num_classes", "expected"), [(3, 2), (41, 10), (100, 25), (11318, 1000)])
def test_auto_is_a_quarter_of_the_classes_or_less(num_classes, expected):
    assert level_sizes(num_classes, (), "auto") == ((num_classes, expected), (True, False))


def test_what_may_be_asked_for():
    assert level_sizes(5, (), ()) == ((5,), (True,))
    assert level_sizes(5, (), 4) == ((5, 4), (True, False))
    sizes, is_given = level_sizes(5, (), np.array([4, 2]))
    assert (sizes, is_given) == ((5, 4, 2), (True, False, False))
    assert {type(size) for size in sizes} == {int}
    assert level_sizes(100, (40, 2), ()) == ((100, 40, 2), (True, True, True))
    sizes, is_given = level_sizes(100, (40, 12), [60, 20, 5])
    assert sizes == (100, 60, 40, 20, 12, 5)
    assert is_given == (True, False, True, False, True, False)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ((10, (), [0]), ValueError, "got 0 .*at least 2"),
        ((10, (), [1]), ValueError, "got 1 .*at least 2"),
        ((10, (), [-3]), ValueError, "got -3 .*at least 2"),
        ((10, (), [True]), TypeError, 'integers or "auto", got True'),
        ((10, (), [4.0]), TypeError, 'integers or "auto", got 4.0'),
        ((10, (), 2.5), TypeError, 'integers or "auto", got 2.5'),
        ((10, (), None), TypeError, 'integers or "auto", got None'),
        ((10, (), "many"), TypeError, "\"auto\", got 'many'"),
        ((10, (), ["auto"]), TypeError, "integers or \"auto\", got 'auto'"),
        ((2, (), "auto"), ValueError, "got 2 superclasses at level 1 for 2"),
        (
            (10, (), [10]),
            ValueError,
            "got 10 superclasses at level 1 for 10 classes; a coarser level must be smaller",
        ),
        ((10, (), [5, 5]), ValueError, "got 5 superclasses at level 2 for 5"),
        ((10, (), [3, 5]), ValueError, "got 5 superclasses at level 2 for 3"),
        ((10, (5, 5), ()), ValueError, "hierarchy: got 5 superclasses at level 2 for 5"),
        ((10, (10,), ()), ValueError, "hierarchy: got 10 superclasses at level 1 for 10"),
        (
            (10, (5, 1), ()),
            ValueError,
            "hierarchy: got 1 superclasses at level 2 for 5 .*leave that level out",
        ),
        ((10, (6, 3), [3]), ValueError, "num_superclasses=3 is the size of level 2 "),
        ((9, (2,), "auto"), ValueError, "num_superclasses=2 is the size of level 1"),
    ],
)
def test_bad_sizes(arguments, error, message):
    with pytest.raises(error, match=message):
        level_sizes(*arguments)


@given(st.lists(st.integers(1, 50), min_size=1, max_size=12), st.data())
def test_clusters_are_shared_out_in_proportion(counts, data):
    num_clusters = data.draw(st.integers(len(counts), sum(counts)))
    shares = np.array(share_out(num_clusters, torch.tensor(counts)))
    counts = np.array(counts)
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
    assert share_out(7, torch.tensor([10, 20, 40])) == [1, 2, 4]
    assert share_out(10, torch.tensor([3, 3, 3, 3])) == [3, 3, 2, 2]  # ties: the first
    assert share_out(5, torch.tensor([1, 1, 1, 97])) == [1, 1, 1, 2]


# ---------------------------------------------------------------- clusterers
def halves(points, num_clusters):
    return torch.arange(len(points)) * num_clusters // len(points)


class Recorder:
    """A clusterer that notes what it is asked."""

    def __init__(self, warm_start=None):
        self.calls = []
        if warm_start is not None:
            self.warm_start = warm_start

    def __call__(self, points, num_clusters, **options):
        self.calls.append((points, num_clusters, options))
        return halves(points, num_clusters)


def table_of(*columns):
    return torch.tensor([list(range(len(columns[0]))), *columns]).T.contiguous()


@pytest.mark.parametrize("convert", [torch.Tensor.tolist, torch.Tensor.numpy, torch.Tensor.int])
def test_a_function_as_kmeans_func_of_pml(convert):
    table = table_of([-1] * 6)
    vectors = 9 * torch.randn(6, 3, dtype=torch.float64)
    seen = []

    def function(points, num_clusters):
        seen.append(points)
        return convert(halves(points, num_clusters))

    for spherical in (True, False):
        found = discover(vectors, table, (6, 2), (True, False), function, spherical=spherical)
        assert found.tolist() == table_of([0, 0, 0, 1, 1, 1]).tolist()
    assert seen[0].dtype == torch.float32
    torch.testing.assert_close(seen[0].norm(dim=1), torch.ones(6))
    torch.testing.assert_close(seen[1], vectors.float())
    assert table[:, 1].tolist() == [-1] * 6


def test_the_kmeans_of_pml():
    from pytorch_metric_learning.utils.inference import FaissKMeans

    vectors = torch.eye(4).repeat(5, 1) + 0.01 * torch.randn(20, 4)
    found = discover(
        vectors, table_of([-1] * 20), (20, 4), (True, False), FaissKMeans(seed=1, nredo=5)
    )
    assert len(set(map(tuple, found[:, 1].view(5, 4).tolist()))) == 1


def test_a_clusterer_is_not_asked_what_is_known_already():
    recorder = Recorder()
    # the given classes have 1, 2 and 5 members: 1, 1 and 3 superclasses
    above = [0, 1, 1, 2, 2, 2, 2, 2]
    table = table_of([-1] * 8, above)
    found = discover(torch.randn(8, 2), table, (8, 5, 3), (True, False, True), recorder)
    assert found[:, 1].tolist() == [0, 1, 1, 2, 2, 3, 3, 4]
    assert [(len(points), k) for points, k, _ in recorder.calls] == [(5, 3)]
    assert found[:, 2].tolist() == above


def test_a_warm_start_gets_the_centroids_in_use_else_none():
    vectors = torch.tensor([[0.0], [2.0], [10.0], [30.0]])
    warm, sizes, is_given = Recorder(True), (4, 2), (True, False)
    once = discover(vectors, table_of([-1] * 4), sizes, is_given, warm, spherical=False)
    assert warm.calls[-1][2] == {"centroids": None, "spherical": False}
    mine = torch.tensor([[5.0], [6.0]], dtype=torch.float16)
    discover(vectors, once, sizes, is_given, warm, [mine], spherical=False)
    assert warm.calls[-1][2]["centroids"].tolist() == [[5.0], [6.0]]
    for cold in (Recorder(), Recorder(False)):
        discover(vectors, once, sizes, is_given, cold, [mine])
        assert cold.calls[-1][2] == {}


def test_every_level_is_clustered_by_unit_vectors_of_any_scale_where_spherical():
    table, vectors = table_of([-1] * 12, [-1] * 12), torch.randn(12, 3)
    for scale in (1, 1e30, 1e-30):
        recorder = Recorder()
        discover(scale * vectors, table, (12, 5, 2), (True, False, False), recorder)
        assert [(len(points), k) for points, k, _ in recorder.calls] == [(12, 5), (5, 2)]
        for points, _, _ in recorder.calls:
            torch.testing.assert_close(points.norm(dim=1), torch.ones(len(points)))


def test_numbers_are_kept_by_overlap_unless_the_clusterer_keeps_them():
    vectors, sizes, is_given = torch.randn(6, 2), (6, 3), (True, False)
    last = table_of([2, 2, 2, 0, 1, 1])  # halves finds 0 0 1 1 2 2
    assert discover(vectors, last, sizes, is_given, halves)[:, 1].tolist() == [2, 2, 0, 0, 1, 1]
    kept = discover(vectors, last, sizes, is_given, Recorder(True), [torch.randn(3, 2)])
    assert kept[:, 1].tolist() == [0, 0, 1, 1, 2, 2]


@pytest.mark.parametrize(
    ("answer", "error", "message"),
    [
        ([0, 1, 0], ValueError, r"answering .*shape \(4,\).*returned .*shape \(3,\)"),
        (np.zeros((4, 1), int), ValueError, r"returned .*shape \(4, 1\)"),
        ([0.0, 1.0, 0.0, 1.0], ValueError, "answering .*float32"),
        ([True, False, True, False], ValueError, "answering .*bool"),
        ([0, 1, 2, 1], ValueError, r"0\.\.1 .*\[0, 1, 2\]"),
        ([0, 1, -1, 1], ValueError, r"0\.\.1 .*\[-1, 0, 1\]"),
        ([1, 1, 1, 1], ValueError, r"answering .*\[1\]"),
    ],
)
def test_bad_answers(answer, error, message):
    def answering(points, num_clusters):
        return answer

    with pytest.raises(error, match=message):
        discover(torch.eye(4), table_of([-1] * 4), (4, 2), (True, False), answering)


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_vectors_that_are_not_finite(bad):
    vectors = torch.eye(4)
    vectors[2, 1] = bad
    with pytest.raises(ValueError, match=r"NaN or infinite values .*row 2"):
        discover(vectors, table_of([-1] * 4), (4, 2), (True, False), halves)


# ---------------------------------------------------------------- points
@settings(max_examples=30)
@given(st.integers(1, 30), st.integers(1, 5), st.integers(0, 100))
def test_group_means_against_a_loop(num_points, num_groups, seed):
    rng = np.random.default_rng(seed)
    groups = np.concatenate([np.arange(num_groups), rng.integers(num_groups, size=num_points)])
    points = rng.normal(size=(len(groups), 3))
    means = group_means(torch.tensor(points), torch.tensor(groups), num_groups)
    for group in range(num_groups):
        np.testing.assert_allclose(means[group], points[groups == group].mean(axis=0))


def test_unit_vectors_of_any_scale():
    points = torch.tensor([[3e-38, 4e-38], [3e30, 4e30], [0, 0], [-5, 0]])
    expected = torch.tensor([[0.6, 0.8], [0.6, 0.8], [0, 0], [-1, 0]])
    torch.testing.assert_close(unit_vectors(points), expected)


# ---------------------------------------------------------------- signs
@st.composite
def tables(draw):
    """A table with classes at every level, some of them not assigned, and its sizes."""
    num_classes = draw(st.integers(1, 40))
    sizes = (num_classes, *draw(st.lists(st.integers(1, 70), max_size=4)))
    coarse = [
        draw(st.lists(st.integers(-1, size - 1), min_size=num_classes, max_size=num_classes))
        for size in sizes[1:]
    ]
    return torch.tensor([list(range(num_classes)), *coarse]).T, sizes


@given(tables())
def test_signs_round_trip_and_are_the_binary_digits(problem):
    table, sizes = problem
    signs = to_signs(table, sizes)
    assert signs.dtype == torch.float32
    assert len(signs) == len(table)
    found = from_signs(signs, sizes)
    assert found.dtype == torch.int64
    assert torch.equal(found, table)
    first = 0
    for level, size in enumerate(sizes[1:], start=1):
        count = max(1, int(np.ceil(np.log2(size))))
        for row, label in zip(signs.tolist(), table[:, level].tolist(), strict=True):
            digits = reversed(np.binary_repr(max(label, 0), count))
            expected = [(0 if label < 0 else 1 if digit == "1" else -1) for digit in digits]
            assert row[first : first + count] == expected
        first += count + 6  # check digits
    assert signs.shape[1] == first


FLOATS = [torch.float16, torch.bfloat16, torch.float32, torch.float64]


@given(tables(), st.sampled_from(FLOATS), st.floats(1e-3, 1e3), st.integers(0, 1000))
def test_casts_and_averages_leave_the_table(problem, dtype, factor, seed):
    table, sizes = problem
    signs = to_signs(table, sizes)
    assert torch.equal(from_signs(signs.to(dtype), sizes), table)
    assert torch.equal(from_signs((signs * factor).to(dtype), sizes), table)
    same = torch.stack([signs.to(dtype)] * 3).mean(dim=0)
    assert torch.equal(from_signs(same, sizes), table)
    generator = torch.Generator().manual_seed(seed)
    coarse = [torch.randint(size, (len(table),), generator=generator) for size in sizes[1:]]
    other = torch.stack([table[:, 0], *coarse], dim=1)
    mixed = 0.9 * signs + 0.1 * to_signs(other, sizes)
    decided = torch.where(table < 0, other, table)  # a class that one of them has not assigned
    assert torch.equal(from_signs(mixed.to(dtype), sizes), decided)


@given(tables(), tables(), st.floats(0, 1))
def test_any_average_is_a_valid_table(first, second, weight):
    (a, sizes), (b, _) = first, second
    other = torch.stack([b[torch.arange(len(a)) % len(b), b.shape[1] - 1]] * a.shape[1], dim=1)
    other = torch.minimum(other, torch.tensor(sizes) - 1)
    found = from_signs(torch.lerp(to_signs(a, sizes), to_signs(other, sizes), weight), sizes)
    assert (found >= -1).all()
    assert (found < torch.tensor(sizes)).all()
    assert torch.equal(found[:, 0], a[:, 0])


@settings(max_examples=300)
@given(st.data())
def test_coarse_levels_are_active_where_the_table_is_a_tree_of_all_classes(data):
    sizes = (6, *data.draw(st.sampled_from([(3,), (3, 2), (4, 3, 2)])))
    columns = [st.lists(st.integers(-1, n - 1), min_size=6, max_size=6) for n in sizes[1:]]
    parents = [
        data.draw(st.lists(st.integers(0, n - 1), min_size=6, max_size=6)) for n in sizes[1:]
    ]
    table = [list(range(6))]
    for number, column in enumerate(columns):  # nested ones, or any
        nested = [parents[number][below] for below in table[-1]]
        table.append(data.draw(st.one_of(st.just(nested), column)))
    labels = torch.tensor(table).T
    state = SuperclassState(torch.full_like(labels, -1), sizes)
    state.write(labels)
    is_used = all(set(column) == set(range(n)) for column, n in zip(table, sizes, strict=True))
    pairs = itertools.pairwise(table)
    is_tree = is_used and all(len({*zip(a, b, strict=True)}) == len({*a}) for a, b in pairs)
    assert (state.read().is_active, state.read().is_mixed) == (is_tree, not is_tree)
    event(f"a tree: {is_tree}")
