"""Files that are uploaded: what is read, what is refused and why, and that nothing is kept."""

import io
import struct
import tempfile
import zlib
from concurrent.futures import ThreadPoolExecutor
from threading import Lock
from time import sleep

import numpy as np
import pytest
from PIL import Image

from benchmarks.search_page import app as app_module
from benchmarks.search_page.app import create_app
from benchmarks.search_page.files import AT_ONCE
from benchmarks.search_page.loading import load
from benchmarks.search_page.reading import LARGEST_UPLOAD, MOST_PIXELS, read_upload

PIXELS = np.random.default_rng(0).integers(0, 256, (40, 60, 3), dtype=np.uint8)
PICTURE = Image.fromarray(PIXELS)


def saved(image, kind, **options):
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def png_that_claims(width, height):
    """A PNG of a few bytes that would be decoded to a picture of this size."""
    header = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    data = b"IDAT" + zlib.compress(bytes(1000))
    chunks = [
        struct.pack(">I", len(one) - 4) + one + struct.pack(">I", zlib.crc32(one))
        for one in (header, data, b"IEND")
    ]
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks)


REFUSED = {
    "empty": (b"", "The upload is empty"),
    "text": (b"not a picture " * 100, "This is not a picture that can be read"),
    "html": (b"<html><script>alert(1)</script>", "This is not a picture that can be read"),
    "svg": (b"<?xml version='1.0'?><svg xmlns='http://www.w3.org/2000/svg'/>", "SVG is a drawing"),
    "heic": (b"\0\0\0\x18ftypheic\0\0\0\0" + bytes(99), "A HEIC picture cannot be read. Save it"),
    "eps": (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "This is not a picture"),
    "half a JPEG": (saved(PICTURE, "JPEG")[:900], "damaged or incomplete"),
    "half a PNG": (saved(PICTURE, "PNG")[:900], "damaged or incomplete"),
    "start of a PNG": (saved(PICTURE, "PNG")[:20], "picture"),
    "65 million pixels": (png_that_claims(13000, 5000), "has 13,000 x 5,000 pixels, at most 64"),
    "a bomb": (png_that_claims(50000, 50000), "has far more than 64 million pixels"),
    "negative": (
        saved(Image.fromarray(np.float32([[-1.0, 2.0]])), "TIFF"),
        "negative or not finite",
    ),
}

ACCEPTED = {
    "JPEG": saved(PICTURE, "JPEG"),
    "CMYK": saved(PICTURE.convert("CMYK"), "JPEG"),
    "16 bits": saved(Image.fromarray(PIXELS[..., 0].astype(np.uint16) * 257), "PNG"),
    "animation": saved(
        PICTURE, "GIF", save_all=True, append_images=[Image.new("RGB", (60, 40))] * 3
    ),
    "palette": saved(PICTURE.quantize(16), "PNG"),
    "transparent": saved(PICTURE.convert("RGBA"), "WEBP"),
    "one bit": saved(PICTURE.convert("1"), "BMP"),
    "several pages": saved(PICTURE, "TIFF", save_all=True, append_images=[PICTURE]),
    "one pixel": saved(PICTURE.resize((1, 1)), "PNG"),
    "a line": saved(PICTURE.resize((4000, 1)), "PNG"),
}


@pytest.mark.parametrize("name", REFUSED)
@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
def test_refused(upload, name):
    content, message = REFUSED[name]
    error = upload(content, status=400)["error"]
    assert message in error
    assert "<PIL" not in error  # nothing that only a programmer understands
    assert "BytesIO" not in error


@pytest.mark.parametrize("name", ACCEPTED)
def test_accepted(upload, name):
    found = upload(ACCEPTED[name])
    assert [len(gallery["answers"]) for gallery in found["galleries"]] == [3, 3]


def test_the_first_picture_of_an_animation_is_read():
    read = np.asarray(read_upload(ACCEPTED["animation"])).astype(int)
    assert np.abs(read - PIXELS).mean() < 20  # not black


def test_a_photograph_is_turned_as_its_camera_says():
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned by 90 degrees
    assert read_upload(saved(PICTURE, "JPEG", exif=exif)).size == (40, 60)


def test_a_picture_of_the_most_pixels_is_read():
    side = int(MOST_PIXELS**0.5)
    assert side * side == MOST_PIXELS
    with pytest.raises(ValueError, match="damaged or incomplete"):  # its size was accepted
        read_upload(png_that_claims(side, side))


def test_a_file_that_is_too_large(upload, client):
    message = {"error": "The file is larger than 20 MB."}
    assert upload(bytes(LARGEST_UPLOAD + 1), status=413) == message
    chunked = client.post(
        "/api/search?k=3",
        input_stream=io.BytesIO(bytes(LARGEST_UPLOAD + 1)),
        headers={"Transfer-Encoding": "chunked"},
        environ_overrides={"wsgi.input_terminated": True},
    )
    assert (chunked.status_code, chunked.json) == (413, message)


def test_a_form_is_refused(client):
    form = {"picture": (io.BytesIO(ACCEPTED["JPEG"]), "a.jpg")}
    response = client.post("/api/search", data=form)
    assert response.status_code == 400
    assert response.json == {"error": "Send the file itself as the body, not a form."}


def test_nothing_is_kept(upload, tmp_path, monkeypatch):
    """Not even for a moment: werkzeug writes large parts of forms to temporary files."""
    opened = []
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setattr(tempfile, "_io", Recorder(tempfile._io, opened))
    noise = np.random.default_rng(1).integers(0, 256, (900, 900, 3), dtype=np.uint8)
    content = saved(Image.fromarray(noise), "PNG")
    assert len(content) > 2**20
    upload(content)
    assert opened == []
    assert list(tmp_path.iterdir()) == []


class Recorder:
    """A module whose ``open`` is recorded."""

    def __init__(self, module, opened):
        self.module, self.opened = module, opened

    def open(self, *arguments, **options):
        self.opened.append(arguments)
        return self.module.open(*arguments, **options)

    def __getattr__(self, name):
        return getattr(self.module, name)


def test_without_a_model_nothing_can_be_uploaded(folders):
    pictures = load(folders.gallery, folders.flat, folders.model)
    client = app_module.create_app(pictures).test_client()
    message = "To search for your own pictures, start the page with --compare-model."
    assert client.post("/api/search", data=ACCEPTED["JPEG"]).json == {"error": message}
    assert client.get("/api/info").json["takes_uploads"] is False
    assert client.get("/api/search?row=0").status_code == 200


def test_few_pictures_are_in_memory_at_once(pictures, monkeypatch):
    """A PNG of 200 kB can hold 64 million pixels, which take 600 MB while they are converted."""
    lock, inside, most = Lock(), [], []

    def slowly(content):
        with lock:
            inside.append(1)
            most.append(len(inside))
        sleep(0.05)
        return Image.new("RGB", (9, 9))

    def search(pictures, picture, k, name):
        sleep(0.05)  # others are searched for one after the other
        with lock:
            inside.pop()
        return {}

    monkeypatch.setattr("benchmarks.search_page.app.read_upload", slowly)
    monkeypatch.setattr("benchmarks.search_page.api.neighbours_of_picture", search)
    app = create_app(pictures)
    with ThreadPoolExecutor(8) as threads:
        posts = [threads.submit(app.test_client().post, "/api/search", data=b"x") for _ in range(8)]
        assert [post.result().status_code for post in posts] == [200] * 8
    assert max(most) == AT_ONCE
