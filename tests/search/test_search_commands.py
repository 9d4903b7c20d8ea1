"""The commands from pictures to answers, and what they say of wrong inputs."""

import csv
import io
import json
import os
import re
import shlex
import shutil
import warnings
from pathlib import Path

import html5lib
import numpy as np
import pytest
from PIL import Image
from small_gallery import make_model, write_pictures

from benchmarks import command_line, files
from pml_hierarchical import Hierarchy
from pml_hierarchical.search import Index, RetrievalModel


@pytest.fixture(scope="module")
def gallery(tmp_path_factory):
    """A folder with pictures, model, embeddings and gallery; tests copy what they change."""
    folder = tmp_path_factory.mktemp("search")
    make_model().save(folder / "model")
    write_pictures(folder / "pictures", each=4)
    (folder / "pictures/fruit/unknown").mkdir()
    Image.new("RGB", (8, 8), (240, 220, 90)).save(folder / "pictures/fruit/unknown/0.png")
    (folder / "notes").write_text("no picture")
    where = [str(folder / name) for name in ("model", "pictures", "embeddings", "gallery")]
    assert command_line.main(["embed", where[0], where[1], "--out", where[2]]) == 0
    assert command_line.main(["index", where[2], "--out", where[3]]) == 0
    return folder


@pytest.fixture
def own_gallery(gallery, tmp_path, monkeypatch):
    """A copy, whose paths are those of the copy; the current folder."""
    monkeypatch.chdir(shutil.copytree(gallery, tmp_path / "own"))
    for name in ("embeddings/pictures.json", "gallery/index.json"):
        text = (tmp_path / "own" / name).read_text()
        (tmp_path / "own" / name).write_text(text.replace(str(gallery), str(tmp_path / "own")))
    return tmp_path / "own"


def test_what_embed_writes(gallery):
    described = json.loads((gallery / "embeddings/pictures.json").read_text())
    model = RetrievalModel.load(gallery / "model")
    files = [gallery / "pictures" / path for path in described["paths"]]
    embeddings = np.load(gallery / "embeddings/embeddings.npy")
    np.testing.assert_allclose(embeddings, model.embed(files), atol=1e-6)
    names = [model.class_names[number] for number in described["classes"]]
    # the folder "unknown" is no class: the colour is that of butter
    folders = [str(file.relative_to(gallery / "pictures").parent) for file in files]
    assert names == [name.replace("fruit/unknown", "dairy/butter") for name in folders]
    assert described["known"] == [name != "fruit/unknown" for name in folders]
    copied = (gallery / "embeddings/model.json").read_text()
    assert copied == (gallery / "model/model.json").read_text()


def test_json_is_what_python_finds(gallery, call):
    query = gallery / "pictures/dairy/milk/1.png"
    code, out, _ = call("search", gallery / "gallery", query, "-k", 6, "--format", "json")
    assert code == 0
    (found,) = json.loads(out)["queries"]
    answers = found["answers"]
    assert found["nearest_classes"] == ["dairy/milk", "dairy"]
    assert [answer["rank"] for answer in answers] == [1, 2, 3, 4, 5, 6]
    model = RetrievalModel.load(gallery / "model")
    files = sorted((gallery / "pictures").rglob("*.png"))
    similarities = (model.embed(files) @ model.embed([query]).T)[:, 0]
    order = np.argsort(-similarities)[:6]
    assert [answer["picture"] for answer in answers] == [str(files[row]) for row in order]
    expected = similarities[order]
    assert [a["similarity"] for a in answers] == pytest.approx(expected.tolist(), abs=1e-5)
    distances = np.sqrt(2 - 2 * np.minimum(expected, 1))
    assert [a["distance"] for a in answers] == pytest.approx(distances.tolist(), abs=1e-3)
    of_group = {group["class"]: group["ranks"] for group in found["groups"]}
    assert sorted(rank for ranks in of_group.values() for rank in ranks) == [1, 2, 3, 4, 5, 6]
    for answer in answers:
        assert answer["rank"] in of_group[answer["classes"][1]]


def test_nothing_is_said_of_a_picture_that_is_read_all_the_same(own_gallery, call):
    """Pillow has warnings of such pictures, which do not say which they are."""
    Image.new("1", (9500, 9500)).save("large.png")
    Image.new("L", (8, 8)).save("exif.png", exif=b"Exif\0\0II*\0\x08\0\0\0\x05\0\x12\x01")
    with warnings.catch_warnings(record=True) as told:
        code, _, errors = call("search", "gallery", "large.png", "exif.png")
    assert (code, told, errors) == (0, [], "")


def test_levels_and_classes_alone(gallery, call):
    query = gallery / "pictures/dairy/milk/1.png"
    words = ("search", gallery / "gallery", query, "--format", "json", "-k", 20)
    (found,) = json.loads(call(*words, "--only", "fruit")[1])["queries"]
    assert [answer["classes"][1] for answer in found["answers"]] == ["fruit"] * 8
    options = ("--level", 0, "--only", "dairy/milk", "fruit/pear")
    (found,) = json.loads(call(*words, *options)[1])["queries"]
    assert [group["class"] for group in found["groups"]] == ["dairy/milk", "fruit/pear"]
    assert len(found["answers"]) == 8
    for wrong, message in (
        (("--level", 2), "--level must be in 0..1"),
        (("--only", "fruits"), "no class of level 1 has this name. The nearest of 2 are fruit"),
        (("--only", "fruit/pear"), "no class of level 1 has this name. Level 0 has one: add --le"),
    ):
        code, _, errors = call(*words, *wrong)
        assert code == 2
        assert message in errors


def test_classes_by_short_names_and_in_other_cases(gallery, call):
    query = gallery / "pictures/dairy/milk/1.png"
    words = ("search", gallery / "gallery", query, "--format", "json", "-k", 20)
    for typed in ("milk", "Dairy/MILK"):
        (found,) = json.loads(call(*words, "--level", 0, "--only", typed)[1])["queries"]
        assert {answer["classes"][0] for answer in found["answers"]} == {"dairy/milk"}
    (found,) = json.loads(call(*words, "--only", "FRUIT")[1])["queries"]
    assert len(found["answers"]) == 8
    assert "Level 0 has one: add --level 0" in call(*words, "--only", "Milk")[2]


def test_a_short_name_of_several_classes(call, tmp_path):
    model = make_model()
    names = ["fruit/apple", "toys/Apple", "toys/kite", "apple pie"]
    tree = Hierarchy(model.hierarchy.class_labels, [names, ["fruit", "toys"]])
    Index.build(np.eye(4, 6, dtype=np.float32), names, range(4), tree).save(tmp_path / "gallery")
    model.save(tmp_path / "model")
    Image.new("RGB", (8, 8)).save(tmp_path / "query.png")
    words = ("search", tmp_path / "gallery", tmp_path / "query.png", "--model", tmp_path / "model")
    code, _, errors = call(*words, "--level", 0, "--only", "APPLE")
    assert code == 2
    assert (
        "--only APPLE: several classes of level 0 match: give fruit/apple or toys/Apple" in errors
    )
    code, out, _ = call(*words, "--level", 0, "--only", "apple", "--format", "csv")
    assert (code, out.count("\n")) == (0, 2)  # as it is written there is one


def test_table_and_csv(gallery, call):
    words = ("search", gallery / "gallery", gallery / "pictures/fruit/pear", "-k", 3)
    code, table, errors = call(*words)
    assert (code, errors) == (0, "")
    assert table.count("nearest class: fruit/pear") == 4
    assert "fruit (3 of 3)" in table
    rows = list(csv.DictReader(io.StringIO(call(*words, "--format", "csv")[1])))
    assert len(rows) == 4 * 3
    assert {row["class_level1"] for row in rows} == {"fruit"}
    own = [row for row in rows if row["rank"] == "1"]
    assert all(row["query"] == row["picture"] for row in own)
    assert all(float(row["similarity"]) == pytest.approx(1, abs=1e-5) for row in own)


def test_a_tree_without_names_has_numbers_as_on_the_pages(gallery, call, tmp_path):
    index = Index.load(gallery / "gallery")
    embeddings = index.embeddings(range(len(index)))
    tree = Hierarchy(index.hierarchy.class_labels)
    Index.build(embeddings, index.paths, index.classes, tree).save(tmp_path / "gallery")
    query, model = gallery / "pictures/dairy/milk/1.png", gallery / "model"
    words = ("search", tmp_path / "gallery", query, "--model", model, "-k", 1)
    code, out, errors = call(*words, "--only", "Superclass 1", "--format", "csv")
    assert (code, errors) == (0, "")  # its classes are those of the model
    assert out.splitlines()[1].endswith(",class 2,superclass 1")
    code, _, errors = call(*words, "--only", "dairy")
    assert code == 2
    assert re.search(r"no class of level 1 .* of 2 are superclass \d, superclass \d", errors)
    Index.build(embeddings, index.paths).save(tmp_path / "gallery")
    assert re.search(r"the model has classes, and .*gallery has none\. Update", call(*words)[2])


@pytest.mark.parametrize(("name", "begin"), [("a.csv", "query,"), ("a.JSON", "{"), ("a.x", "/")])
def test_the_suffix_of_out_says_the_format(gallery, call, tmp_path, name, begin):
    words = ("search", gallery / "gallery", gallery / "pictures/fruit/pear/0.png")
    assert call(*words, "--out", tmp_path / name)[0] == 0
    assert (tmp_path / name).read_text().startswith(begin)
    assert call(*words, "--out", tmp_path / name, "--format", "page")[0] == 0
    assert (tmp_path / name).read_text().startswith("<!DOCTYPE html>")


@pytest.mark.parametrize("form", ["json", "csv"])
def test_programs_get_paths_as_they_are(own_gallery, call, form):
    shutil.copy("pictures/dairy/milk/1.png", "line\nend, \x1b[1m.png")
    code, out, _ = call(
        "search",
        "gallery",
        own_gallery / "pictures",
        own_gallery / "line\nend, \x1b[1m.png",
        "-k",
        1,
        "--format",
        form,
    )
    assert code == 0
    if form == "json":
        paths = [query["picture"] for query in json.loads(out)["queries"]]
    else:
        paths = [row["query"] for row in csv.DictReader(io.StringIO(out, newline=""))]
    assert "line\nend, \x1b[1m.png" in {os.path.basename(path) for path in paths}
    assert all(os.path.exists(path) for path in paths)


def test_page(own_gallery, call):
    shutil.copy("pictures/dairy/milk/1.png", "query <b>.png")
    os.remove("pictures/dairy/milk/3.png")
    code, out, errors = call("search", "gallery", "query <b>.png", "-k", 17, "--format", "page")
    assert (code, out) == (0, "")
    assert "wrote answers.html" in errors
    text = (own_gallery / "answers.html").read_text()
    page = html5lib.HTMLParser(strict=True, namespaceHTMLElements=False).parse(text)
    pictures = page.findall(".//img")
    assert len(pictures) == 17
    assert all(one.get("src").startswith("data:image/jpeg;base64,") for one in pictures)
    assert text.count("cannot be read") == 1
    assert [one.text for one in page.findall(".//h2")] == ["query <b>.png"]
    assert [one.text.strip() for one in page.findall(".//h3")] == ["dairy", "fruit"]
    assert "http" not in text
    assert [one.text for one in page.findall(".//title")] == ["Results for 1 picture"]


def test_broken_queries_are_left_out_if_asked(own_gallery, call):
    whole = (own_gallery / "pictures/fruit/pear/0.png").read_bytes()
    (own_gallery / "half.png").write_bytes(whole[: len(whole) // 2])
    (own_gallery / "text.png").write_text("no picture")
    good = ("pictures/fruit/pear/0.png", "pictures/dairy/milk/1.png")
    words = ("search", "gallery", *good, "--format", "json")
    for bad in ("half.png", "text.png"):
        code, out, errors = call(*words[:-2], bad, *words[-2:])
        assert (code, out) == (2, "")
        assert bad in errors
        assert "with --skip-broken" in errors
    code, out, errors = call(*words[:-2], "half.png", "text.png", "--skip-broken", *words[-2:])
    assert code == 0
    assert [one["picture"] for one in json.loads(out)["queries"]] == [
        str(own_gallery / one) for one in good
    ]
    assert "left out: " in errors
    assert "half.png" in errors
    assert "text.png" in errors
    code, _, errors = call("search", "gallery", "half.png", "--skip-broken")
    assert (code, "no picture is left to search for" in errors) == (2, True)


@pytest.mark.parametrize(
    ("out", "message"),
    [
        ("pictures", "--out pictures is a folder: name a file in it"),
        ("gone/answers.csv", "--out gone/answers.csv: there is no folder gone: make it"),
    ],
)
def test_where_answers_go_is_checked_before_the_work(own_gallery, call, monkeypatch, out, message):
    monkeypatch.setattr(RetrievalModel, "load", None)
    words = ("search", "gallery", "pictures/fruit/pear/0.png", "--format", "csv", "--out", out)
    code, _, errors = call(*words)
    assert code == 2
    assert message in errors


@pytest.mark.parametrize("out", ["pictures/fruit/pear/0.png", "some.txt", "linked.png"])
def test_answers_do_not_replace_what_is_searched_for(own_gallery, call, out):
    (own_gallery / "some.txt").write_text("pictures/fruit/pear/1.png")
    (own_gallery / "linked.png").symlink_to("pictures/fruit/pear/0.png")
    before = (own_gallery / out).read_bytes()
    code, _, errors = call("search", "gallery", "some.txt", "--format", "csv", "--out", out)
    assert (code, (own_gallery / out).read_bytes()) == (2, before)
    assert f"--out {out} is a picture or a list of pictures: choose another file" in errors


@pytest.mark.parametrize("out", ["gallery/index.json", "list.json"])
def test_answers_do_not_replace_the_gallery(own_gallery, call, out):
    (own_gallery / "list.json").symlink_to("gallery/index.json")
    words = ("search", "gallery", "pictures/fruit/pear/0.png", "--format", "json", "--out")
    before = (own_gallery / "gallery/index.json").read_bytes()
    code, _, errors = call(*words, out)
    assert (code, (own_gallery / "gallery/index.json").read_bytes()) == (2, before)
    assert f"--out {out} would replace what is read from gallery: choose another file" in errors
    for name in ("gallery/answers.json", "gallery/answers.html"):
        assert call(*words, name)[0] == 0
    assert call(*words, "gallery/answers.html")[0] == 0  # a page may be replaced


@pytest.mark.parametrize("out", ["old.csv", "new.csv"])
def test_answers_in_a_folder_that_may_not_be_written_to(own_gallery, call, monkeypatch, out):
    (own_gallery / "old.csv").write_text("old")
    monkeypatch.setattr(os, "access", lambda _, mode: mode != os.W_OK)  # root may write
    monkeypatch.setattr(RetrievalModel, "load", None)
    words = ("search", "gallery", "pictures/fruit/pear/0.png", "--format", "csv", "--out", out)
    code, _, errors = call(*words)
    assert (code, f"--out {out}: you may not write to " in errors) == (2, True)


def test_a_gpu_is_called_cuda(own_gallery, call):
    for name in ("gpu", "GPU:0", "nvidia"):
        code, _, errors = call("embed", "model", "pictures", "--device", name)
        assert code == 2
        assert f"--device {name} is not available here" in errors
        assert "A GPU is called cuda" in errors


def test_classes_are_not_written_without_the_tree_that_they_are_of(own_gallery, call, monkeypatch):
    written = files._open_to_the_disk
    before = (own_gallery / "embeddings/pictures.json").read_bytes()

    def interrupted(temporary, path):
        if path.name == "model.json":
            raise KeyboardInterrupt
        return written(temporary, path)

    monkeypatch.setattr(files, "_open_to_the_disk", interrupted)
    os.remove("pictures/fruit/unknown/0.png")  # embed writes its list, and then the classes in it
    assert call("embed", "model", "pictures", "--out", "embeddings")[0] == 130
    assert call("index", "embeddings", "--out", "new")[0] == 2  # not finished, and not mixed up
    monkeypatch.setattr(files, "_open_to_the_disk", written)
    assert call("embed", "model", "pictures", "--out", "embeddings")[0] == 0
    assert (own_gallery / "embeddings/pictures.json").read_bytes() != before
    assert call("index", "embeddings", "--out", "new")[0] == 0


def test_a_full_disk_keeps_nothing_of_a_new_gallery(own_gallery, call, monkeypatch):
    def fsync(descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", fsync)
    code, _, errors = call("index", "embeddings", "--out", "new")
    assert code == 2
    full = "index.faiss: No space left on device while writing"
    assert errors.strip().endswith(f"{full}. Free some space and start the same command again")
    assert not (own_gallery / "new").exists()


@pytest.mark.parametrize("out", ["pictures", "pictures/fruit", "pictures/fruit/pear", "linked"])
def test_embeddings_do_not_go_among_the_pictures(own_gallery, call, out):
    (own_gallery / "linked").symlink_to("pictures")
    before = sorted(own_gallery.rglob("*"))
    code, _, errors = call("embed", "model", "pictures", "--out", out)
    assert code == 2
    assert f"--out {out} is a folder of the pictures: choose another one" in errors
    assert sorted(own_gallery.rglob("*")) == before


@pytest.mark.parametrize("out", ["pictures", "model", "others"])
def test_a_gallery_does_not_go_among_other_files(own_gallery, call, out):
    (own_gallery / "others").mkdir()
    (own_gallery / "others/index.json").write_text('{"kind": "pictures"}')
    before = sorted(own_gallery.rglob("*"))
    code, _, errors = call("index", "embeddings", "--out", out)
    assert code == 2
    assert f"--out {out} holds other files, such as " in errors
    assert "choose another folder for the gallery" in errors
    assert sorted(own_gallery.rglob("*")) == before


@pytest.mark.parametrize("damage", ["index.json", "index.faiss", None])
def test_a_gallery_is_made_again_in_its_folder(own_gallery, call, damage):
    (own_gallery / "gallery/notes.md").write_text("mine")
    if damage == "index.json":
        (own_gallery / "gallery/index.json").write_text("{")
    elif damage is not None:
        (own_gallery / "gallery" / damage).unlink()
    assert call("index", "embeddings")[0] == 0
    assert call("search", "gallery", "pictures/fruit/pear/0.png")[0] == 0


def test_a_gallery_goes_into_an_empty_folder(own_gallery, call):
    (own_gallery / "new").mkdir()
    (own_gallery / "new/.DS_Store").touch()
    assert call("index", "embeddings", "--out", "new")[0] == 0


def test_folders_that_embed_leaves_out_are_named(own_gallery, call):
    shutil.copytree("pictures/fruit", "pictures/.trash")
    (own_gallery / "pictures/again").symlink_to("fruit")
    code, out, errors = call("embed", "model", "pictures", "--out", "new")
    assert (code, "17 pictures" in out) == (0, True)
    assert "not read: hidden folders, and links to what is read elsewhere: " in errors
    assert "pictures/.trash" in errors
    assert "pictures/again" in errors


def test_a_model_without_a_tree(tmp_path, monkeypatch, call):
    monkeypatch.chdir(tmp_path)
    plain = make_model()
    RetrievalModel(**plain.description, weights=plain.network.state_dict()).save("model")
    write_pictures(tmp_path / "pictures", each=1)
    assert call("embed", "model", "pictures")[0] == 0
    assert call("index", "embeddings", "--kind", "hnsw")[0] == 0
    for form in ("table", "csv", "json", "page"):
        words = ("search", "gallery", "pictures/dairy/milk/0.png", "--format", form)
        assert call(*words)[0] == 0
    assert "need the classes of a tree" in call(*words, "--level", 1)[2]


def test_lists_and_files(own_gallery, call):
    (own_gallery / "pictures/some.txt").write_text("fruit/pear/1.png\n\nfruit/apple/0.png\n")
    words = ("embed", "model", "pictures/some.txt", "pictures/dairy/milk/2.png", "--out", "few")
    assert call(*words)[0] == 0
    described = json.loads((own_gallery / "few/pictures.json").read_text())
    assert described["paths"] == ["fruit/pear/1.png", "fruit/apple/0.png", "dairy/milk/2.png"]
    assert described["root"] == str(own_gallery / "pictures")


def test_broken_pictures(own_gallery, call):
    (own_gallery / "pictures/bad.jpg").write_text("no picture")
    whole = (own_gallery / "pictures/fruit/pear/0.png").read_bytes()
    (own_gallery / "pictures/fruit/pear/half.png").write_bytes(whole[: len(whole) // 2])
    words = ("embed", "model", "pictures", "--out", "new")
    code, _, errors = call(*words)
    assert code == 2
    assert "bad.jpg: missing or not a picture (1 of 19 files). Leave" in errors
    (own_gallery / "pictures/bad.jpg").rename("pictures/notes.md")
    code, _, errors = call(*words)
    assert code == 2
    wrong = "fruit/pear/half.png (cut off or damaged): cannot be read (1 of 18 pictures)"
    assert f"{wrong}. All others are embedded and kept" in errors
    assert "to continue" in call("index", "new")[2]
    code, out, errors = call(*words, "--skip-broken")
    assert code == 0
    assert "17 pictures" in out
    assert f"left out: {wrong}" in errors
    assert "notes.md (1 file)" in errors
    assert call("index", "new", "--out", "new-gallery")[0] == 0
    query = "pictures/fruit/pear/0.png"
    assert call("search", "new-gallery", query)[2] == ""


@pytest.mark.parametrize("content", [b"no picture", None])
def test_a_picture_that_was_left_out_and_is_repaired(own_gallery, call, content):
    """Such as one that could not be opened, or one of which the second half was missing."""
    whole = (own_gallery / "pictures/fruit/pear/0.png").read_bytes()
    file = own_gallery / "pictures/fruit/pear/bad.png"
    file.write_bytes(whole[: len(whole) // 2] if content is None else content)
    words = ("search", "new-gallery", "pictures/fruit/pear/1.png")
    assert call("embed", "model", "pictures", "--out", "new", "--skip-broken")[0] == 0
    assert call("index", "new", "--out", "new-gallery")[0] == 0
    assert call(*words)[2] == ""
    file.write_bytes(whole)
    errors = call(*words)[2]
    assert "new-gallery is older than its 17 pictures (1 new)" in errors
    for command in errors.partition("Update it: ")[2].split("&&"):
        assert call(*shlex.split(command)[1:])[0] == 0
    assert call(*words)[2] == ""


def test_a_listed_picture_that_was_left_out_and_is_removed(own_gallery, call):
    (own_gallery / "half.png").write_bytes(Path("pictures/fruit/pear/0.png").read_bytes()[:40])
    (own_gallery / "some.txt").write_text("pictures/fruit/pear/1.png\nhalf.png\n")
    assert call("embed", "model", "some.txt", "--out", "new", "--skip-broken")[0] == 0
    assert call("index", "new", "--out", "new-gallery")[0] == 0
    (own_gallery / "half.png").unlink()
    assert call("search", "new-gallery", "pictures/fruit/pear/1.png")[2] == ""


def test_a_gallery_that_is_older_than_its_pictures(own_gallery, call):
    words = ("search", "gallery", "pictures/fruit/pear/1.png")
    assert "older" not in call(*words)[2]
    os.utime(own_gallery / "pictures/dairy/milk/0.png", (1, 1))
    shutil.copy("pictures/fruit/pear/2.png", "pictures/fruit/pear/20.png")
    shutil.copy("pictures/fruit/pear/2.png", "pictures/fruit/pear/21.png")
    os.remove("pictures/fruit/pear/2.png")
    code, _, errors = call(*words)
    assert code == 0
    assert "gallery is older than its 17 pictures (1 changed, 1 gone, 2 new)" in errors
    assert "older" not in call(*words, "--no-check")[2]
    commands = errors.partition("Update it: ")[2].split("&&")
    for command in commands:
        assert call(*shlex.split(command)[1:])[0] == 0
    assert "older" not in call(*words)[2]


def test_the_update_of_a_gallery_whose_folders_were_moved(own_gallery, call):
    (own_gallery / "model").rename("moved")
    os.utime(own_gallery / "pictures/dairy/milk/0.png", (1, 1))
    words = ("search", "gallery", "pictures/fruit/pear/1.png", "--model", "moved")
    code, _, errors = call(*words)
    assert code == 0
    commands = errors.partition("Update it: ")[2]
    assert f"embed moved {own_gallery / 'pictures'} --out" in commands
    for command in commands.split("&&"):
        assert call(*shlex.split(command)[1:])[0] == 0
    assert "older" not in call(*words)[2]

    (own_gallery / "embeddings").rename("vectors")
    shutil.copytree("pictures", "photos")
    shutil.rmtree("pictures")
    errors = call("search", "gallery", "photos/fruit/pear/1.png", "--model", "moved")[2]
    assert "pml-hierarchical embed moved PICTURES --out EMBEDDINGS && pml-hierarchical" in errors
    assert f"(PICTURES is no longer {own_gallery / 'pictures'}, EMBEDDINGS is no longer " in errors
    assert f"{own_gallery / 'embeddings'}: write where they are now)" in errors


def test_the_update_of_a_gallery_one_of_whose_folders_is_gone(own_gallery, call):
    words = ("pictures/fruit", "pictures/dairy", "--out", "both")
    assert call("embed", "model", *words)[0] == 0
    assert call("index", "both", "--out", "both-gallery")[0] == 0
    shutil.rmtree("pictures/dairy")
    errors = call("search", "both-gallery", "pictures/fruit/pear/1.png")[2]
    assert f"embed {own_gallery / 'model'} {own_gallery / 'pictures/fruit'} PICTURES" in errors


def test_galleries_of_other_models(own_gallery, call):
    make_model(seed=1).save("other")
    make_model(size=7).save("larger")
    words = ("search", "gallery", "pictures/fruit/pear/1.png")
    for name, size in (("other", 6), ("larger", 7)):
        code, _, errors = call(*words, "--model", name)
        assert code == 2
        assert f"was made by another model than {name}: 6 dimensions" in errors
        assert f"but this model has {size} and" in errors
    code, _, errors = call("embed", "other", "pictures", "--out", "embeddings")
    assert code == 2
    assert "by another model: choose another folder" in errors
    (own_gallery / "model").rename("moved")
    code, _, errors = call(*words)
    assert code == 2
    assert "give its folder with --model" in errors
    assert call(*words, "--model", "moved")[0] == 0


def test_new_classes_of_the_model(own_gallery, call):
    """The network is the same, so that nothing is embedded again."""
    old = RetrievalModel.load("model")
    names = [*old.class_names[:-1], "dairy/yellow"]
    parts = old.proxies, old.hierarchy, old.network.state_dict()
    RetrievalModel(*old.description.values(), names, *parts).save("model")
    words = ("search", "gallery", "pictures/dairy/butter/1.png", "--format", "json")
    code, out, errors = call(*words)
    assert (code, "dairy/butter" in out) == (0, True)
    assert "the model has other classes than gallery" in errors
    for command in errors.partition("Update it: ")[2].split("&&"):
        assert call(*shlex.split(command)[1:])[0] == 0
    code, out, errors = call(*words)
    assert ("dairy/yellow" in out, errors) == (True, "")


def test_what_is_refused(own_gallery, call):
    (own_gallery / "empty").mkdir()
    for words, message in (
        (("embed", "model", "empty"), "there is no picture in empty"),
        (("embed", "model", "gone"), "there is no file or folder"),
        (("embed", "empty", "pictures"), "is not a model folder"),
        (("embed", "model", "pictures", "--device", "cuda:99"), "--device cuda:99"),
        (("embed", "model", "pictures", "--out", "notes"), "notes is a file: choose another"),
        (("index", "embeddings", "--out", "notes"), "notes is a file: choose another --out"),
        (("index", "embeddings", "--out", "notes/new"), "notes is a file: choose another --out"),
        (("index", "empty"), "holds no embeddings"),
        (("search", "empty", "pictures"), "is not a gallery"),
        (("search", "gallery", "empty"), "there is no picture in empty"),
        (("search", "gallery", "pictures/dairy/milk/0.png", "--out", "empty"), "empty"),
        (("search", "gallery", "gone.png"), "there is no file or folder"),
    ):
        code, out, errors = call(*words)
        assert (code, out) == (2, ""), words
        assert message in errors.splitlines()[-1]


def test_the_commands_and_the_python_of_the_docs(own_gallery, call, capsys):
    text = (Path(__file__).parents[2] / "docs/gallery.md").read_text()
    (own_gallery / "pictures").rename("photos")
    (own_gallery / "queries").mkdir()
    for name in ("photos/a.jpg", "photos/b.jpg", "query.jpg", "queries/1.jpg"):
        Image.new("RGB", (8, 8), (240, 220, 90)).save(name)
    shutil.rmtree("embeddings")
    shutil.rmtree("gallery")
    commands = re.findall(r"^pml-hierarchical ([^#\n]*)", text, re.M)
    assert [words.split()[0] for words in commands] == ["embed", "index", "search", "search"]
    for words in commands:
        assert call(*shlex.split(words))[0] == 0
    assert (own_gallery / "answers.html").exists()
    shutil.rmtree("embeddings")
    (code,) = re.findall(r"```python\n(.*?)```", text, re.S)
    exec(code, {})
    assert sorted(eval(capsys.readouterr().out)) == ["a.jpg", "b.jpg"]
