"""Downloads: from the addresses that PML and torchvision use, checked and with a progress bar."""

from __future__ import annotations

import lzma
import os
import shutil
import tarfile
import zipfile
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

RETRIES = 3  # of a download that fails, after 1, 2 and 3 seconds

_DAMAGED = (
    zipfile.BadZipFile,
    tarfile.TarError,
    EOFError,
    zlib.error,
    lzma.LZMAError,
    OSError,  # of gzip and bz2; also a full disk
    ValueError,  # a name that no file can have
    RuntimeError,  # an encrypted zip
    NotImplementedError,  # a way of packing that Python does not know
)


@dataclass(frozen=True)
class Archive:
    """A file to download and to extract.

    Attributes:
        url: where it is.
        filename: what it is called on disk; ``.zip`` for a zip, else it is a tar.
        provides: a path that is there once it is extracted.
        md5: its checksum; ``None`` where the source publishes none. What is inside is then
            checked by the archive's own checksums alone.
    """

    url: str
    filename: str
    provides: str
    md5: str | None = None


def fetch(archives: Sequence[Archive], root: Path) -> None:
    """Download and extract what is not there yet.

    An archive is removed once it is extracted, so one that is still there is extracted again. Its
    checksum is compared in both cases.

    Raises:
        OSError: if something cannot be downloaded, has another checksum, or cannot be extracted
            into ``root`` alone; says which file, and what to do.
    """
    import pooch  # in functions: those who only search pictures do not need it

    root.mkdir(parents=True, exist_ok=True)
    for archive in archives:
        file = root / archive.filename
        if not file.exists():
            if (root / archive.provides).exists():
                continue
            _download(archive, file)
        elif archive.md5 and pooch.file_hash(str(file), "md5") != archive.md5:
            raise OSError(
                f"{file} does not have the MD5 checksum {archive.md5}: it is damaged or another "
                "file. Delete it and try again"
            )
        try:
            _extract(file, root)
        except _DAMAGED as error:
            reason = (str(error).splitlines() or [type(error).__name__])[0].rstrip(":")
            raise OSError(
                f"{file} cannot be extracted ({reason}): delete it and try again"
            ) from error
        if not (root / archive.provides).exists():
            raise OSError(f"{file} does not hold {archive.provides}: delete it and try again")
        file.unlink()


def _extract(file: Path, root: Path) -> None:
    """Extract a zip or a tar; nothing is written outside of ``root``, nor through links.

    Not with pooch: before Python 3.12 its ``Untar`` follows links out of the folder, and its
    ``Unzip`` follows those that are in the folder already.

    Raises:
        OSError: if a member of a zip would lie outside; tarfile has errors of its own.
    """
    if file.suffix != ".zip":
        with tarfile.open(file) as archive:
            archive.extractall(root, filter="data")
        return
    with zipfile.ZipFile(file) as packed:
        for name in packed.namelist():
            if not (root / name).resolve().is_relative_to(root.resolve()):
                raise OSError(f"its member {name!r} would lie outside of {root}")
        packed.extractall(root)


def _download(archive: Archive, file: Path) -> None:
    """Download into a separate folder first, so that a killed process's leftovers are found."""
    import pooch

    partial = file.with_name(f"{file.name}.part")
    shutil.rmtree(partial, ignore_errors=True)
    known = f"md5:{archive.md5}" if archive.md5 else None
    fetcher = pooch.create(
        partial,
        base_url="",
        registry={file.name: known},
        urls={file.name: archive.url},
        retry_if_failed=RETRIES,
    )
    try:
        fetcher.fetch(
            file.name, downloader=pooch.HTTPDownloader(progressbar=True, chunk_size=2**20)
        )
        os.replace(partial / file.name, file)
    except (OSError, ValueError) as error:
        reason = f"expected the MD5 checksum {archive.md5}" if archive.md5 else "no checksum known"
        raise OSError(
            f"cannot download {archive.url} ({error}; {reason}). Try again, or fetch it by other "
            f"means, save it as {file} and give --download again to extract it"
        ) from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)
