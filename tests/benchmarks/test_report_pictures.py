import itertools
import sys

import numpy as np
import pandas as pd
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg

from benchmarks.report import embedding_map, figures
from benchmarks.report.bars import accuracy_by_level
from benchmarks.report.colours import PALETTE
from benchmarks.report.curves import mean_by_step
from benchmarks.report.differences import differences_by_dataset, differences_by_level
from benchmarks.report.figures import _agreement
from benchmarks.report.retrievals import retrieval_page
from benchmarks.report.tree_picture import Agreement, agreements, level_of_shares, tree_figure
from benchmarks.results import Summary, base_of, metric_keys
from benchmarks.thumbnails import MAX_PICTURES, sample

KEYS = metric_keys(2)


def make_summary(losses, seeds=(0, 1), keys=KEYS, names=("a", "b")) -> Summary:
    rows = [
        {"loss": loss, "base": base_of(loss), "seed": seed, "fold": 0, "seconds": 1.0}
        | dict.fromkeys(keys, 50.0 + place * seed)
        for seed in seeds
        for place, loss in enumerate(losses)
    ]
    return Summary(pd.DataFrame(rows), pd.DataFrame(columns=list(keys)), "", keys, names)


def drawn(figure):
    """The renderer of a figure that was drawn, for the extents of what is in it."""
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    return canvas.get_renderer()


def test_curves_of_different_lengths_keep_their_last_value():
    mean = mean_by_step([np.array([1.0, 3.0]), np.array([3.0, 5.0, 9.0])])
    assert mean.tolist() == [2.0, 4.0, 6.0]


@pytest.mark.parametrize(
    ("losses", "expected"),
    [
        (["contrastive", "arcface"], ["contrastive", "arcface"]),
        (["arcface", "hpl:arcface", "hpl_given:arcface"], ["arcface", "hpl:arcface"]),
        (
            ["proxy_anchor", "arcface", "hpl:proxy_anchor", "hpl:arcface"],
            ["proxy_anchor", "hpl:proxy_anchor"],
        ),
        (["arcface", "hpl:cosface"], ["arcface", "hpl:cosface"]),
        (["hpl:cosface"], ["hpl:cosface"]),
    ],
)
def test_compared_losses(losses, expected):
    assert figures.compared_losses(make_summary(losses)) == expected


def test_differences_have_a_panel_for_each_level_or_data_set():
    summary = make_summary(["arcface", "hpl:arcface"])
    figure = differences_by_level(summary)
    assert [axes.get_title() for axes in figure.axes] == ["a", "b"]
    flat = make_summary(["arcface"])
    assert differences_by_level(flat) is None
    joint = differences_by_dataset({"x": summary, "flat": flat, "y": summary})
    assert [axes.get_title() for axes in joint.axes] == ["x, a", "y, a"]
    # the seeds 0 and 1 differ by 0 and 1: the mark stands at their mean
    points = figure.axes[0].containers[0].lines[0]
    assert points.get_xdata().tolist() == [0.5]


def test_differences_of_0_are_not_on_a_scale_of_rounding():
    figure = differences_by_level(make_summary(["arcface", "hpl:arcface"], seeds=(0, 0)))
    assert figure.axes[0].get_xlim() == (-0.1, 0.1)


@pytest.mark.parametrize("levels", [1, 2, 3, 7])
def test_numbers_beside_the_bars_do_not_cover_them(levels):
    names = tuple("abcdefg"[:levels])
    losses = ["normalized_softmax", "hpl_given:normalized_softmax"]
    figure = accuracy_by_level(make_summary(losses, (0,), metric_keys(levels), names))
    renderer = drawn(figure)
    assert [axes.get_title() for axes in figure.axes] == list(names)
    for axes in figure.axes:
        bars = [bar.get_window_extent(renderer).x1 for bar in axes.patches]
        widest = np.nanmax(bars)  # without runs there is none of the features
        assert all(text.get_window_extent(renderer).x0 > widest for text in axes.texts)


@pytest.mark.parametrize("levels", [2, 7, 12])
def test_marks_of_many_levels_stand_beside_one_another(tmp_path, levels):
    np.savez(
        tmp_path / "retrievals.npz",
        neighbours=np.zeros((1, 5), int),
        query_labels=np.zeros((1, levels), int),
        neighbour_labels=np.zeros((1, 5, levels), int),
        pictures=np.zeros((1, 6, 4, 4, 3), np.uint8),
    )
    files = {"arcface": tmp_path / "retrievals.npz", "hpl:arcface": tmp_path / "retrievals.npz"}
    figure = retrieval_page(files, [("name",)] * levels)
    renderer = drawn(figure)
    marks = [text.get_window_extent(renderer) for axes in figure.axes for text in axes.texts]
    assert len(marks) == 10 * levels
    marks.sort(key=lambda extent: extent.x0)
    assert all(one.x1 <= other.x0 for one, other in itertools.pairwise(marks))


def test_agreement_with_the_levels_of_the_data_set():
    own = np.array([[0, 0, 0], [1, 0, 0], [2, 1, 0], [3, 1, 0], [4, 2, 1], [5, 2, 1]])
    given = agreements(np.array([5, 5, 0, 0, 3, 3]), own)
    assert [a.level for a in given] == [1, 2]
    assert given[0].nmi == pytest.approx(1)
    assert given[0].ami == pytest.approx(1)
    assert given[1].ami < 1
    assert level_of_shares(given) == 1  # the level that the tree was taken from
    discovered = agreements(np.array([0, 1, 0, 1, 0, 1]), own)
    assert discovered[0].ami < 0.1
    assert level_of_shares(discovered) == 2  # else the coarsest
    assert agreements(np.array([0, 1]), np.array([[0], [1]])) == []
    assert level_of_shares([]) is None
    in_one = np.concatenate([own, np.zeros((6, 1), int)], axis=1)  # the coarsest groups nothing
    assert agreements(np.array([0, 1, 0, 1, 0, 1]), in_one) == discovered


def test_an_agreement_by_chance_has_no_sign():
    said = _agreement([Agreement(1, 0.73, -0.001)], ("letter", "script"))
    assert "script: NMI 0.73, AMI 0.00 " in said


def test_rows_of_the_tree_say_their_size_and_share(tmp_path):
    np.savez(
        tmp_path / "tree.npz",
        class_labels=np.array([[7, 1], [3, 1], [5, 0], [6, 0]]),
        superclasses=np.array([[0, 0, 0, 1]]),
        shown=np.array([0, 1, 3]),
        pictures=np.zeros((3, 4, 4, 3), np.uint8),
    )
    figure, _ = tree_figure(tmp_path / "tree.npz", (("",) * 8, ("even", "odd")))
    texts = [text.get_text() for axes in figure.axes for text in axes.texts]
    assert texts == ["3 classes\n67% odd (50%)", "1 class\n100% even (50%)"]
    assert sum(len(axes.images) for axes in figure.axes) == 3


def save_test(path, count=60, kinds=12):
    rng = np.random.default_rng(0)
    labels = np.stack([np.arange(count), np.arange(count) % kinds], axis=1)
    embeddings = np.eye(kinds)[labels[:, 1]] + 0.05 * rng.normal(size=(count, kinds))
    arrays = {"test_labels": labels, "test_indices": np.arange(len(labels))}
    np.savez(path, test_embeddings=embeddings.astype(np.float32), **arrays)
    return path


def test_map_shows_every_image_in_the_colour_of_its_superclass(tmp_path, monkeypatch):
    monkeypatch.setattr(embedding_map, "project", lambda embeddings: embeddings[:, :2])
    path = save_test(tmp_path / "test.npz")
    names = tuple(f"kind {i}" for i in range(12))
    maps = embedding_map.read_maps({"a": path, "b": path}, (("",) * 60, names))
    figure = embedding_map.map_figure(maps, (("",) * 60, names))
    assert [axes.get_title() for axes in figure.axes] == ["a", "b"]
    assert len(figure.axes[0].collections[0].get_offsets()) == 60
    shown = [text.get_text() for text in figure.legends[0].get_texts()]
    assert shown == [*names[: len(PALETTE)], "others"]


def test_map_is_coloured_by_the_coarsest_level_that_divides_the_images(tmp_path, monkeypatch):
    monkeypatch.setattr(embedding_map, "project", lambda embeddings: embeddings[:, :2])
    path = save_test(tmp_path / "test.npz", kinds=3)
    arrays = dict(np.load(path))
    labels = np.pad(arrays["test_labels"], ((0, 0), (0, 1)))
    np.savez(path, **{**arrays, "test_labels": labels})
    names = (("",) * 60, ("x", "y", "z"), ("all",))
    maps = embedding_map.read_maps({"a": path}, names)
    assert maps.level == 1
    assert [name for name, _ in maps.entries(names)] == ["x", "y", "z"]
    long = (names[0], ("x" * 35, "y" * 34, "z"), names[2])
    assert [name for name, _ in maps.entries(long)] == ["x" * 33 + "…", "y" * 34, "z"]
    assert len({colour.light for colour in maps.colour_of_images}) == 3


def test_places_are_kept_beside_the_run_until_they_are_made_in_another_way(tmp_path, monkeypatch):
    calls = []
    monkeypatch.setattr(embedding_map, "project", lambda e: calls.append(len(e)) or e[:, :2])
    path, embeddings = tmp_path / "test.npz", np.ones((5, 3))
    first = embedding_map.kept_places(path, embeddings)
    np.testing.assert_array_equal(first, embedding_map.kept_places(path, embeddings))
    assert calls == [5]
    monkeypatch.setattr(embedding_map, "SEED", 1)
    embedding_map.kept_places(path, embeddings)
    assert calls == [5, 5]


def test_sample_is_bounded_and_the_same_every_time():
    rows = sample(10_000)
    assert len(np.unique(rows)) == MAX_PICTURES
    np.testing.assert_array_equal(rows, sample(10_000))
    assert sample(5).tolist() == [0, 1, 2, 3, 4]


@pytest.mark.umap
def test_without_umap_the_report_says_so(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "umap", None)
    path = save_test(tmp_path / "test.npz")
    with pytest.raises(embedding_map.NoMapError, match="pip install umap-learn"):
        embedding_map.read_maps({"a": path}, (("",) * 60, ("x",) * 12))
    with pytest.raises(embedding_map.NoMapError, match=r"nothing\.npz is missing"):
        embedding_map.read_maps({"a": tmp_path / "nothing.npz"}, ())


@pytest.mark.umap
@pytest.mark.xdist_group("UMAP")
def test_umap_puts_what_is_alike_together():
    pytest.importorskip("umap")
    rng = np.random.default_rng(0)
    kinds = np.arange(60) % 2
    embeddings = np.eye(2)[kinds] + 0.05 * rng.normal(size=(60, 2))
    places = embedding_map.project(embeddings)
    np.testing.assert_array_equal(places, embedding_map.project(embeddings))
    centres = [places[kinds == kind].mean(axis=0) for kind in (0, 1)]
    spread = max(places[kinds == kind].std() for kind in (0, 1))
    assert np.linalg.norm(centres[0] - centres[1]) > spread
