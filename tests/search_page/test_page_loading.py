"""Galleries and models that do not fit each other."""

import shutil

import numpy as np
import pytest
from page_gallery import TREE, make_gallery, make_model
from PIL import Image

from benchmarks.search.embed_folder import embed_into
from benchmarks.search.embed_pictures import find_pictures
from benchmarks.search.index_gallery import index_gallery
from benchmarks.search_page.app import create_app
from benchmarks.search_page.loading import check_files, load
from pml_hierarchical.search import Index, RetrievalModel


def test_a_model_of_another_gallery(folders):
    with pytest.raises(ValueError, match=r"another model than .*flat_model: .* with --model"):
        load(folders.gallery, model=folders.flat_model)
    with pytest.raises(ValueError, match="with --compare-model"):
        load(folders.gallery, folders.flat, folders.model, folders.model)


def test_a_model_of_the_same_dimension_but_other_weights(folders, tmp_path):
    model = RetrievalModel.load(folders.model)
    make_gallery(tmp_path, model, folders.root, folders.paths, fingerprint="0" * 64)
    with pytest.raises(ValueError, match="3 dimensions and fingerprint 000000000000, but this"):
        load(tmp_path, model=folders.model)


def test_a_gallery_that_was_built_without_a_fingerprint(folders, tmp_path):
    embeddings = RetrievalModel.load(folders.model).embed([folders.root / folders.paths[0]])
    Index.build(embeddings, [folders.paths[0]]).save(tmp_path)
    assert len(load(tmp_path, model=folders.model, pictures=folders.root)) == 1
    with pytest.raises(ValueError, match=r"3 dimensions .*, but this model has 12"):
        load(tmp_path, model=folders.flat_model)


def test_the_model_that_the_gallery_names_is_used(folders, tmp_path):
    model = RetrievalModel.load(folders.model)
    for name, place in (("there", folders.model), ("gone", tmp_path / "moved")):
        folder = tmp_path / name
        make_gallery(folder, model, folders.root, folders.paths, model=str(place))
        assert load(folder).takes_uploads == (name == "there")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda paths: paths[1:], "1 of the first gallery are not in it and 0 are only in it"),
        (lambda paths: [*paths[:-1], "other.png"], "1 .* and 1 are only in it, e.g. 'other.png'"),
        (lambda paths: [*paths, paths[0]], "0 .* and 0"),
    ],
)
def test_galleries_of_other_pictures(folders, tmp_path, change, message):
    paths = change(folders.paths)
    Index.build(np.eye(len(paths), 12, dtype=np.float32) + 1, paths).save(tmp_path)
    with pytest.raises(ValueError, match=rf"must hold the same pictures: {message}"):
        load(folders.gallery, tmp_path)


def test_the_gallery_with_superclasses_comes_first(folders):
    with pytest.raises(ValueError, match="give them in the other order"):
        load(folders.flat, folders.gallery)


def test_a_model_without_a_second_gallery(folders):
    with pytest.raises(ValueError, match="give that with --compare"):
        load(folders.gallery, compare_model=folders.flat_model)


def test_what_is_no_gallery(folders, tmp_path):
    for folder in (tmp_path, tmp_path / "missing", folders.model):
        with pytest.raises(FileNotFoundError, match="is not a gallery"):
            load(folder)
    with pytest.raises(FileNotFoundError, match="is not a model folder"):
        load(folders.gallery, model=tmp_path)


def test_classes_without_a_tree(folders, tmp_path):
    model = make_model(tmp_path / "model", 1)
    make_gallery(tmp_path / "gallery", model, folders.root, folders.paths, folders.classes)
    client = create_app(load(tmp_path / "gallery")).test_client()
    found = client.get("/api/search?row=0&k=29").json
    assert (found["query"]["class"], found["query"]["superclasses"]) == ("class 0", [])
    assert found["galleries"][0]["correct"] == [4]


def test_without_classes_no_name_is_suggested(folders):
    client = create_app(load(folders.flat)).test_client()
    assert client.get("/api/names?like=").json == {"names": []}


def test_galleries_of_the_same_name_are_called_by_their_paths(folders, tmp_path):
    model = RetrievalModel.load(folders.model)
    make_gallery(tmp_path / "gallery", model, folders.root, folders.paths, folders.classes, TREE)
    titles = [one.title for one in load(folders.gallery, tmp_path / "gallery").galleries]
    assert titles == [str(folders.gallery), str(tmp_path / "gallery")]


def test_a_gallery_is_called_by_its_loss_after_classes_were_added_too(folders, tmp_path):
    model = RetrievalModel.load(folders.model)
    for name, record in {
        "trained": {"loss": "proxy_anchor"},
        "grown": {"model": {"loss": "proxy_anchor"}, "added_classes": [], "added_folders": []},
    }.items():
        model.training_record = record
        model.save(tmp_path / name)
        (gallery,) = load(folders.gallery, model=tmp_path / name).galleries
        assert gallery.title == "proxy_anchor"


def test_pictures_that_are_missing(folders, tmp_path):
    found = load(folders.gallery)
    assert check_files(found, folders.gallery) is None
    moved = tmp_path / "moved"
    shutil.copytree(folders.root / "Fruit", moved / "Fruit")
    some = load(folders.gallery, pictures=moved)
    assert f"15 of 30 pictures of the gallery are not in {moved}" in check_files(some, tmp_path)
    with pytest.raises(FileNotFoundError, match=r"none of the 30 pictures .* --pictures"):
        check_files(load(folders.gallery, pictures=tmp_path), folders.gallery)


def test_pictures_that_cannot_be_shown(folders, tmp_path):
    root, out = tmp_path / "pictures", tmp_path / "embeddings"
    (root / "a").mkdir(parents=True)
    Image.new("RGB", (9, 9)).save(root / "a/0.png")
    Image.new("RGB", (9, 9)).save(root / "a/1.ppm")
    model = RetrievalModel.load(folders.model)
    embed_into(out, folders.model, model, find_pictures([root]))
    index_gallery(out, tmp_path / "gallery", "exact")
    warning = check_files(load(tmp_path / "gallery"), tmp_path / "gallery")
    assert warning.startswith(
        "1 of 2 pictures of the gallery are found, but cannot be shown: 1 in a"
    )
    (root / "a/0.png").write_bytes((root / "a/0.png").read_bytes() + b" ")
    warning = check_files(load(tmp_path / "gallery"), tmp_path / "gallery")
    assert "is older than its 2 pictures (1 changed)" in warning
    assert "1 of 2 pictures of the gallery are found, but cannot be shown" in warning


def test_pictures_that_changed(folders, tmp_path):
    root, out = tmp_path / "pictures", tmp_path / "embeddings"
    shutil.copytree(folders.root, root)
    model = RetrievalModel.load(folders.model)
    embed_into(out, folders.model, model, find_pictures([root]))
    index_gallery(out, tmp_path / "gallery", "exact")
    found = load(tmp_path / "gallery")
    assert found.takes_uploads
    assert check_files(found, tmp_path) is None
    (root / folders.paths[0]).unlink()
    shutil.copyfile(root / folders.paths[1], root / folders.paths[2])
    shutil.copyfile(root / folders.paths[1], root / "new.png")
    warning = check_files(found, tmp_path)
    assert "is older than its 30 pictures (1 changed, 1 gone, 1 new)" in warning
    assert f" embed {folders.model} {root} --out" in warning
    moved = tmp_path / "moved"
    shutil.copytree(folders.model, moved)
    assert f" embed {moved} {root} --out" in check_files(
        load(tmp_path / "gallery", model=moved), tmp_path
    )


def test_a_gallery_built_in_python_says_nothing_of_what_is_known(folders, tmp_path):
    """The classes of nearest proxies are guesses, unless the folder says the same."""
    parts = RetrievalModel.load(folders.model)
    files = [folders.root / path for path in folders.paths]
    embeddings = parts.embed(files)
    proxies = embeddings[:: len(files) // 6]
    model = RetrievalModel(*parts.description.values(), TREE.names[0], proxies, TREE)
    model.save(tmp_path / "model")
    paths = [f"{row}.png" for row in range(29)] + ["Dairy/Milk/4.png"]
    guessed = model.nearest_classes(embeddings)
    given = np.where(np.arange(30) == 3, (guessed + 1) % 6, guessed)
    given[29] = 5
    Index.build(embeddings, paths, given, TREE).save(tmp_path / "gallery")
    found = load(tmp_path / "gallery", model=tmp_path / "model", pictures=folders.root)
    assert np.flatnonzero(found.classes.known).tolist() == [3, 29]
    Index.build(embeddings, paths, given, TREE, known=[True] * 30).save(tmp_path / "gallery")
    assert load(tmp_path / "gallery", model=tmp_path / "model").classes.known.all()


@pytest.mark.parametrize("known", [[True], "yes"])
def test_a_gallery_whose_known_classes_are_of_other_pictures(folders, tmp_path, known):
    Index.build(np.eye(2, 3, dtype=np.float32), ["0.png", "1.png"], [0, 1], known=known).save(
        tmp_path
    )
    with pytest.raises(ValueError, match="known must be a list of 2 booleans"):
        load(tmp_path)
