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
    for level in ("1", "-1", "x", ""):
        response = client.get(f"/api/names?like=t&level={level}")
        assert response.status_code == 400
        assert "level must be 0" in response.json["error"]


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


def test_superclasses_of_one_name_stay_two(folders, tmp_path):
    """The page groups and colours by these names."""
    model = make_model(tmp_path / "model", 1)
    tree = Hierarchy(
        [[0, 0, 0], [1, 1, 1], [2, 2, 1]],
        [["apple", "kite", "ball"], ["food/red", "toys/red", "toys/blue"], ["food", "toys"]],
    )
    paths, classes = folders.paths[:15], np.repeat(np.arange(3), 5)
    make_gallery(tmp_path / "gallery", model, folders.root, paths, classes, tree)
    client = create_app(load(tmp_path / "gallery")).test_client()
    answers = client.get("/api/search?row=0&k=14").json["galleries"][0]["answers"]
    found = {one["class"]: one["superclasses"] for one in answers}
    assert found == {
        "apple": ["food/red", "food"], "kite": ["toys/red", "toys"], "ball": ["blue", "toys"]
    }  # fmt: skip


def test_a_whole_name_that_is_what_another_is_shown_as():
    names = [["a", "b", "c"], ["x/red", "y/red", "z/x/red"], ["x", "y", "z"]]
    labels = np.array([[0, 0, 0], [1, 1, 1], [2, 2, 2]])
    classes = ClassNames(labels, names, np.arange(3), np.ones(3, bool))
    assert [classes.shown(number)[1] for number in range(3)] == names[1]


@pytest.mark.parametrize("side", ["5", "241", "x", ""])
def test_the_sizes_of_pictures_are_named(client, side):
    response = client.get(f"/pictures/3?side={side}")
    assert response.status_code == 400
    assert response.json["error"] == f"side must be 240 or 960, but it is {side!r}."
    assert client.get("/pictures/3?side=960").status_code == 200
