"""Every kind of picture is read as its plain copy of 8 bits is."""

import io
import struct

import numpy as np
import pytest
from PIL import Image

from benchmarks.datasets.broken import examine, open_photograph
from benchmarks.datasets.folder import is_picture
from benchmarks.datasets.omniglot import decode
from pml_hierarchical.search.pictures import open_picture, read_picture

GREY = np.random.default_rng(0).integers(0, 256, (21, 34), dtype=np.uint8)
GREY[0, :2] = 0, 255
COLOURS = np.random.default_rng(1).integers(0, 256, (21, 34, 3), dtype=np.uint8)


def encoded(image, format, **options):
    file = io.BytesIO()
    image.save(file, format, **options)
    return file.getvalue()


def grey_of(content):
    picture = read_picture(content)
    assert picture.mode == "RGB"
    values = np.asarray(picture)
    assert (values == values[..., :1]).all()
    return values[..., 0]


@pytest.mark.parametrize(
    ("values", "format"),
    [
        (GREY.astype(np.uint16) * 257, "PNG"),
        (GREY.astype(np.uint16) * 257, "TIFF"),
        (GREY.astype(np.uint16) * 257, "PPM"),
        (GREY.astype(">u2") * 257, "TIFF"),
        (GREY.astype(np.int32), "TIFF"),
        (GREY.astype(np.int32) * 257, "TIFF"),
        (GREY.astype(np.int32) * (2**23 + 2**15), "TIFF"),
        (GREY.astype(np.float32) / 255, "TIFF"),
        (GREY.astype(np.float32), "TIFF"),
        (GREY.astype(np.float32) * 257, "TIFF"),
        (GREY.astype(np.float32) / 255, "PFM"),
    ],
)
def test_deep_pictures_are_those_of_8_bits(values, format):
    if format == "PFM":
        content = b"Pf\n34 21\n-1.0\n" + values[::-1].tobytes()
    else:
        content = encoded(Image.fromarray(values), format)
    np.testing.assert_allclose(grey_of(content), GREY, atol=1)


def test_a_dark_picture_of_16_bits_stays_dark():
    content = encoded(Image.fromarray(GREY.astype(np.uint16)), "PNG")
    assert grey_of(content).max() == 1


@pytest.mark.parametrize("value", [np.nan, np.inf, -1.0, 1e6])
def test_values_that_are_no_brightness_are_named(tmp_path, value):
    values = GREY.astype(np.float32)
    values[3, 3] = value
    (tmp_path / "a.tif").write_bytes(encoded(Image.fromarray(values), "TIFF"))
    with pytest.raises(OSError, match=r"a\.tif cannot be read \(it has values"):
        open_photograph(tmp_path / "a.tif")
    assert "it has values" in examine(tmp_path / "a.tif")[0]


# where the pixels of an upright picture are for each orientation, by the table of the EXIF standard
TURNED = {
    1: lambda p: p,
    2: lambda p: p[:, ::-1],
    3: lambda p: p[::-1, ::-1],
    4: lambda p: p[::-1],
    5: lambda p: p.transpose(1, 0, 2),
    6: lambda p: np.rot90(p, 1),
    7: lambda p: p.transpose(1, 0, 2)[::-1, ::-1],
    8: lambda p: np.rot90(p, -1),
}


@pytest.mark.parametrize("orientation", TURNED)
@pytest.mark.parametrize("format", ["PNG", "TIFF", "WEBP", "JPEG"])
def test_a_picture_is_turned_as_its_camera_says(orientation, format):
    smooth = Image.fromarray(COLOURS).resize((32, 48), Image.Resampling.BICUBIC)
    exif = Image.Exif()
    exif[0x0112] = orientation
    stored = Image.fromarray(np.ascontiguousarray(TURNED[orientation](np.asarray(smooth))))
    options = {"WEBP": {"lossless": True}, "JPEG": {"quality": 100, "subsampling": 0}}
    content = encoded(stored, format, exif=exif, **options.get(format, {}))
    picture = read_picture(content)
    assert picture.size == (32, 48)
    np.testing.assert_allclose(picture, np.asarray(smooth), atol=8)


def test_a_picture_that_was_turned_is_not_turned_again():
    exif = Image.Exif()
    exif[0x0112] = 6
    once = read_picture(encoded(Image.fromarray(GREY), "PNG", exif=exif))
    assert once.size == GREY.shape
    np.testing.assert_array_equal(open_picture(once), once)


@pytest.mark.parametrize("tag", [0x014A, 0x0202])  # of others in the file; of a wrong type
def test_a_picture_is_turned_although_its_camera_wrote_wrong_data(tag):
    entries = struct.pack("<HHHII", 2, 0x0112, 3, 1, 6) + struct.pack("<HHIf", tag, 11, 1, 0.5)
    exif = b"Exif\0\0II*\0" + struct.pack("<I", 8) + entries + bytes(4)
    picture = read_picture(encoded(Image.fromarray(GREY), "PNG", exif=exif))
    np.testing.assert_array_equal(np.asarray(picture)[..., 0], np.rot90(GREY, -1))


@pytest.mark.parametrize("format", ["PNG", "WEBP"])
def test_damaged_exif_data_do_not_damage_the_picture(format):
    content = encoded(Image.fromarray(COLOURS), format, exif=b"Exif\0\0is no EXIF", lossless=True)
    np.testing.assert_array_equal(read_picture(content), COLOURS)


@pytest.mark.parametrize("format", ["TIFF", "JPEG"])
def test_cmyk(format):
    smooth = Image.fromarray(COLOURS).resize((32, 48), Image.Resampling.BICUBIC)
    options = {"quality": 100, "subsampling": 0} if format == "JPEG" else {}
    picture = read_picture(encoded(smooth.convert("CMYK"), format, **options))
    np.testing.assert_allclose(picture, np.asarray(smooth), atol=8)


def on_white(colours, alpha):
    share = alpha[..., None] / 255
    return colours * share + 255 * (1 - share)


@pytest.mark.parametrize("format", ["PNG", "TIFF", "WEBP"])
def test_transparent_pixels_are_shown_on_white(format):
    image = Image.fromarray(np.dstack([COLOURS, GREY]))
    options = {"lossless": True, "exact": True} if format == "WEBP" else {}
    picture = read_picture(encoded(image, format, **options))
    np.testing.assert_allclose(picture, on_white(COLOURS, GREY), atol=1)


def test_grey_with_transparency():
    alpha = GREY[::-1]
    picture = grey_of(encoded(Image.merge("LA", [*map(Image.fromarray, (GREY, alpha))]), "PNG"))
    np.testing.assert_allclose(picture, on_white(GREY[..., None], alpha)[..., 0], atol=1)


@pytest.mark.parametrize("format", ["PNG", "GIF"])
def test_a_palette_with_a_transparent_colour(format):
    image = Image.new("P", (2, 1))
    image.putpalette([0, 0, 0, 200, 10, 30])
    image.putdata([0, 1])
    picture = read_picture(encoded(image, format, transparency=0))
    assert [picture.getpixel((x, 0)) for x in (0, 1)] == [(255, 255, 255), (200, 10, 30)]


def test_one_bit_and_a_transparent_colour_of_rgb():
    assert grey_of(encoded(Image.fromarray(GREY > 127), "PNG"))[0, :2].tolist() == [0, 255]
    image = Image.fromarray(COLOURS)
    picture = read_picture(encoded(image, "PNG", transparency=tuple(COLOURS[3, 4].tolist())))
    assert picture.getpixel((4, 3)) == (255, 255, 255)
    assert picture.getpixel((5, 3)) == tuple(COLOURS[3, 5].tolist())


@pytest.mark.parametrize("format", ["GIF", "PNG", "WEBP", "TIFF"])
def test_the_first_picture_of_several(format):
    frames = [Image.new("RGB", (9, 7), colour) for colour in ("red", "lime", "blue")]
    options = {"lossless": True} if format == "WEBP" else {}
    content = encoded(frames[0], format, save_all=True, append_images=frames[1:], **options)
    assert (np.asarray(read_picture(content)) == (255, 0, 0)).all()


def test_all_readers_see_the_same(tmp_path):
    """A photograph, a check of a photograph and a drawing."""
    exif = Image.Exif()
    exif[0x0112] = 3
    content = encoded(Image.fromarray(GREY.astype(np.uint16) * 257), "PNG", exif=exif)
    file = tmp_path / "a.png"
    file.write_bytes(content)
    np.testing.assert_array_equal(np.asarray(open_photograph(file))[..., 0], GREY[::-1, ::-1])
    assert examine(file)[0] is None
    plain = encoded(Image.fromarray(GREY[::-1, ::-1]), "PNG")
    np.testing.assert_array_equal(decode(content), decode(plain))


def test_ghostscript_is_not_asked(tmp_path):
    file = tmp_path / "a.jpg"
    file.write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\n")
    assert not is_picture(file)
    with pytest.raises(OSError, match=r"a\.jpg cannot be read"):
        open_photograph(file)
