import hashlib
import io
import tarfile
import zipfile
from dataclasses import replace
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

import pytest
from dataset_trees import build_cub

from benchmarks.command_line import main
from benchmarks.datasets import DATASETS, download_dataset
from benchmarks.datasets.download import RETRIES, Archive, fetch


class _Server(ThreadingHTTPServer):
    """Serves a folder, after as many failures as it is asked for."""

    failures = 0
    requests = 0


class _Handler(SimpleHTTPRequestHandler):
    def do_GET(self):
        self.server.requests += 1
        if self.server.requests <= self.server.failures:
            self.send_error(503)
        else:
            super().do_GET()

    def log_message(self, *_):
        pass


@pytest.fixture
def server(tmp_path, monkeypatch):
    """On this machine, of the folder ``server``; the waits between tries are left out."""
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    monkeypatch.setattr("pooch.core.time.sleep", lambda seconds: None)
    (tmp_path / "server").mkdir()
    with _Server(("127.0.0.1", 0), partial(_Handler, directory=tmp_path / "server")) as server:
        Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        yield server
        server.shutdown()


@pytest.fixture
def address(server):
    return f"http://127.0.0.1:{server.server_port}"


@pytest.fixture
def served(address, tmp_path):
    """An archive on that server."""
    tree = tmp_path / "tree"
    tree.mkdir()
    build_cub(tree)
    path = tmp_path / "server" / "CUB_200_2011.tgz"
    with tarfile.open(path, "w:gz") as archive:
        archive.add(tree / "CUB_200_2011", "CUB_200_2011")
    return path


def md5_of(path):
    return hashlib.md5(path.read_bytes()).hexdigest()


def archive_of(address, path, **changes):
    arguments = {
        "url": f"{address}/{path.name}",
        "filename": path.name,
        "provides": "CUB_200_2011",
        "md5": md5_of(path),
    }
    return Archive(**(arguments | changes))


def test_the_command_downloads_once(address, served, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("PML_HIERARCHICAL_CACHE", str(tmp_path / "cache"))
    changed = replace(DATASETS["cub"], archives=(archive_of(address, served),))
    monkeypatch.setitem(DATASETS, "cub", changed)
    root = tmp_path / "new" / "root"
    command = ["describe", "cub", "--data-root", str(root), "--out", str(tmp_path / "out")]
    assert main(command) == 2
    assert main([*command, "--download"]) == 0
    assert [path.name for path in root.iterdir()] == ["CUB_200_2011"]
    served.unlink()
    assert main([*command, "--download"]) == 0
    assert "cub: 21 images" in capsys.readouterr().out


def test_a_wrong_checksum(address, served, tmp_path):
    with pytest.raises(OSError, match=r"cannot download http:.*MD5 checksum 0123.*save it as"):
        fetch([archive_of(address, served, md5="0123")], tmp_path / "root")
    assert not list((tmp_path / "root").iterdir())


def test_an_address_that_is_gone(address, served, tmp_path):
    gone = archive_of(address, served, url=f"{address}/gone.tgz", md5=None)
    with pytest.raises(OSError, match=r"cannot download http:.*gone\.tgz"):
        fetch([gone], tmp_path / "root")


def test_a_download_that_fails_is_tried_again(server, address, served, tmp_path):
    server.failures = RETRIES
    fetch([archive_of(address, served)], tmp_path / "root")
    assert (tmp_path / "root" / "CUB_200_2011" / "images.txt").is_file()
    server.failures, server.requests = RETRIES + 1, 0
    with pytest.raises(OSError, match=r"cannot download http:.*503"):
        fetch([archive_of(address, served)], tmp_path / "other")
    assert not list((tmp_path / "other").iterdir())


def test_half_a_download_is_not_taken_for_a_whole(address, served, tmp_path):
    root = tmp_path / "root"
    left = root / "CUB_200_2011.tgz.part"
    left.mkdir(parents=True)
    (left / served.name).write_bytes(served.read_bytes()[:100])
    fetch([archive_of(address, served, md5=None)], root)
    assert (root / "CUB_200_2011" / "images.txt").is_file()
    assert not list(root.glob("*.part"))


def test_an_archive_that_lies_there_is_extracted(served, tmp_path):
    root = tmp_path / "root"
    root.mkdir()
    served.rename(root / served.name)
    (root / "CUB_200_2011").mkdir()  # from an extraction that was interrupted
    fetch([Archive("file:///nowhere", served.name, "CUB_200_2011")], root)
    assert (root / "CUB_200_2011" / "images.txt").is_file()
    assert not (root / served.name).exists()


@pytest.mark.parametrize("name", ["a.zip", "a.tgz"])
def test_a_damaged_archive(tmp_path, name):
    (tmp_path / name).write_bytes(b"404")
    with pytest.raises(OSError, match=rf"{name} cannot be extracted .*delete it"):
        fetch([Archive("file:///nowhere", name, "a")], tmp_path)


def test_a_zip_is_checked_by_its_own_checksums(tmp_path):
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr("a/b", b"content")
    content = (tmp_path / "a.zip").read_bytes()
    (tmp_path / "a.zip").write_bytes(content.replace(b"content", b"contend"))
    with pytest.raises(OSError, match=r"cannot be extracted .*CRC"):
        fetch([Archive("file:///nowhere", "a.zip", "a")], tmp_path)


def test_an_archive_that_lies_there_is_checked(served, tmp_path):
    """By the same checksum as one that was downloaded."""
    root = tmp_path / "root"
    root.mkdir()
    archive = Archive("file:///nowhere", served.name, "CUB_200_2011", md5_of(served))
    content = served.read_bytes()
    (root / served.name).write_bytes(content + b" ")
    with pytest.raises(OSError, match=r"CUB_200_2011\.tgz does not have the MD5 checksum"):
        fetch([archive], root)
    assert [path.name for path in root.iterdir()] == [served.name]
    (root / served.name).write_bytes(content)
    fetch([archive], root)
    assert (root / "CUB_200_2011" / "images.txt").is_file()


def test_an_archive_without_the_data_set_is_named_and_kept(tmp_path):
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr("b/c", b"content")
    with pytest.raises(OSError, match=r"a\.zip does not hold a: delete"):
        fetch([Archive("file:///nowhere", "a.zip", "a")], tmp_path)
    assert (tmp_path / "a.zip").exists()


OUTSIDE = ("../evil", "a/../../evil", "{outside}/evil", "link/evil")


@pytest.mark.parametrize("member", OUTSIDE)
@pytest.mark.parametrize("kind", ["zip", "tar.gz"])
def test_nothing_is_written_outside(tmp_path, kind, member):
    root, outside = tmp_path / "root", tmp_path / "outside"
    root.mkdir()
    outside.mkdir()
    name = member.format(outside=outside)
    if name.startswith("link"):
        (root / "link").symlink_to(outside)
    pack_members(root / f"a.{kind}", {"a/b": b"good", name: b"evil"})
    try:
        fetch([Archive("file:///nowhere", f"a.{kind}", "a")], root)
    except OSError as error:
        assert "cannot be extracted" in str(error)  # noqa: PT017
    assert not [path for path in tmp_path.rglob("evil") if root not in path.parents]
    assert not list(outside.iterdir())


@pytest.mark.parametrize("linked", [tarfile.SYMTYPE, tarfile.LNKTYPE])
def test_links_in_an_archive_lead_nowhere_else(tmp_path, linked):
    root, outside = tmp_path / "root", tmp_path / "outside"
    root.mkdir()
    outside.mkdir()
    (outside / "secret").write_text("mine")
    with tarfile.open(root / "a.tgz", "w:gz") as archive:
        for name, target in (("a", "../outside"), ("b", str(outside)), ("c", "../outside/secret")):
            member = tarfile.TarInfo(name)
            member.type, member.linkname = linked, target
            archive.addfile(member)
        member = tarfile.TarInfo("a/evil")
        member.size = 4
        archive.addfile(member, io.BytesIO(b"evil"))
    with pytest.raises(OSError, match="cannot be extracted"):
        fetch([Archive("file:///nowhere", "a.tgz", "a")], root)
    assert [path.name for path in outside.iterdir()] == ["secret"]


def pack_members(path, members):
    if path.suffix == ".zip":
        with zipfile.ZipFile(path, "w") as archive:
            for name, content in members.items():
                archive.writestr(name, content)
        return
    with tarfile.open(path, "w:gz") as archive:
        for name, content in members.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))


@pytest.mark.parametrize(
    ("name", "root", "message"),
    [
        ("glyphs", "x", "glyphs needs no files"),
        ("folder", "x", "folder has no download. Expected"),
        ("grocery", "x", "grocery has no download. Expected .*Clone"),
        ("cub", None, "--download needs a --data-root"),
    ],
)
def test_what_cannot_be_downloaded(name, root, message, tmp_path):
    with pytest.raises(ValueError, match=f"(?s){message}"):
        download_dataset(name, root and tmp_path / root)


def test_run_takes_it_too(tmp_path, capsys):
    command = ["run", "--dataset", "inshop", "--download", "--data-root", str(tmp_path)]
    assert main([*command, "--out", str(tmp_path / "runs")]) == 2
    assert "--download: inshop has no download. Expected" in capsys.readouterr().err
