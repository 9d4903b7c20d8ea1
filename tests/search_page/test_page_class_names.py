"""Classes of one name in several superclasses, on the page; and the sizes of its pictures."""

import numpy as np
import pytest
from page_gallery import make_gallery, make_model

from benchmarks.search_page.app import create_app
from benchmarks.search_page.classes import ClassNames
from benchmarks.search_page.loading import load
from pml_hierarchical import Hierarchy

NAMES = ["fruit/apple", "fruit/pear", "toys/apple", "toys/kite"]


@pytest.fixture(scope="module")
def client(folders, tmp_path_factory):
    folder = tmp_path_factory.mktemp("apples")
    model = make_model(folder / "model", 1)
    paths, classes = folders.paths[:20], np.repeat(np.arange(4), 5)
    tree = Hierarchy.from_paths(NAMES)
    make_gallery(folder / "gallery", model, folders.root, paths, classes, tree)
    return create_app(load(folder / "gallery", model=folder / "model")).test_client()


def test_names_that_several_classes_have_are_suggested_whole(client):
    names = client.get("/api/names?like=apple&level=0").json["names"]
    assert names == ["fruit/apple", "toys/apple"]
    assert client.get("/api/names?like=t&level=0").json["names"] == [
        "fruit/apple", "pear", "toys/apple", "kite"
    ]  # fmt: skip


@pytest.mark.parametrize(("name", "superclass"), [("fruit/apple", "fruit"), ("toys/apple", "toys")])
def test_each_suggestion_is_the_class_it_says(client, folders, name, superclass):
    content = (folders.root / folders.paths[0]).read_bytes()
    found = client.post(f"/api/search?k=20&class={name}", data=content).json
    assert found["query"]["superclasses"] == [superclass]
    assert found["galleries"][0]["correct"] == [5, 10]


def test_a_name_of_several_classes_is_refused(client, folders):
    content = (folders.root / folders.paths[0]).read_bytes()
    response = client.post("/api/search?class=apple", data=content)
    assert response.status_code == 400
    message = "Several classes are called 'apple': give fruit/apple or toys/apple."
    assert response.json == {"error": message}


def test_a_class_whose_own_name_is_short(folders):
    """As ``add-classes`` names the later one of two."""
    labels = np.array([[0, 0], [1, 1]])
    names = ClassNames(
        labels, [["apple", "toys/apple"], ["fruit", "toys"]], np.arange(2), np.ones(2, bool)
    )
    assert names.suggestions("app", 9) == ["apple", "toys/apple"]
    assert [names.find(name) for name in ("apple", "toys/apple")] == [0, 1]


@pytest.mark.parametrize("side", ["5", "241", "x", ""])
def test_the_sizes_of_pictures_are_named(client, side):
    response = client.get(f"/pictures/3?side={side}")
    assert response.status_code == 400
    assert response.json["error"] == f"side must be 240 or 960, but it is {side!r}."
    assert client.get("/pictures/3?side=960").status_code == 200
