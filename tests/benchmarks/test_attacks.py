"""Random damage to every file that the benchmark reads: a message, and never a traceback.

A reader either gives what was written, or one of the errors that the command turns into a message
and the exit status 2.
"""

import io
import os
import random
import shutil
import tarfile
import warnings
import zipfile

import numpy as np
import pytest
import torch
from dataset_trees import BUILDERS, write_image
from PIL import Image
from test_grocery import root as grocery_tree  # noqa: F401  a fixture
from test_omniglot import root as omniglot_tree  # noqa: F401
from test_report import make_store

from benchmarks import command_line
from benchmarks.artifacts import read_retrievals, read_test, read_tree
from benchmarks.backbones.weights import load_weights
from benchmarks.cache import cached_arrays
from benchmarks.datasets import look_at_dataset
from benchmarks.datasets.broken import examine, open_photograph
from benchmarks.datasets.download import Archive, fetch
from benchmarks.datasets.folder import is_picture
from benchmarks.files import DamagedFileError
from benchmarks.report import embedding_map
from benchmarks.report.fonts import families_for
from benchmarks.report.provenance import environments, introduction, settings_grid
from benchmarks.report.section import result_grids
from benchmarks.results import collect
from benchmarks.stored import read_stored
from benchmarks.training.checkpoints import CONTENT, read_checkpoint, unpack_folders

EXPECTED = (ValueError, OSError)  # what benchmarks.command_line turns into a message


def cut(content, rng):
    return content[: rng.randrange(len(content) + 1)]


def empty(content, rng):
    return b""


def flip(content, rng):
    changed = bytearray(content)
    for _ in range(rng.choice([1, 1, 3, 20])):
        if changed:
            changed[rng.randrange(len(changed))] ^= 1 << rng.randrange(8)
    return bytes(changed)


def shuffle(content, rng):
    """A piece is taken out, or comes twice, or zeros stand in its place."""
    start = rng.randrange(len(content) + 1)
    piece = content[start : start + rng.randrange(1, 200)]
    between = rng.choice([b"", piece * 2, bytes(len(piece))])
    return content[:start] + between + content[start + len(piece) :]


def other_type(content, rng):
    array = io.BytesIO()
    np.savez(array, key=np.zeros(3))
    picture = io.BytesIO()
    Image.new("L", (3, 3)).save(picture, "PNG")
    tensor = io.BytesIO()
    torch.save({"epoch": 1}, tensor)
    return rng.choice(
        [
            b"null",
            b"{}",
            b"[]",
            b"[[" * 100_000,
            b'{"a": NaN, "b": [1e999, -0]}',
            b"\xff\xfe\x00\x01",
            b"\x00" * 300,
            b"a,b,c\n1,2\n",
            b"<html>404</html>\n",
            "苹果 $_$ \u2028\n".encode(),
            b"../../etc/passwd 1 2 3\n" * 3,
            b"%!PS-Adobe-3.0 EPSF-3.0\n",
            array.getvalue(),
            picture.getvalue(),
            tensor.getvalue(),
        ]
    )


DAMAGES = (cut, empty, flip, shuffle, other_type)


@pytest.fixture(params=DAMAGES, ids=lambda damage: damage.__name__)
def damage(request):
    return request.param


@pytest.fixture(autouse=True)
def quiet(monkeypatch, tmp_path):
    monkeypatch.setenv("PML_HIERARCHICAL_CACHE", str(tmp_path / ".cache"))
    monkeypatch.setattr(embedding_map, "project", lambda embeddings: embeddings[:, :2])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # they name what is left out
        yield


def encoded(format, mode="RGB", **options):
    pixels = np.random.default_rng(0).integers(0, 256, (24, 20, 3), dtype=np.uint8)
    image = Image.fromarray(pixels).convert(mode)
    exif = Image.Exif()
    exif[0x0112] = 6
    file = io.BytesIO()
    image.save(file, format, **options, **({"exif": exif} if format in EXIF else {}))
    return file.getvalue()


EXIF = ("JPEG", "PNG", "TIFF", "WEBP")
PICTURES = [("JPEG", "RGB"), ("JPEG", "CMYK"), ("PNG", "RGBA"), ("PNG", "I;16"), ("TIFF", "F")]
PICTURES += [("TIFF", "RGB"), ("GIF", "P"), ("WEBP", "RGBA"), ("BMP", "RGB"), ("PPM", "RGB")]
PICTURES += [("AVIF", "RGB"), ("JPEG2000", "RGB"), ("TGA", "RGB"), ("ICO", "RGBA"), ("PCX", "P")]


@pytest.mark.parametrize(("format", "mode"), PICTURES)
def test_pictures(tmp_path, damage, format, mode):
    rng = random.Random(f"{format}{mode}{damage.__name__}")
    Image.init()
    if format not in Image.SAVE:
        pytest.skip(f"this Pillow cannot write {format}")
    if mode == "I;16":
        file = io.BytesIO()
        Image.fromarray(np.arange(400, dtype=np.uint16).reshape(20, 20)).save(file, format)
        content = file.getvalue()
    else:
        content = encoded(format, mode)
    path = tmp_path / "a.jpg"
    for _ in range(20):
        path.write_bytes(damage(content, rng))
        is_picture(path)
        reason, digest = examine(path)
        assert len(digest) == 16
        try:
            picture = open_photograph(path)
        except OSError as error:
            assert str(path) in str(error)  # noqa: PT017
        else:
            assert picture.mode == "RGB"
            assert reason is None


def lists_of(root):
    suffixes = (".txt", ".csv", ".json", ".mat", ".zip")
    return sorted(path for path in root.rglob("*") if path.suffix in suffixes)


def attack(name, root, damage, rounds):
    """Damage one list or picture at a time: an error, or the rest is read."""
    rng = random.Random(f"{name}{damage.__name__}")
    pictures = sorted(path for path in root.rglob("*") if path.suffix.lower() in (".jpg", ".png"))
    for number in range(rounds):
        lists = lists_of(root)
        file = lists[number % len(lists)] if lists and number % 4 else rng.choice(pictures or lists)
        content = file.read_bytes()
        file.write_bytes(damage(content, rng))
        for skip_broken in (False, True):
            try:
                data = look_at_dataset(name, root, skip_broken)
            except EXPECTED as error:
                assert str(error)  # noqa: PT017
            else:
                assert len(data.labels)
        file.write_bytes(content)


@pytest.mark.parametrize("name", BUILDERS)
def test_lists_and_pictures_of_data_sets(name, tmp_path, damage):
    root = tmp_path / name
    root.mkdir()
    BUILDERS[name](root)
    attack(name, root, damage, rounds=12)


def test_lists_of_grocery(grocery_tree, damage):  # noqa: F811
    attack("grocery", grocery_tree, damage, rounds=12)


def test_drawings_and_zips_of_omniglot(omniglot_tree, damage, tmp_path):  # noqa: F811
    with zipfile.ZipFile(tmp_path / "omniglot.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        for file in sorted(omniglot_tree.rglob("*.png")):
            archive.write(file, file.relative_to(omniglot_tree))
    shutil.rmtree(omniglot_tree)
    attack("omniglot", tmp_path, damage, rounds=12)


@pytest.mark.parametrize("kind", ["zip", "tgz"])
def test_archives(tmp_path, damage, kind):
    rng = random.Random(f"{kind}{damage.__name__}")
    packed = io.BytesIO()
    if kind == "zip":
        with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr("a/b", b"content" * 50)
    else:
        with tarfile.open(fileobj=packed, mode="w:gz") as archive:
            member = tarfile.TarInfo("a/b")
            member.size = 350
            archive.addfile(member, io.BytesIO(b"content" * 50))
    outside = tmp_path / "outside"
    for number in range(40):
        root = outside / str(number)
        root.mkdir(parents=True)
        (root / f"x.{kind}").write_bytes(damage(packed.getvalue(), rng))
        try:
            fetch([Archive("file:///nowhere", f"x.{kind}", "a")], root)
        except OSError as error:
            assert f"x.{kind}" in str(error)  # noqa: PT017
        assert sorted(path.name for path in outside.iterdir()) == sorted(
            map(str, range(number + 1))
        )
        shutil.rmtree(root)
        root.mkdir()


def test_cached_arrays(tmp_path, damage):
    rng = random.Random(damage.__name__)
    expected = {"numbers": np.arange(200), "floats": np.ones((3, 4), np.float32)}
    cached_arrays("a", {}, lambda: expected)
    (path,) = (tmp_path / ".cache").glob("*.npz")
    content = path.read_bytes()
    for _ in range(40):
        path.write_bytes(damage(content, rng))
        found = cached_arrays("a", {}, lambda: expected)
        assert found.keys() == expected.keys()
        for name, array in expected.items():
            np.testing.assert_array_equal(found[name], array)


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    folder = make_store(tmp_path_factory.mktemp("runs") / "small", folds=[0, 1])
    for path in folder.glob("*/*/result.json"):
        path.with_name("config.json").write_text("{}")
    return folder


READERS = {
    "test.npz": read_test,
    "retrievals.npz": read_retrievals,
    "tree.npz": read_tree,
}


@pytest.mark.parametrize("name", READERS)
def test_arrays_of_runs(store, name, tmp_path, damage):
    """Damage is noticed, or is where it changes nothing."""
    rng = random.Random(f"{name}{damage.__name__}")
    names = read_stored(store).class_names
    source = next(store.glob(f"hpl*/*/{name}"))
    expected = READERS[name](source, names)
    path = tmp_path / name
    for _ in range(40):
        path.write_bytes(damage(source.read_bytes(), rng))
        try:
            found = READERS[name](path, names)
        except DamagedFileError as error:
            assert str(path) in str(error)  # noqa: PT017
        else:
            for key, array in expected.items():
                np.testing.assert_array_equal(found[key], array)


@pytest.mark.parametrize("name", ["result.json", "dataset.json", "concatenated_seed0.json"])
def test_json_of_runs(store, name, tmp_path, damage):
    """What is read can be reported: all tables of the report are made of it."""
    rng = random.Random(f"{name}{damage.__name__}")
    folder = tmp_path / "small"
    shutil.copytree(store, folder)
    path = next(folder.rglob(name))
    content = path.read_bytes()
    for _ in range(10):
        path.write_bytes(damage(content, rng))
        try:
            stored = read_stored(folder)
        except DamagedFileError as error:
            assert name == "dataset.json"
            assert str(path) in str(error)  # noqa: PT017
            continue
        assert all(str(path) in message for message in stored.damaged)
        summary = collect(stored)
        result_grids(stored, summary)
        settings_grid(stored, summary)
        introduction(stored), environments(stored.results)


@pytest.mark.parametrize(
    "names",
    [
        ("retrievals.npz", "tree.npz", "config.json", "map.npz"),
        ("test.npz", "concatenated_seed0.json"),
        ("result.json",),
        ("dataset.json",),
    ],
    ids=" ".join,
)
def test_the_report_is_made_of_what_is_left(store, names, tmp_path, monkeypatch, capsys):
    """Files are damaged together of which none hides another."""
    folder = tmp_path / "small"
    shutil.copytree(store, folder)
    whole = tmp_path / "whole"
    shutil.copytree(store, whole)
    monkeypatch.setattr("benchmarks.report.style.DOTS_PER_INCH", 20)
    run = next(folder.glob("hpl*/seed0_fold0"))
    paths = {name: next(folder.rglob(name), run / name) for name in names}
    for path in paths.values():
        path.write_bytes(b"PK\x03\x04 not what was written")
    out = tmp_path / "out"
    assert command_line.main(["report", str(folder), str(whole), "--out", str(out)]) == 0
    text = (out / "report.md").read_text().replace("&#95;", "_")
    for name, path in paths.items():
        assert (str(path) in text) == (name not in ("config.json", "map.npz", "dataset.json")), name
    assert (text.count("### Results") == 2) == ("dataset.json" not in names)
    if "dataset.json" in names:
        assert command_line.main(["report", str(folder), "--out", str(out)]) == 2
        printed = capsys.readouterr().err
        assert printed.startswith(f"error: {path} is damaged (")
        assert len(printed.splitlines()) == 1


def write_weights(path):
    network = torch.nn.Linear(3, 2)
    torch.save(network.state_dict(), path)
    return network


def test_weights(tmp_path, damage):
    rng = random.Random(damage.__name__)
    path = tmp_path / "a.pt"
    network = write_weights(path)
    content = path.read_bytes()
    for _ in range(20):
        path.write_bytes(damage(content, rng))
        try:
            load_weights(network, str(path), ["fc"])
        except EXPECTED as error:
            assert str(path) in str(error)  # noqa: PT017


def checkpoint():
    state = {"weight": torch.arange(12.0).reshape(3, 4)}
    return {
        "epoch": 2,
        "stopped_early": False,
        "epoch_seconds": [1.0, 2.0],
        "update_seconds": [],
        "config": {"a": [1, "b"]},
        **{name: {"x": state} for name in ("models", "loss_funcs", "optimizers", "lr_schedulers")},
        "sampler": [3, 1, 2],
        "random": {
            "python": (3, tuple(range(625)), None),
            "numpy": ("MT19937", list(range(624)), 1, 0, 0.0),
            "torch": torch.arange(16, dtype=torch.uint8),
            "cuda": [],
        },
        "folders": {"records/a.csv": torch.arange(9, dtype=torch.uint8)},
    }


def plain(content):
    """For comparison."""
    if isinstance(content, torch.Tensor):
        return ["tensor", str(content.dtype), content.tolist()]
    if isinstance(content, dict):
        return {key: plain(value) for key, value in content.items()}
    if isinstance(content, (list, tuple)):
        return [type(content).__name__, *map(plain, content)]
    return content


def test_checkpoints(tmp_path, damage):
    """Also a single flipped bit: it is noticed, or in a place that says nothing."""
    rng = random.Random(damage.__name__)
    path = tmp_path / "last.pt"
    torch.save(checkpoint(), path)
    content = path.read_bytes()
    assert plain(read_checkpoint(path)) == plain(checkpoint())
    noticed = 0
    for _ in range(100):
        path.write_bytes(damage(content, rng))
        try:
            found = read_checkpoint(path)
        except OSError as error:
            noticed += 1
            assert f"the checkpoint {path} cannot be read (" in str(error)  # noqa: PT017
        else:
            assert plain(found) == plain(checkpoint())
    assert noticed > 30


def test_every_bit_of_a_tensor_in_a_checkpoint_is_checked(tmp_path):
    path = tmp_path / "last.pt"
    torch.save(checkpoint(), path)
    content = path.read_bytes()
    weights = torch.arange(12.0).numpy().tobytes()
    place = content.index(weights)
    for bit in range(0, 8 * len(weights), 7):
        changed = bytearray(content)
        changed[place + bit // 8] ^= 1 << bit % 8
        path.write_bytes(changed)
        torch.load(path, weights_only=True)  # PyTorch alone says nothing
        with pytest.raises(OSError, match=r"checksum of '.*data/\d+' differs"):
            read_checkpoint(path)


@pytest.mark.parametrize("key", CONTENT)
def test_a_checkpoint_of_another_shape(tmp_path, key):
    path = tmp_path / "last.pt"
    for changes in ({}, {key: "x"}, {key: None}):
        content = {**checkpoint(), **changes}
        if not changes:
            del content[key]
        torch.save(content, path)
        with pytest.raises(OSError, match=rf"{key}"):
            read_checkpoint(path)


class Crafted:
    def __init__(self, file):
        self.file = file

    def __reduce__(self):
        return (open, (str(self.file), "w"))


def test_a_crafted_checkpoint_runs_nothing(tmp_path):
    path = tmp_path / "last.pt"
    torch.save({**checkpoint(), "config": Crafted(tmp_path / "ran")}, path)
    torch.load(path, weights_only=False)
    assert (tmp_path / "ran").exists()  # the attack works
    (tmp_path / "ran").unlink()
    with pytest.raises(OSError, match="cannot be read"):
        read_checkpoint(path)
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize(
    "name",
    ["../evil", "records/../../evil", "{outside}/evil", "evil", "records", "records/../evil"],
)
def test_records_stay_in_their_folders(tmp_path, name):
    run, outside = tmp_path / "runs" / "run", tmp_path / "outside"
    for folder in (run, outside):
        folder.mkdir(parents=True)
    name = name.format(outside=outside)
    files = {"records/a.csv": torch.zeros(3, dtype=torch.uint8), name: torch.zeros(1)}
    with pytest.raises(OSError, match="has a record outside of it"):
        unpack_folders(run, files)
    assert not list(tmp_path.rglob("evil"))
    assert not list(tmp_path.rglob("a.csv"))


@pytest.mark.parametrize("linked", ["records", "tensorboard"])
def test_records_are_not_written_through_links(tmp_path, linked):
    run, outside = tmp_path / "run", tmp_path / "outside"
    for folder in (run, outside):
        folder.mkdir(parents=True)
    (outside / "mine").write_text("kept")
    (run / linked).symlink_to(outside)
    unpack_folders(run, {f"{linked}/a/b": torch.arange(3, dtype=torch.uint8)})
    assert (run / linked / "a" / "b").read_bytes() == b"\0\1\2"
    assert [path.name for path in outside.iterdir()] == ["mine"]


def test_fonts_that_cannot_be_read_are_passed_over():
    assert families_for("苹果")


def test_the_command_ends_with_2_and_a_message(tmp_path, damage, monkeypatch, capsys):
    monkeypatch.setattr("benchmarks.describe.write_sample_sheet", lambda data, path: None)
    root = tmp_path / "cub"
    root.mkdir()
    BUILDERS["cub"](root)
    rng = random.Random(damage.__name__)
    codes = set()
    for file in (root / "CUB_200_2011/images.txt", *sorted(root.rglob("*.jpg"))[:2]):
        content = file.read_bytes()
        file.write_bytes(damage(content, rng))
        command = ["describe", "cub", "--data-root", str(root), "--out", str(tmp_path / "out")]
        codes.add(command_line.main(command))
        printed = capsys.readouterr().err
        assert "Traceback" not in printed
        assert codes <= {0, 2}
        file.write_bytes(content)
    assert 2 in codes


def test_a_folder_that_is_a_pipe_or_a_device_does_not_hang(tmp_path):
    for i in range(15):
        write_image(tmp_path / f"class {i}" / "1.png")
    os.mkfifo(tmp_path / "class 0" / "pipe")
    os.mkfifo(tmp_path / "class 1" / "pipe.jpg")
    data = look_at_dataset("folder", tmp_path, skip_broken=True)
    assert len(data.files) == 15
