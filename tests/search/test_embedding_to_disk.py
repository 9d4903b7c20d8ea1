"""Embeddings on disk: interrupted and continued, kept up to date, and refused."""

import contextlib
import json
import os
import tempfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from small_gallery import make_model, write_pictures

from benchmarks.search import embeddings_on_disk as module
from pml_hierarchical.search import BrokenPicturesError, RetrievalModel, embed


class Counting(RetrievalModel):
    """Counts the pictures it embeds; stops after some of them as by Ctrl-C."""

    embedded, stop_after = 0, None

    def forward(self, inputs):
        if self.stop_after is not None and self.embedded >= self.stop_after:
            raise KeyboardInterrupt
        self.embedded += len(inputs)
        return super().forward(inputs)


@pytest.fixture
def model():
    made = make_model()
    made.__class__ = Counting
    return made


@pytest.fixture
def root(tmp_path):
    write_pictures(tmp_path / "pictures", each=5)
    return tmp_path / "pictures"


@contextlib.contextmanager
def as_a_user_without_rights():
    """Root may write everywhere."""
    user = os.geteuid()
    os.seteuid(user or 65534)
    try:
        yield
    finally:
        os.seteuid(user)


def paths_in(root: Path) -> list[str]:
    return sorted(str(file.relative_to(root)) for file in root.rglob("*.png"))


def expected(root: Path, paths) -> np.ndarray:
    return make_model().embed([root / path for path in paths])


def check(found, root, paths):
    np.testing.assert_allclose(found, expected(root, paths), atol=1e-6)
    assert found.dtype == np.float32


def test_what_is_written(model, root, tmp_path):
    paths = paths_in(root)
    found = embed(model, paths, tmp_path / "out", root, batch_size=7, workers=3)
    check(found, root, paths)
    assert isinstance(found, np.memmap)
    check(np.load(tmp_path / "out/embeddings.npy"), root, paths)
    written = json.loads((tmp_path / "out/pictures.json").read_text())
    assert (written["paths"], written["root"]) == (paths, str(root))
    assert written["sizes"] == [(root / path).stat().st_size for path in paths]
    assert written["fingerprint"] == model.fingerprint
    assert list((tmp_path / "out").glob("*tmp")) == []


def test_an_interrupted_call_is_continued(model, root, tmp_path):
    paths, out = paths_in(root), tmp_path / "out"
    model.stop_after = 9
    with pytest.raises(KeyboardInterrupt):
        embed(model, paths, out, root, batch_size=3)
    assert not (out / "embeddings.npy").exists()
    model.stop_after = None
    check(embed(model, paths, out, root, batch_size=3), root, paths)
    assert model.embedded == len(paths) == 20
    check(embed(model, paths, out, root), root, paths)
    assert model.embedded == 20


def test_a_killed_process_loses_what_was_not_recorded_alone(model, root, tmp_path, monkeypatch):
    """The files after a kill are those of the last record, or those before the files changed."""
    monkeypatch.setattr(module, "_SECONDS", 0)
    paths, out = paths_in(root), tmp_path / "out"
    model.stop_after = 8
    record, calls = module._record, []

    def killed(*arguments):
        calls.append(arguments)
        return record(*arguments) if len(calls) <= 2 else 0.0  # at the start, and after one batch

    monkeypatch.setattr(module, "_record", killed)
    with pytest.raises(KeyboardInterrupt):
        embed(model, paths, out, root, batch_size=4)
    monkeypatch.setattr(module, "_record", record)
    model.stop_after = None
    check(embed(model, paths, out, root), root, paths)
    assert model.embedded == 8 + 20 - 4


def test_only_what_changed_is_embedded_again(model, root, tmp_path):
    paths, out = paths_in(root), tmp_path / "out"
    embed(model, paths, out, root)
    (root / paths[3]).unlink()
    write_pictures(root / "more", each=1, seed=9)  # 4 new ones
    (root / paths[7]).write_bytes((root / paths[0]).read_bytes())
    (root / paths[11]).write_bytes((root / paths[11]).read_bytes())
    os.utime(root / paths[11], (1, 1))
    model.embedded = 0
    now = list(reversed(paths_in(root)))
    found = embed(model, now, out, root)
    check(found, root, now)
    assert model.embedded == 4 + 2


def test_an_interrupted_update_is_continued_with_another_list(model, root, tmp_path):
    paths, out = paths_in(root), tmp_path / "out"
    embed(model, paths[:6], out, root)
    model.embedded, model.stop_after = 0, 4
    with pytest.raises(KeyboardInterrupt):
        embed(model, paths[2:], out, root, batch_size=2)
    model.stop_after = None
    check(embed(model, paths[1:], out, root), root, paths[1:])
    assert model.embedded == 14 + 1


def test_broken_pictures_are_named_and_the_others_kept(model, root, tmp_path):
    paths, out = paths_in(root), tmp_path / "out"
    (root / paths[2]).write_text("no picture")
    whole = (root / paths[8]).read_bytes()
    (root / paths[8]).write_bytes(whole[: len(whole) // 2])
    with pytest.raises(BrokenPicturesError, match="2 pictures cannot be read") as caught:
        embed(model, paths, out, root, batch_size=2)
    why = "not a picture that Pillow can read"
    assert caught.value.reasons == {paths[2]: why, paths[8]: "cut off or damaged"}
    assert f"first {paths[2]} ({why})" in str(caught.value)
    rest = [path for path in paths if path not in caught.value.reasons]
    check(embed(model, rest, out, root), root, rest)
    assert model.embedded == 18


def test_another_model(model, root, tmp_path):
    paths = paths_in(root)
    embed(model, paths, tmp_path / "out", root)
    before = (tmp_path / "out/embeddings.npy").read_bytes()
    for other in make_model(seed=1), make_model(size=7):
        with pytest.raises(ValueError, match="20 pictures by another model: choose another"):
            embed(other, paths, tmp_path / "out", root)
    assert (tmp_path / "out/embeddings.npy").read_bytes() == before


def test_what_is_refused(model, root, tmp_path):
    with pytest.raises(ValueError, match="no pictures"):
        embed(model, [], tmp_path / "out", root)
    assert not (tmp_path / "out").exists()
    with pytest.raises(FileNotFoundError, match=r"gone\.png"):
        embed(model, ["gone.png"], tmp_path / "out", root)
    np.save(tmp_path / "embeddings.npy", np.zeros(3))
    with pytest.raises(ValueError, match="not written by embed"):
        embed(model, paths_in(root), tmp_path, root)
    assert len(np.load(tmp_path / "embeddings.npy")) == 3


@pytest.mark.parametrize("error", [MemoryError(), OverflowError("size does not fit in an int")])
def test_a_picture_that_the_transform_cannot_take(model, root, tmp_path, error):
    """Such as one that would be enlarged to more than the memory holds."""
    paths, usual = paths_in(root), model.transform

    def transform(picture):
        if picture.size == (3, 2):
            raise error
        return usual(picture)

    Image.new("RGB", (3, 2)).save(root / "odd.png")
    model.transform = transform
    with pytest.raises(BrokenPicturesError) as caught:
        embed(model, [*paths, "odd.png"], tmp_path, root)
    assert list(caught.value.reasons) == ["odd.png"]
    reason = caught.value.reasons["odd.png"]
    assert "odd.png' of 3 x 2 pixels cannot be transformed (" in reason
    assert (str(error) or "MemoryError") in reason
    check(embed(model, paths, tmp_path, root), root, paths)


def test_a_full_disk_is_found_before_the_work(model, root, tmp_path):
    paths, out = paths_in(root), tmp_path / "out"
    embed(model, paths[:5], out, root)
    model.embedded = 0
    (out / "unfinished.npy.pmlh-tmp").symlink_to("/dev/full")
    with pytest.raises(OSError, match="No space left"):
        embed(model, paths, out, root)
    assert model.embedded == 0
    check(embed(model, paths[:5], out, root), root, paths[:5])
    assert model.embedded == 0


@pytest.mark.parametrize("options", [{"batch_size": -1}, {"workers": 0}])
def test_numbers_below_one(model, root, tmp_path, options):
    with pytest.raises(ValueError, match="must be at least 1, got"):
        embed(model, paths_in(root), tmp_path / "out", root, **options)
    assert not (tmp_path / "out").exists()


def test_a_folder_without_write_permission(model):
    with tempfile.TemporaryDirectory() as folder:  # other users may enter it, unlike tmp_path
        root, out = Path(folder, "pictures"), Path(folder, "out")
        write_pictures(root)
        out.mkdir(mode=0o555)
        Path(folder).chmod(0o755)
        with as_a_user_without_rights(), pytest.raises(PermissionError, match=str(out)):
            embed(model, paths_in(root), out, root)
    assert model.embedded == 0
