"""Small pictures of the test images, kept once per data set."""

import base64
import io

import numpy as np
import pytest
from PIL import Image
from small_data import make_small_data

from benchmarks import thumbnails
from benchmarks.files import DamagedFileError
from benchmarks.thumbnails import THUMBNAILS_FILE, keep_thumbnails, read_thumbnails


@pytest.fixture
def data():
    return make_small_data()


def test_every_image_of_the_map_has_its_picture(tmp_path, data, monkeypatch):
    shades = {index: 20 + index % 200 for index in range(len(data.labels))}
    monkeypatch.setattr(
        thumbnails, "picture", lambda data, i: np.full((64, 64, 3), shades[int(i)], np.uint8)
    )
    keep_thumbnails(data, 0, tmp_path)
    found = read_thumbnails(tmp_path / THUMBNAILS_FILE)
    assert set(found) == set(data.split(0).test.tolist())
    for index, address in found.items():
        image = Image.open(io.BytesIO(base64.b64decode(address.partition(",")[2])))
        assert address.startswith(f"data:image/{image.format.lower()};base64,")
        assert abs(np.asarray(image.convert("RGB")).mean() - shades[index]) < 3


def test_they_are_made_once_and_again_where_they_are_damaged(tmp_path, data, monkeypatch):
    keep_thumbnails(data, 0, tmp_path)
    expected = read_thumbnails(tmp_path / THUMBNAILS_FILE)
    with monkeypatch.context() as patch:
        patch.setattr(thumbnails, "picture", None)
        keep_thumbnails(data, 1, tmp_path)  # the test images are those of every fold
    (tmp_path / THUMBNAILS_FILE).write_bytes(b"PK no zip")
    with pytest.raises(DamagedFileError):
        read_thumbnails(tmp_path / THUMBNAILS_FILE)
    keep_thumbnails(data, 0, tmp_path)
    assert read_thumbnails(tmp_path / THUMBNAILS_FILE) == expected


def test_arrays_that_do_not_fit_one_another_are_noticed(tmp_path):
    path = tmp_path / THUMBNAILS_FILE
    for ends in ([3], [5, 2]):
        np.savez(path, indices=np.arange(2), content=np.zeros(9, np.uint8), ends=np.array(ends))
        with pytest.raises(DamagedFileError):
            read_thumbnails(path)


def test_a_picture_weighs_little():
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    assert len(thumbnails._encoded(noise)) < 4000
