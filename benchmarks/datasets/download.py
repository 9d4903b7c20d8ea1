"""Downloads: from the addresses that PML and torchvision use, checked and with a progress bar."""

from __future__ import annotations

import os
import tarfile
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from torchvision.datasets.utils import download_url, extract_archive


@dataclass(frozen=True)
class Archive:
    """A file to download and to extract.

    Attributes:
        url: where it is.
        filename: what it is called on disk; its ending says how it is packed.
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

    An archive is removed once it is extracted, so one that lies there is extracted again.

    Raises:
        OSError: if something cannot be downloaded, has another checksum, or cannot be extracted;
            says which file, and what to do.
    """
    root.mkdir(parents=True, exist_ok=True)
    for archive in archives:
        file = root / archive.filename
        if not file.exists():
            if (root / archive.provides).exists():
                continue
            _download(archive, file)
        try:
            extract_archive(str(file), str(root), remove_finished=True)
        except (zipfile.BadZipFile, tarfile.TarError, EOFError) as error:
            raise OSError(
                f"{file} cannot be extracted ({error}): delete it and try again"
            ) from error


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
