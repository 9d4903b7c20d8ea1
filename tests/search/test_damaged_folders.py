"""Files of models, embeddings and galleries that are damaged, copied in part or made by hand."""

import json
import os
import shutil
from pathlib import Path

import numpy as np
import pytest
from small_gallery import COLOURS, make_model, write_pictures

from benchmarks.search import embeddings_on_disk
from benchmarks.search_page.loading import check_files, load
from pml_hierarchical.search import Index, RetrievalModel, embed

EMBED, INDEX = ("embed", "model", "photos"), ("index", "embeddings")
LIST, MODEL = "embeddings/pictures.json", "embeddings/model.json"


@pytest.fixture
def embedded(monkeypatch):
    """How many rows were left to embed, per call."""
    numbers, opened = [], embeddings_on_disk._open

    def count(*arguments):
        array, done = opened(*arguments)
        numbers.append(int((~done).sum()))
        return array, done

    monkeypatch.setattr(embeddings_on_disk, "_open", count)
    return numbers


# ---------------------------------------------------------------- embeddings
@pytest.mark.parametrize("name", ["embeddings.npy", "progress.npy"])
@pytest.mark.parametrize("share", [0, 0.6])
def test_a_file_that_was_copied_in_part(workspace, call, embedded, name, share):
    whole = np.load("embeddings/embeddings.npy")
    file = workspace / "embeddings" / name
    os.truncate(file, int(file.stat().st_size * share))
    code, _, errors = call(*EMBED)
    assert (code, embedded) == (0, [8])
    assert f"{name} is damaged: all pictures are embedded again" in errors
    np.testing.assert_allclose(np.load("embeddings/embeddings.npy"), whole, atol=1e-6)
    assert call(*EMBED)[2].count("damaged") == 0
    assert embedded == [8, 0]


def test_arrays_of_other_pictures(workspace, call, embedded):
    for name, array in (
        ("progress", np.ones(5, bool)),
        ("progress", np.ones(8)),
        ("embeddings", np.zeros((5, 6), np.float32)),
        ("embeddings", np.zeros((8, 6))),
    ):
        np.save(f"embeddings/{name}.npy", array)
        assert f"{name}.npy is damaged" in call(*EMBED)[2]
    assert embedded == [8] * 4


@pytest.mark.parametrize("content", ["", "{", "{}", "[]", '{"root": "."}', "\xff"])
def test_a_damaged_list_of_pictures(workspace, call, content):
    (workspace / LIST).write_bytes(content.encode("latin-1"))
    for words in (EMBED, INDEX):
        code, _, errors = call(*words)
        assert code == 2
        assert f"{LIST} is damaged" in errors
        assert "delete its folder, or choose another, and embed again" in errors


@pytest.mark.parametrize(
    "key", ["known", "classes", "model", "inputs", "left_out", "left_out_states", "sizes"]
)
def test_a_list_of_pictures_without_a_key(workspace, call, key):
    listed = json.loads((workspace / LIST).read_text())
    del listed[key]
    (workspace / LIST).write_text(json.dumps(listed))
    code, _, errors = call(*INDEX)
    assert code == 2
    assert "embeddings" in errors
    assert ("has no classes for them" if key == "classes" else repr(key)) in errors
    if key != "sizes":
        assert call(*EMBED)[0] == 0
        assert call(*INDEX)[0] == 0


@pytest.mark.parametrize(
    ("key", "value"),
    [("known", [True]), ("classes", [0]), ("classes", ["x"] * 8), ("sizes", [1]), ("times", [2])],
)
def test_lists_of_other_lengths_or_types(workspace, call, key, value):
    listed = json.loads((workspace / LIST).read_text())
    (workspace / LIST).write_text(json.dumps(listed | {key: value}))
    code, _, errors = call(*INDEX)
    assert code == 2
    assert f"{LIST} is damaged" in errors


@pytest.mark.parametrize(
    "content", ["{", "{}", '{"class_names": [], "hierarchy": {}}', '{"class_names": ["a"]}']
)
def test_a_damaged_description_of_the_model(workspace, call, content):
    (workspace / MODEL).write_text(content)
    code, _, errors = call(*INDEX)
    assert code == 2
    assert f"{MODEL} is damaged" in errors


def test_a_description_with_fewer_classes(workspace, call):
    described = json.loads((workspace / MODEL).read_text())
    fewer = {"hierarchy": None, "class_names": [*COLOURS][:2]}
    (workspace / MODEL).write_text(json.dumps(described | fewer))
    assert f"{MODEL} is damaged (it does not have all classes" in call(*INDEX)[2]


# ---------------------------------------------------------------- models
@pytest.mark.parametrize("key", ["fingerprint", "class_names", "training"])
def test_a_model_without_a_key(workspace, call, key):
    described = json.loads((workspace / "model/model.json").read_text())
    del described[key]
    (workspace / "model/model.json").write_text(json.dumps(described))
    code, _, errors = call(*EMBED)
    assert code == 2
    assert f"model is damaged (KeyError('{key}'))" in errors


@pytest.mark.parametrize("out", ["model", "model/../model", "other"])
def test_embeddings_into_the_folder_of_a_model(workspace, call, embedded, out):
    make_model(seed=3).save("other")
    before = (workspace / out / "model.json").read_bytes()
    code, _, errors = call(*EMBED, "--out", out)
    assert (code, embedded) == (2, [])
    assert "holds a model: choose another folder for the embeddings" in errors
    assert (workspace / out / "model.json").read_bytes() == before


# ---------------------------------------------------------------- a second folder
def test_a_second_folder_embeds_its_own_pictures_alone(workspace, call, embedded):
    write_pictures(workspace / "new", each=1, seed=5)
    before = dict(zip(_paths(workspace), np.load("embeddings/embeddings.npy"), strict=True))
    assert call(*EMBED, "new")[0] == 0
    assert embedded == [4]
    after = dict(zip(_paths(workspace), np.load("embeddings/embeddings.npy"), strict=True))
    assert len(after) == 12
    for path, row in before.items():
        np.testing.assert_array_equal(after[path], row)
    model = RetrievalModel.load("model")
    np.testing.assert_allclose(list(after.values()), model.embed(list(after)), atol=1e-6)


def test_a_folder_that_was_moved_is_not_embedded_again(workspace, call, embedded):
    (workspace / "photos").rename("moved")
    write_pictures(workspace / "moved/more", each=1, seed=5)
    assert call("embed", "model", "moved")[0] == 0
    assert embedded == [4]


def _paths(workspace):
    listed = json.loads((workspace / LIST).read_text())
    return [os.path.join(listed["root"], path) for path in listed["paths"]]


# ---------------------------------------------------------------- galleries
def test_a_gallery_built_in_python(workspace, call):
    """As docs/gallery.md does it."""
    model = RetrievalModel.load("model")
    paths = [os.path.relpath(path, "photos") for path in _paths(workspace)]
    embeddings = embed(model, paths, "py_embeddings", root="photos")
    index = Index.build(embeddings, paths, model.nearest_classes(embeddings), model.hierarchy)
    index.save("py_gallery")
    words = ("search", "py_gallery", "photos/fruit/pear/0.png", "--format", "csv")
    code, _, errors = call(*words)
    assert code == 2
    assert "py_gallery does not say which model made it" in errors
    assert "--model" in errors
    code, out, errors = call(*words, "--model", "model")
    assert (code, errors) == (0, "")
    assert "fruit/pear/0.png" in out
    make_model(size=7).save("larger")
    code, _, errors = call(*words, "--model", "larger")
    assert code == 2
    assert "6 dimensions" in errors
    grown = [*model.class_names[:-1], "dairy/yellow"]
    parts = model.proxies, model.hierarchy, model.network.state_dict()
    RetrievalModel(*model.description.values(), grown, *parts).save("model")
    assert "embed its pictures and index them again" in call(*words, "--model", "model")[2]


def test_embeddings_that_python_wrote_have_no_classes(workspace, call):
    model = RetrievalModel.load("model")
    paths = [os.path.relpath(path, "photos") for path in _paths(workspace)]
    embed(model, paths, "py_embeddings", root="photos")
    code, _, errors = call("index", "py_embeddings")
    assert code == 2
    assert "are embedded, but it has no classes for them" in errors
    assert call(*EMBED, "--out", "py_embeddings")[0] == 0
    assert call("index", "py_embeddings")[0] == 0


@pytest.mark.parametrize(
    "key", ["inputs", "root", "sizes", "times", "left_out", "left_out_states", "known"]
)
def test_a_gallery_that_notes_less(workspace, call, key):
    file = workspace / "gallery/index.json"
    described = json.loads(file.read_text())
    del described[key]
    file.write_text(json.dumps(described))
    code, _, errors = call("search", "gallery", "photos/fruit/pear/0.png")
    assert (code, errors) == (0, "")
    assert check_files(load(Path("gallery"), pictures=Path("photos")), Path("gallery")) is None
    if key != "root":
        assert check_files(load(Path("gallery")), Path("gallery")) is None


def test_a_gallery_of_another_version(workspace):
    file = workspace / "gallery/index.json"
    described = json.loads(file.read_text())
    assert described.pop("gallery_version") == 1
    file.write_text(json.dumps(described))  # as the first versions wrote them
    assert len(Index.load("gallery")) == 8
    file.write_text(json.dumps({"gallery_version": 2, "rows": []}))
    with pytest.raises(ValueError, match="made by a newer version: pip install --upgrade"):
        Index.load("gallery")
    for damage in ({"gallery_version": "1"}, {"hierarchy": {}}, {"hierarchy": {"names": []}}):
        file.write_text(json.dumps(described | damage))
        with pytest.raises(ValueError, match="gallery is damaged"):
            Index.load("gallery")


def test_a_gallery_of_one_picture(workspace, call):
    shutil.rmtree("embeddings")
    assert "\n1 picture, 6 dim" in "\n" + call("embed", "model", "photos/fruit/pear/0.png")[1]
    code, out, errors = call("index", "embeddings", "--kind", "hnsw")
    assert code == 0
    assert "hnsw index of 1 picture, " in out
    assert "recall" not in out
    assert "invalid value" not in errors
