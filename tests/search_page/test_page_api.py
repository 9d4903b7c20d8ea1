"""The JSON API against a search by brute force, ``Hierarchy`` and PML's own accuracy."""

import numpy as np
import pytest
import torch
from page_gallery import TREE, make_gallery
from pytorch_metric_learning.utils.accuracy_calculator import AccuracyCalculator

from benchmarks.search_page import comparison
from benchmarks.search_page.app import create_app
from benchmarks.search_page.loading import load
from pml_hierarchical.search import RetrievalModel


@pytest.fixture(scope="module")
def embeddings(folders):
    """Of every picture, in the order of the first gallery, by each model."""
    files = [folders.root / path for path in folders.paths]
    models = [RetrievalModel.load(folder) for folder in (folders.model, folders.flat_model)]
    return [model.embed(files) for model in models]


def nearest(embeddings, query, k, leave_out=None):
    similarities = embeddings.astype(np.float64) @ query
    if leave_out is not None:
        similarities[leave_out] = -np.inf
    rows = np.argsort(-similarities)[:k]
    return rows.tolist(), similarities[rows]


# ---------------------------------------------------------------- the gallery
def test_information(ask):
    info = ask("/api/info")
    assert [one["title"] for one in info["galleries"]] == ["gallery", "flat"]
    assert (info["pictures"], info["levels"], info["takes_uploads"]) == (30, 2, True)


@pytest.mark.parametrize(
    ("name", "number"), [("", 30), ("fruit", 15), ("UCUM", 5), ("e", 25), ("Apple", 5), ("xy", 0)]
)
def test_pictures_are_listed_by_class_and_superclass(ask, folders, name, number):
    listing = ask(f"/api/pictures?name={name}&count=200")
    shown = [one["path"] for one in listing["pictures"]]
    expected = [path for path in folders.paths if name.lower() in path.rpartition("/")[0].lower()]
    assert shown == expected
    assert listing["total"] == len(shown) == number


def test_pages_of_the_gallery_are_all_its_pictures(ask, folders):
    pages = [ask(f"/api/pictures?start={start}&count=7") for start in range(0, 30, 7)]
    assert [one["path"] for page in pages for one in page["pictures"]] == folders.paths
    assert pages[0]["pictures"][0] == {
        "row": 0,
        "path": "Fruit/Apple/0.png",
        "class": "Apple",
        "superclasses": ["Fruit"],
        "known": True,
    }


def test_names_are_suggested(ask):
    fine = ["Apple", "Cherry", "Pear", "Cucumber", "Lettuce"]
    assert ask("/api/names?like=e")["names"] == ["Vegetables", *fine]
    assert ask("/api/names?like=fruit&level=0")["names"] == fine[:3]


def test_a_class_that_is_only_guessed_is_not_called_right_or_wrong(folders, tmp_path):
    model = RetrievalModel.load(folders.model)
    known = [row != 2 for row in range(30)]
    make_gallery(
        tmp_path / "gallery", model, folders.root, folders.paths, folders.classes, TREE, known=known
    )
    client = create_app(load(tmp_path / "gallery", tmp_path / "gallery")).test_client()
    guessed = client.get("/api/search?row=2&k=29").json
    assert (guessed["query"]["class"], guessed["query"]["known"]) == ("Apple", False)
    assert {one["shared_level"] for one in guessed["galleries"][0]["answers"]} == {None}
    assert guessed["galleries"][0]["correct"] is None
    assert client.get("/api/search?row=0&k=29").json["galleries"][0]["correct"] == [3, 13]
    compared = client.get("/api/comparison").json
    assert (compared["queries"], compared["known"]) == (29, 29)


# ---------------------------------------------------------------- search
@pytest.mark.parametrize("row", [0, 7, 29])
def test_neighbours_of_a_row(ask, folders, embeddings, row):
    found = ask(f"/api/search?row={row}&k=8")
    assert found["query"]["path"] == folders.paths[row]
    for gallery, own in zip(found["galleries"], embeddings, strict=True):
        rows, similarities = nearest(own, own[row], 8, leave_out=row)
        assert [one["row"] for one in gallery["answers"]] == rows
        given = [one["similarity"] for one in gallery["answers"]]
        assert np.allclose(given, similarities, atol=1e-4)


@pytest.mark.parametrize("row", [0, 12])
def test_answers_are_marked_by_the_level_they_share(ask, folders, row):
    for gallery in ask(f"/api/search?row={row}&k=29")["galleries"]:
        classes = folders.classes[[one["row"] for one in gallery["answers"]]]
        heights = TREE.lca_height(folders.classes[row], classes)
        assert [one["shared_level"] for one in gallery["answers"]] == heights.tolist()
        assert gallery["correct"] == [4, 14]  # of a class with 5 pictures among 15


def test_an_upload_finds_what_its_file_finds(upload, folders, embeddings):
    for row in (3, 20):
        found = upload((folders.root / folders.paths[row]).read_bytes(), "k=4")
        assert found["query"]["class"] is None
        for gallery, own in zip(found["galleries"], embeddings, strict=True):
            rows, _ = nearest(own, own[row], 4)
            assert [one["row"] for one in gallery["answers"]] == rows
            assert gallery["answers"][0]["similarity"] == pytest.approx(1, abs=1e-4)
            assert gallery["correct"] is None
            assert gallery["answers"][0]["shared_level"] is None


@pytest.mark.parametrize("name", ["Pear", "Fruit/Pear"])
def test_answers_to_an_upload_are_marked_when_its_class_is_given(upload, folders, name):
    found = upload((folders.root / "Fruit/Pear/1.png").read_bytes(), f"k=30&class={name}")
    assert found["query"]["superclasses"] == ["Fruit"]
    assert [gallery["correct"] for gallery in found["galleries"]] == [[5, 15]] * 2


def test_a_class_that_does_not_exist(upload, folders):
    error = upload((folders.root / folders.paths[0]).read_bytes(), "class=Plum", status=400)
    assert error == {"error": "No class is called 'Plum'."}


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ("row=30", "row must be an integer from 0 to 29, but it is '30'."),
        ("row=-1", "row must be"),
        ("row=1e3", "row must be"),
        ("k=5", "row must be an integer from 0 to 29, but it is missing."),
        ("row=0&k=0", "k must be an integer from 1 to 100, but it is '0'."),
        ("row=0&k=101", "k must be"),
    ],
)
def test_wrong_parameters(ask, parameters, message):
    assert message in ask(f"/api/search?{parameters}", status=400)["error"]


def test_more_answers_than_pictures(ask):
    assert len(ask("/api/search?row=0&k=100")["galleries"][0]["answers"]) == 29


@pytest.mark.parametrize("kind", ["ivf", "hnsw"])
def test_other_kinds_of_index(folders, tmp_path, kind):
    model = RetrievalModel.load(folders.model)
    make_gallery(tmp_path / kind, model, folders.root, folders.paths, kind=kind)
    client = create_app(load(tmp_path / kind, model=folders.model)).test_client()
    found = client.get("/api/search?row=4&k=29").json["galleries"][0]["answers"]
    assert sorted(one["row"] for one in found) == [row for row in range(30) if row != 4]
    assert {one["class"] for one in found} == {None}  # this gallery knows no classes


# ---------------------------------------------------------------- comparison
def test_comparison_agrees_with_pml(ask, folders, embeddings):
    found = ask("/api/comparison")
    assert found["queries"] == 30
    for gallery, own in zip(found["galleries"], embeddings, strict=True):
        for level in range(2):
            labels = torch.as_tensor(TREE.ancestors(folders.classes, level))
            accuracy = AccuracyCalculator(include=("precision_at_1",), device=torch.device("cpu"))
            right = accuracy.get_accuracy(torch.as_tensor(own), labels)["precision_at_1"]
            assert gallery["nearest"][level] == pytest.approx(right)


def test_queries_that_differ_are_those_with_other_answers(ask, pictures):
    found = ask("/api/comparison")
    assert any(found["differing"])
    for better in (0, 1):
        leads = []
        for one in found["differing"][better]:
            answers = ask(f"/api/search?row={one['row']}&k={found['k']}")["galleries"]
            assert one["correct"] == [gallery["correct"] for gallery in answers]
            counts = [sum(gallery["correct"]) for gallery in answers]
            leads.append(counts[better] - counts[1 - better])
        assert leads == sorted(leads, reverse=True)
        assert all(lead > 0 for lead in leads)


def test_queries_of_a_comparison_are_drawn_once(pictures, monkeypatch):
    monkeypatch.setattr(comparison, "QUERIES", 10)
    monkeypatch.setattr(comparison, "BLOCK", 4)
    first, second = comparison.compare(pictures), comparison.compare(pictures)
    assert len(first.rows) == 10
    assert np.array_equal(first.rows, second.rows)
    assert np.array_equal(first.correct, second.correct)


def test_no_comparison_of_one_gallery(folders):
    client = create_app(load(folders.gallery)).test_client()
    assert "--compare" in client.get("/api/comparison").json["error"]


def test_a_wrong_method_is_told_which_are_right(client):
    response = client.delete("/api/search")
    assert response.status_code == 405
    assert {"GET", "POST"} <= set(response.allow)
    assert response.json["error"]
