"""Downloads: from the addresses that PML and torchvision use, checked and with a progress bar."""

from __future__ import annotations

import lzma
import os
import tarfile
import zipfile
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from torchvision.datasets.utils import check_integrity, download_url

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

    An archive is removed once it is extracted, so one that lies there is extracted again. Its
    checksum is compared in both cases.

    Raises:
        OSError: if something cannot be downloaded, has another checksum, or cannot be extracted
            into ``root`` alone; says which file, and what to do.
    """
    root.mkdir(parents=True, exist_ok=True)
    for archive in archives:
        file = root / archive.filename
        if not file.exists():
            if (root / archive.provides).exists():
                continue
            _download(archive, file)
        elif archive.md5 and not check_integrity(str(file), archive.md5):
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
    """Under another name first: without a checksum nothing else tells half a file from a whole."""
    partial = file.with_name(f"{file.name}.part")
    partial.unlink(missing_ok=True)
    try:
        download_url(archive.url, str(file.parent), partial.name, archive.md5)
    except (OSError, RuntimeError) as error:
        partial.unlink(missing_ok=True)
        reason = f"expected the MD5 checksum {archive.md5}" if archive.md5 else "no checksum known"
        raise OSError(
            f"cannot download {archive.url} ({error}; {reason}). Try again, or fetch it by other "
            f"means, save it as {file} and give --download again to extract it"
        ) from error
    os.replace(partial, file)
