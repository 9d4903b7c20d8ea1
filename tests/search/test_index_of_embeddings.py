"""Searches of all kinds against brute force, what is saved, and what is refused."""

import json
import os

import faiss
import numpy as np
import pytest
from sklearn.neighbors import NearestNeighbors

from benchmarks.search import gallery_index
from benchmarks.search.index_gallery import recall_at
from pml_hierarchical import Hierarchy
from pml_hierarchical.search import Index

KINDS = ("exact", "ivf", "hnsw")
RANDOM = np.random.default_rng(0)
CENTRES = RANDOM.standard_normal((40, 16))
GALLERY = (np.repeat(CENTRES, 50, axis=0) + 0.5 * RANDOM.standard_normal((2000, 16))).astype("f4")
QUERIES = (CENTRES + 0.5 * RANDOM.standard_normal((40, 16))).astype("f4")
PATHS = [f"{row:04}.jpg" for row in range(len(GALLERY))]
CLASSES = np.arange(2000) // 50
TREE = Hierarchy(np.stack([np.arange(40), np.arange(40) // 10], axis=1))


def nearest(gallery, k):
    found = NearestNeighbors(n_neighbors=k, metric="cosine").fit(gallery.astype(float))
    distances, rows = found.kneighbors(QUERIES.astype(float))
    return 1 - distances, rows


@pytest.fixture(scope="module", params=KINDS)
def index(request):
    return Index.build(GALLERY, PATHS, CLASSES, TREE, request.param, fingerprint="abc")


def test_neighbours(index):
    similarities, rows = index.search(QUERIES, 10)
    expected, expected_rows = nearest(GALLERY, 10)
    assert (similarities.dtype, rows.dtype) == (np.float32, np.int64)
    if index.kind == "exact":
        np.testing.assert_array_equal(rows, expected_rows)
        np.testing.assert_allclose(similarities, expected, atol=1e-5)
    shared = [len(set(a) & set(b)) for a, b in zip(rows, expected_rows, strict=True)]
    assert np.mean(shared) >= 9.5


def test_all_rows_are_found_if_so_many_are_asked_for(index):
    """Also where the lists that an IVF index searches hold fewer."""
    similarities, rows = index.search(QUERIES[:2], 5000)
    expected, _ = nearest(GALLERY, 2000)
    np.testing.assert_allclose(similarities, expected[:2], atol=1e-5)
    np.testing.assert_array_equal(np.sort(rows), [np.arange(2000)] * 2)


def test_a_search_among_some_rows_is_exact(index):
    among = np.arange(3, 2000, 7)
    similarities, rows = index.search(QUERIES, 10, among=among)
    expected, expected_rows = nearest(GALLERY[among], 10)
    np.testing.assert_array_equal(rows, among[expected_rows])
    np.testing.assert_allclose(similarities, expected, atol=1e-5)
    assert index.search(QUERIES, 10, among=[5, 5, 6])[1].shape == (40, 2)


def test_saved_and_loaded(index, tmp_path):
    index.save(tmp_path / "gallery")
    loaded = Index.load(tmp_path / "gallery")
    for before, after in zip(index.search(QUERIES, 7), loaded.search(QUERIES, 7), strict=True):
        np.testing.assert_array_equal(before, after)
    np.testing.assert_array_equal(loaded.classes, CLASSES)
    assert (loaded.paths, loaded.hierarchy, loaded.kind) == (PATHS, TREE, index.kind)
    assert loaded.about == {"fingerprint": "abc"}
    unit = GALLERY[[5, 3]] / np.linalg.norm(GALLERY[[5, 3]], axis=1, keepdims=True)
    np.testing.assert_allclose(loaded.embeddings([5, 3]), unit, atol=1e-6)


@pytest.mark.parametrize("kind", KINDS)
def test_the_same_index_each_time(kind, tmp_path):
    num_threads = faiss.omp_get_max_threads()
    faiss.omp_set_num_threads(4)
    try:
        for name in "ab":
            Index.build(GALLERY, PATHS, kind=kind).save(tmp_path / name)
        assert faiss.omp_get_max_threads() == 4
    finally:
        faiss.omp_set_num_threads(num_threads)
    first, second = ((tmp_path / name / "index.faiss").read_bytes() for name in "ab")
    assert first == second


def test_memory_maps_are_read_in_blocks(tmp_path, monkeypatch):
    np.save(tmp_path / "x.npy", GALLERY)
    mapped = np.load(tmp_path / "x.npy", mmap_mode="r")
    monkeypatch.setattr("benchmarks.search.gallery_index._BLOCK", 300)
    for kind in KINDS:
        expected, _ = Index.build(mapped, PATHS, kind=kind).search(QUERIES, 3)
        np.testing.assert_allclose(expected, nearest(GALLERY, 3)[0], atol=1e-5)


def test_auto_is_exact_until_it_is_large(monkeypatch):
    assert Index.build(GALLERY, PATHS, kind="auto").kind == "exact"
    monkeypatch.setattr("benchmarks.search.gallery_index.EXACT_UP_TO", 1999)
    assert Index.build(GALLERY, PATHS, kind="auto").kind == "ivf"


def test_superclasses():
    named = Hierarchy(TREE.class_labels, [None, ["a", "b", "c", "d"]])
    index = Index.build(GALLERY, PATHS, CLASSES, named)
    assert (index.superclass(1999, 1), index.superclass(1999, 0)) == ("d", "39")
    with pytest.raises(ValueError, match="no tree"):
        Index.build(GALLERY, PATHS).superclass(0, 1)


@pytest.mark.parametrize("kind", KINDS)
def test_few_pictures(kind, capfd):
    index = Index.build(np.eye(3), ["a", "b", "c"], kind=kind)
    np.testing.assert_array_equal(index.search(np.eye(3), 10)[1][:, 0], [0, 1, 2])
    assert capfd.readouterr() == ("", "")  # faiss warns of few rows by itself


@pytest.mark.parametrize("scale", [1e-35, 1e-25, 1e25, 1e36])
def test_the_length_of_an_embedding_does_not_count(scale):
    scaled = Index.build(GALLERY * np.float32(scale), PATHS)
    expected = Index.build(GALLERY, PATHS).search(QUERIES)
    for queries in (QUERIES, QUERIES * np.float32(scale)):
        found = scaled.search(queries)
        np.testing.assert_allclose(found[0], expected[0], atol=1e-5)
        np.testing.assert_array_equal(found[1], expected[1])


def test_arrays_are_stored_as_lists(tmp_path):
    Index.build(GALLERY, PATHS, known=CLASSES > 3, seed=np.int64(5)).save(tmp_path)
    assert Index.load(tmp_path).about == {"known": (CLASSES > 3).tolist(), "seed": 5}
    with pytest.raises(TypeError, match="JSON, which has no PosixPath"):
        Index.build(GALLERY, PATHS, place=tmp_path).save(tmp_path)
    assert Index.load(tmp_path).about["seed"] == 5


def test_what_is_refused(tmp_path):
    index = Index.build(GALLERY, PATHS)
    with pytest.raises(ValueError, match=r"shape \(40, 8\) in a gallery of 16 dimensions"):
        index.search(QUERIES[:, :8])
    with pytest.raises(ValueError, match="finite"):
        index.search(QUERIES * np.nan)
    with pytest.raises(ValueError, match="at least 1"):
        index.search(QUERIES, 0)
    with pytest.raises(ValueError, match="at least 1"):
        index.search(QUERIES, among=[])
    mask = np.arange(2000) == 7
    for among, message in ((mask, r"got bool .*numpy\.flatnonzero\(mask\)"), ([-1], "from 0, got")):
        with pytest.raises(ValueError, match=message):
            index.search(QUERIES, among=among)
    with pytest.raises(ValueError, match="among has row 2000, but there are 2000"):
        index.search(QUERIES, among=[2000])
    with pytest.raises(ValueError, match=r"shape \(rows, dimension\), got \(16,\)"):
        Index.build(GALLERY[0], PATHS)
    with pytest.raises(TypeError, match="classes must be integers, got dtype float64"):
        Index.build(GALLERY, PATHS, CLASSES + 0.5, TREE)
    with pytest.raises(ValueError, match="differ"):
        Index.build(GALLERY, PATHS[:-1])
    with pytest.raises(ValueError, match="differ"):
        Index.build(GALLERY, PATHS, CLASSES[:-1])
    with pytest.raises(ValueError, match=r"0\.\.39"):
        Index.build(GALLERY, PATHS, CLASSES + 1, TREE)
    with pytest.raises(ValueError, match="kind"):
        Index.build(GALLERY, PATHS, kind="flat")


def test_damaged_galleries(tmp_path):
    with pytest.raises(FileNotFoundError, match="is not a gallery"):
        Index.load(tmp_path)
    Index.build(GALLERY, PATHS).save(tmp_path)
    whole = (tmp_path / "index.faiss").read_bytes()
    (tmp_path / "index.faiss").write_bytes(whole[:1000])
    with pytest.raises(ValueError, match="damaged"):
        Index.load(tmp_path)
    (tmp_path / "index.faiss").unlink()
    with pytest.raises(ValueError, match="damaged"):
        Index.load(tmp_path)
    (tmp_path / "index.faiss").write_bytes(whole)
    described = json.loads((tmp_path / "index.json").read_text())
    for content in (
        "{",
        "[]",
        json.dumps({"kind": "exact"}),
        json.dumps(described | {"paths": []}),
    ):
        (tmp_path / "index.json").write_text(content)
        with pytest.raises(ValueError, match="damaged"):
            Index.load(tmp_path)


def test_a_full_disk_leaves_the_old_gallery(tmp_path, monkeypatch):
    index = Index.build(GALLERY, PATHS)
    index.save(tmp_path)
    before = sorted(tmp_path.iterdir())

    def fsync(descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", fsync)
    with pytest.raises(OSError, match=r"No space left on device while writing: '.*index\.faiss'"):
        index.save(tmp_path)
    assert len(Index.load(tmp_path)) == 2000
    assert sorted(tmp_path.iterdir()) == before


def test_two_that_save_into_one_folder(tmp_path, monkeypatch):
    """One begins and ends while the other writes: what is there then is of one of them."""
    original = gallery_index.faiss.write_index
    other = Index.build(GALLERY[:10], PATHS[:10])

    def write_index(*arguments):
        original(*arguments)
        monkeypatch.setattr(gallery_index.faiss, "write_index", original)
        other.save(tmp_path)

    monkeypatch.setattr(gallery_index.faiss, "write_index", write_index)
    Index.build(GALLERY, PATHS).save(tmp_path)
    assert len(Index.load(tmp_path)) == 2000
    assert len(list(tmp_path.iterdir())) == 2


def test_recall_counts_the_exact_neighbours_that_are_found_besides_the_query():
    index = Index.build(GALLERY, PATHS, kind="ivf")
    queries = GALLERY[::10]
    rows = np.arange(0, 2000, 10)

    def without_themselves(found):
        return [set(line) - {row} for line, row in zip(found[1], rows, strict=True)]

    index.engine.nprobe = 1
    exact = without_themselves(index.search(queries, 11, among=range(2000)))
    found = without_themselves(index.search(queries, 11))
    shares = [len(a & b) / 10 for a, b in zip(exact, found, strict=True)]
    assert recall_at(index, GALLERY) == pytest.approx(np.mean(shares))
    assert 0.3 < np.mean(shares) < 0.99
    index.engine.nprobe = index.engine.nlist
    assert recall_at(index, GALLERY) == 1


def test_a_search_among_some_rows_beside_pml():
    """PML imports a module of faiss that replaces the methods of all its indexes."""
    import faiss.contrib.torch_utils  # noqa: F401

    vectors = np.array([[1, 0], [0.8, 0.6], [0.6, 0.8], [0, 1]], dtype=np.float32)
    for kind in ("exact", "ivf", "hnsw"):
        index = Index.build(vectors, "abcd", kind=kind)
        assert index.search(vectors[:1], 2, among=[1, 2, 3])[1].tolist() == [[1, 2]]
        assert index.search(vectors[2:3], 1)[1].tolist() == [[2]]
        np.testing.assert_allclose(index.embeddings([3]), vectors[3:])
