"""Files of others: what is left alone, and lists and folders as other programs leave them."""

import json
import os
import shutil
import struct
import tempfile
import zlib
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from small_gallery import make_model, write_pictures

from benchmarks import command_line
from benchmarks.files import LEFTOVERS, write_whole
from benchmarks.locking import only_one_in
from benchmarks.search.embed_pictures import find_pictures
from benchmarks.search.index_age import age_warning
from benchmarks.search_page.loading import check_files, load
from pml_hierarchical.search import Index
from pml_hierarchical.search.pictures import open_picture

QUERY = "photos/fruit/pear/0.png"


@contextmanager
def as_a_user_without_rights():
    """In a temporary folder of that user, since root may read everything."""
    user, before = os.geteuid(), Path.cwd()
    with tempfile.TemporaryDirectory() as folder:
        os.chown(folder, *((65534, 65534) if user == 0 else (-1, -1)))
        os.chdir(folder)
        os.seteuid(65534 if user == 0 else user)
        try:
            yield Path(folder)
        finally:
            os.seteuid(user)
            os.chdir(before)
            for place, _, _ in os.walk(folder):
                os.chmod(place, 0o755)


# ---------------------------------------------------------------- temporary files
def test_temporary_files_of_others_stay(workspace, call):
    (workspace / "here/deep/er").mkdir(parents=True)
    theirs = [workspace / "here" / name for name in ("thesis.tmp", "deep/er/thesis.tmp", "x.tmp~")]
    for file in theirs:
        file.write_text("mine")
    assert call("embed", "model", "photos", "--out", "here")[0] == 0
    assert call("index", "here", "--out", "here")[0] == 0
    with only_one_in(workspace / "here"):
        pass
    assert [file.read_text() for file in theirs] == ["mine"] * 3


def test_leftovers_of_a_killed_command_are_removed(tmp_path, monkeypatch):
    def killed(*arguments):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", killed)
        patch.setattr(Path, "unlink", lambda *_, **__: None)
        for name in ("a", "run/b"):
            (tmp_path / name).parent.mkdir(exist_ok=True)
            with pytest.raises(KeyboardInterrupt):
                write_whole(tmp_path / name, "content")
    assert len(list(tmp_path.rglob(LEFTOVERS))) == 2
    with only_one_in(tmp_path, below=False):
        assert [file.parent.name for file in tmp_path.rglob(LEFTOVERS)] == ["run"]
    with only_one_in(tmp_path):
        assert list(tmp_path.rglob(LEFTOVERS)) == []


def test_two_commands_in_one_folder(workspace, call):
    with only_one_in(workspace / "embeddings"):
        code, _, errors = call("embed", "model", "photos")
    assert code == 2
    assert "another command is running in embeddings" in errors


def test_two_commands_that_index_into_one_folder(workspace, call):
    with only_one_in(workspace / "gallery"):
        code, _, errors = call("index", "embeddings")
    assert code == 2
    assert "another command is running in gallery" in errors
    assert call("index", "embeddings")[0] == 0


def test_a_command_that_is_refused_leaves_no_folder(workspace, call):
    vectors = np.load("embeddings/embeddings.npy")
    vectors[0] = np.nan
    np.save("embeddings/embeddings.npy", vectors)
    code, _, errors = call("index", "embeddings", "--out", "new")
    assert (code, "must be finite" in errors) == (2, True)
    assert not (workspace / "new").exists()
    assert call("index", "embeddings")[0] == 2
    assert len(Index.load("gallery")) == 8  # the old one stays


def test_of_a_picture_of_one_line_the_middle_is_embedded():
    line = np.zeros((60000, 1), np.uint8)
    line[29950:30050] = 255
    with tempfile.TemporaryDirectory() as folder:
        Image.fromarray(line).save(f"{folder}/line.png")
        picture = open_picture(f"{folder}/line.png")
    assert picture.size == (1, 100)
    assert picture.getextrema() == ((255, 255),) * 3


def write_png_of_size(file, width, height):
    """A PNG whose header says so; what follows is not enough."""
    parts = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0), b"IDAT", b"IEND"
    chunks = [struct.pack(">I", len(p) - 4) + p + struct.pack(">I", zlib.crc32(p)) for p in parts]
    file.write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(chunks))


def test_pictures_that_are_too_large(workspace, call):
    write_png_of_size(workspace / "photos/fruit/pear/poster.png", 20000, 10000)
    shutil.copy("photos/fruit/pear/poster.png", "photos/fruit/pear/no_suffix")
    (workspace / "photos/fruit/pear/text.png").write_text("no picture")
    code, _, errors = call("embed", "model", "photos", "--out", "new")
    assert code == 2
    assert "pear/poster.png: too large, at most 178 million pixels are read (2 of 11" in errors
    assert "pear/text.png: missing or not a picture (1 of 11 files)" in errors
    assert "DOS attack" not in errors
    (workspace / "photos/fruit/pear/text.png").unlink()
    code, _, errors = call("describe", "folder", "--data-root", "photos")
    assert code == 2
    assert "(too large, at most 178 million pixels are read)" in errors


def test_a_large_picture_is_taken_without_a_warning(workspace, call):
    Image.new("1", (10000, 9000)).save("photos/fruit/pear/large.png")
    code, out, errors = call("embed", "model", "photos", "--out", "new")
    assert (code, "9 pictures" in out) == (0, True)
    assert "warning" not in errors
    assert "bomb" not in errors


# ---------------------------------------------------------------- lists
def test_a_list_of_a_windows_editor(workspace, call):
    lines = b"\xef\xbb\xbffruit/pear/0.png\r\nfruit/apple/1.png  \r\n\tdairy/milk/0.png\r\n"
    (workspace / "photos/list.txt").write_bytes(lines)
    code, _, errors = call("embed", "model", "photos/list.txt", "--out", "few")
    assert code == 0, errors
    listed = json.loads((workspace / "few/pictures.json").read_text())
    assert listed["paths"] == ["fruit/pear/0.png", "fruit/apple/1.png", "dairy/milk/0.png"]


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be", "utf-32"])
def test_a_list_in_utf_16(workspace, call, encoding):
    """As PowerShell and Notepad write it: with a mark at its start, by which it is known."""
    shutil.copy(QUERY, "photos/thé.png")
    text = "fruit/pear/0.png\r\nthé.png\r\n"
    (workspace / "photos/list.txt").write_bytes(text.encode(encoding))
    code, _, errors = call("embed", "model", "photos/list.txt", "--out", "few")
    if encoding == "utf-16":
        assert code == 0, errors
        listed = json.loads((workspace / "few/pictures.json").read_text())
        assert listed["paths"] == ["fruit/pear/0.png", "thé.png"]
    else:
        assert code == 2
        assert "list.txt is not a list of pictures in UTF-8 or UTF-16: save it as UTF-8" in errors
        assert "--skip-broken" not in errors


def test_a_list_in_utf_16_that_is_cut_off(workspace, call):
    (workspace / "list.txt").write_bytes("photos/fruit".encode("utf-16")[:-1])
    code, _, errors = call("embed", "model", "list.txt", "--out", "few")
    assert (code, "save it as UTF-8" in errors) == (2, True)


def test_a_name_that_ends_in_a_blank(workspace):
    shutil.copy(QUERY, "a.png ")
    shutil.copy(QUERY, "a.png")
    (workspace / "list.txt").write_text("a.png \na.png\n")
    assert find_pictures([workspace / "list.txt"]).paths == ("a.png ", "a.png")


def test_a_picture_that_may_not_be_read():
    with as_a_user_without_rights() as folder:
        write_pictures(folder / "photos", each=1)
        (folder / "photos/bad.png").write_text("no picture")
        (folder / QUERY).chmod(0)
        with pytest.raises(ValueError, match="missing or not a picture") as caught:
            find_pictures([folder / QUERY, folder / "photos/bad.png"])
    assert f"{QUERY}: no permission to read (1 of 2 files); " in str(caught.value)
    assert "bad.png: missing or not a picture (1 of 2 files)" in str(caught.value)


# ---------------------------------------------------------------- the age of a gallery
def test_a_list_that_is_empty_now(workspace, call):
    (workspace / "list.txt").write_text("photos/fruit/pear/0.png\nphotos/dairy/milk/0.png\n")
    assert call("embed", "model", "list.txt", "--out", "few")[0] == 0
    assert call("index", "few", "--out", "few_gallery")[0] == 0
    (workspace / "list.txt").write_text("")
    code, out, errors = call("search", "few_gallery", QUERY)
    assert code == 0
    assert "fruit/pear" in out
    assert "not all pictures of few_gallery could be looked at" in errors
    assert "there is no picture in" in errors
    found = load(workspace / "few_gallery")
    assert "could be looked at" in check_files(found, workspace / "few_gallery")
    os.utime("photos/dairy/milk/0.png", (1, 1))
    assert "older than its 2 pictures (1 changed)" in call("search", "few_gallery", QUERY)[2]


def test_a_folder_that_may_not_be_read():
    with as_a_user_without_rights() as folder:
        write_pictures(folder / "photos", each=1)
        make_model().save(folder / "model")
        assert command_line.main(["embed", "model", "photos"]) == 0
        assert command_line.main(["index", "embeddings"]) == 0
        (folder / "photos/fruit").chmod(0)
        warning = age_warning(Index.load("gallery"), Path("gallery"))
        assert "could be looked at" in warning
        assert "Permission denied" in warning
        assert "older" not in warning
        assert check_files(load(Path("gallery")), Path("gallery")) == warning
