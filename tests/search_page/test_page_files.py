"""Only the pictures of the gallery are served, whatever the gallery says their paths are."""

import io
import os

import numpy as np
import pytest
from PIL import Image

from benchmarks.search_page.app import create_app
from benchmarks.search_page.classes import ClassNames
from benchmarks.search_page.files import PictureFiles
from benchmarks.search_page.gallery import SearchedPictures

OUTSIDE = "is outside the folder of the gallery's pictures"


def client_of(root, paths, follow_links=False):
    files = PictureFiles(root, paths, follow_links)
    nothing = np.full(len(paths), -1)
    classes = ClassNames(np.zeros((1, 1), np.int64), [[""]], nothing, nothing > 0)
    return create_app(SearchedPictures([], files, classes)).test_client()


@pytest.fixture
def shop(tmp_path):
    """A folder of pictures beside a secret one."""
    root = tmp_path / "shop"
    (root / "inside").mkdir(parents=True)
    for file in (root / "a.png", root / "inside/b.png", tmp_path / "secret.png"):
        Image.new("RGB", (500, 300), "red").save(file)
    (tmp_path / "secret.txt").write_text("password")
    (root / "notes.txt").write_text("password")
    (root / "link.png").symlink_to(tmp_path / "secret.png")
    (root / "inner_link.png").symlink_to(root / "a.png")
    (root / "folder_link").symlink_to(tmp_path)
    (root / "circle.png").symlink_to(root / "circle.png")
    (root / "text_link.png").symlink_to(tmp_path / "secret.txt")
    os.mkfifo(root / "pipe.png")
    return root


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("../secret.png", OUTSIDE),
        ("inside/../../secret.png", OUTSIDE),
        ("{parent}/secret.png", OUTSIDE),
        ("link.png", OUTSIDE),
        ("folder_link/secret.png", OUTSIDE),
        ("text_link.png", OUTSIDE),
        ("../shop_other/a.png", "does not exist any more"),
        ("circle.png", "does not exist any more"),
        ("gone.png", "does not exist any more"),
        ("nul\0.png", "does not exist any more"),
        ("inside", "is not a regular file"),
        ("pipe.png", "is not a regular file"),
        ("notes.txt", "This is not a picture that can be read"),
        ("/dev/zero", "is not a regular file"),
    ],
)
def test_what_is_not_served(shop, path, message):
    response = client_of(shop, [path.format(parent=shop.parent)]).get("/pictures/0")
    assert response.status_code == 404
    assert message in response.json["error"]
    assert "password" not in response.text


def test_a_folder_whose_name_begins_alike_is_outside(shop):
    other = shop.with_name("shop_other")
    other.mkdir()
    Image.new("RGB", (9, 9)).save(other / "a.png")
    assert OUTSIDE in client_of(shop, ["../shop_other/a.png"]).get("/pictures/0").json["error"]


@pytest.mark.parametrize("path", ["a.png", "inside/b.png", "inner_link.png", "inside/../a.png"])
@pytest.mark.parametrize("side", [240, 960])
def test_what_is_served(shop, path, side):
    response = client_of(shop, [path]).get(f"/pictures/0?side={side}")
    assert response.mimetype == "image/jpeg"
    served = Image.open(io.BytesIO(response.data))
    assert max(served.size) == min(side, 500)
    assert served.format == "JPEG"


@pytest.mark.parametrize("path", ["link.png", "folder_link/secret.png"])
def test_links_are_followed_if_asked(shop, path):
    assert client_of(shop, [path], follow_links=True).get("/pictures/0").status_code == 200


def test_pictures_that_cannot_be_shown_are_counted(shop):
    Image.new("RGB", (9, 9)).save(shop / "d.ppm")
    Image.new("RGB", (9, 9)).save(shop / "e", "PPM")  # of no suffix
    Image.new("RGB", (9, 9)).save(shop / "f", "PNG")
    noise = np.random.default_rng(0).integers(0, 256, (1000, 1000, 3), dtype=np.uint8)
    Image.fromarray(np.tile(noise, (9, 9, 1))).save(shop / "large.jpg")
    paths = ["a.png", "d.ppm", "e", "f", "gone.png", "link.png", "folder_link/secret.png"]
    paths += ["inner_link.png", "large.jpg"]
    files = PictureFiles(shop, paths)
    found = files.not_shown()
    assert {key[:30]: number for key, number in found.items()} == {
        "in a format other than JPEG, P": 2,
        "links to files outside their f": 2,
        "larger than 64 million pixels": 1,
    }
    assert files.missing() == 1
    shown = [client_of(shop, paths).get(f"/pictures/{row}").status_code for row in range(9)]
    assert shown.count(404) == 1 + sum(found.values())
    followed = PictureFiles(shop, paths, follow_links=True).not_shown()
    assert sum(followed.values()) == 3


def test_where_a_photograph_was_taken_is_not_served(shop):
    exif = Image.Exif()
    exif[0x010E] = "at my home"
    Image.new("RGB", (99, 99)).save(shop / "c.jpg", exif=exif)
    assert b"at my home" in (shop / "c.jpg").read_bytes()
    assert b"at my home" not in client_of(shop, ["c.jpg"]).get("/pictures/0").data


@pytest.mark.parametrize("address", ["/pictures/1", "/pictures/-1", "/pictures/..%2Fa.png"])
def test_rows_that_do_not_exist(shop, address):
    assert client_of(shop, ["a.png"]).get(address).status_code == 404


@pytest.mark.parametrize("side", ["239", "1000000", "x"])
def test_other_sizes_are_not_computed(shop, side):
    assert client_of(shop, ["a.png"]).get(f"/pictures/0?side={side}").status_code == 400


@pytest.mark.parametrize(
    "address", ["/static/../app.py", "/static/%2e%2e/app.py", "/static//etc/passwd", "/app.py"]
)
def test_other_files_of_the_page_are_not_served(shop, address):
    client = client_of(shop, ["a.png"])
    assert client.get(address, follow_redirects=True).status_code == 404


def test_the_browser_keeps_a_picture_until_it_changes(shop):
    client = client_of(shop, ["a.png"])
    first = client.get("/pictures/0")
    again = {"If-None-Match": first.headers["ETag"]}
    kept = client.get("/pictures/0", headers=again)
    assert (kept.status_code, kept.data) == (304, b"")
    assert client.get("/pictures/0?side=960", headers=again).status_code == 200
    Image.new("RGB", (400, 300), "blue").save(shop / "a.png")
    changed = client.get("/pictures/0", headers=again)
    assert changed.status_code == 200
    assert changed.data != first.data
