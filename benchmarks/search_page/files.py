"""The pictures of a gallery: only these files are served, and only as small JPEGs."""

from __future__ import annotations

import hashlib
import os
import stat
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from threading import BoundedSemaphore

from ..names import printable
from .reading import MOST_PIXELS, TOO_LARGE, as_jpeg, suffixes_shown, why_not_shown

AT_ONCE = 2  # each picture that is decoded may take 600 MB while it is converted
LARGEST_FILE = 4 * MOST_PIXELS  # bytes; what is larger has too many pixels in any usual format
USUAL_FILE = MOST_PIXELS // 32  # bytes; a photograph of too many pixels has more
LINK = "links to files outside their folder (add --follow-links if you made these links)"


class PictureFiles:
    """Finds and reads the pictures of a gallery by their rows.

    Arguments:
        root: the folder that ``paths`` are relative to.
        paths: one per row.
        follow_links: whether a link may lead out of ``root``.
    """

    def __init__(self, root: Path, paths: Sequence[str], follow_links: bool = False) -> None:
        self.root = root
        self.paths = paths
        self.follow_links = follow_links
        self._real_root = root.resolve()
        self._real_folders: dict[str, Path] = {}
        self._suffixes = suffixes_shown()
        self._decoding = BoundedSemaphore(AT_ONCE)

    def missing(self) -> int:
        """How many of the pictures do not exist."""
        # unlike Path.is_file this does not raise where a folder may not be read
        return sum(not os.path.isfile(self.root / path) for path in self.paths)

    def not_shown(self) -> dict[str, int]:
        """How many of the pictures that exist cannot be shown, by the reason.

        A gallery may have millions: a file is opened only if its suffix or its size gives a reason.
        """
        reasons = (self._why_not_shown(self.root / path) for path in self.paths)
        return dict(Counter(reason for reason in reasons if reason is not None))

    def _why_not_shown(self, file: Path) -> str | None:
        if not os.path.isfile(file):
            return None
        if not self.follow_links and self._leads_out(file):
            return LINK
        size = os.path.getsize(file)
        if size > LARGEST_FILE:
            return TOO_LARGE
        is_usual = file.suffix.lower() in self._suffixes and size < USUAL_FILE
        return None if is_usual else why_not_shown(file)

    def _leads_out(self, file: Path) -> bool:
        folder, name = os.path.split(file)
        if folder not in self._real_folders:  # of many files each folder is looked at once
            self._real_folders[folder] = Path(folder).resolve()
        real = self._real_folders[folder] / name
        return not (real.resolve() if real.is_symlink() else real).is_relative_to(self._real_root)

    def find(self, row: int) -> Path:
        """The file of a row, with all links resolved.

        Raises:
            FileNotFoundError: if it does not exist.
            PermissionError: if it is outside the folder or not a regular file.
        """
        shown = printable(self.paths[row])
        try:
            file = (self.root / self.paths[row]).resolve(strict=True)
            is_regular = stat.S_ISREG(file.stat().st_mode)  # a pipe would never end
        except (OSError, ValueError, RuntimeError) as error:  # a NUL in the name, links in a circle
            raise FileNotFoundError(f"{shown} does not exist any more.") from error
        if not is_regular:
            raise PermissionError(f"{shown} is not a regular file.")
        if not self.follow_links and not file.is_relative_to(self._real_root):
            raise PermissionError(
                f"{shown} is outside the folder of the gallery's pictures. If these are links "
                "that you made, start the page with --follow-links."
            )
        return file

    def version(self, row: int, side: int) -> str:
        """A text that changes with the picture, for the browser's cache. Raises as ``find``."""
        file = self.find(row)
        state = file.stat()
        text = f"{file}\0{state.st_size}\0{state.st_mtime_ns}\0{side}"
        return hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()[:32]

    def jpeg(self, row: int, side: int) -> bytes:
        """A picture of at most ``side`` x ``side`` pixels.

        Raises:
            OSError: see :meth:`find`; or it may not be read.
            ValueError: if it is not a picture that can be read, or too large.
        """
        file = self.find(row)
        if file.stat().st_size > LARGEST_FILE:
            raise ValueError(f"The file is larger than {LARGEST_FILE // 10**6} MB.")
        with self._decoding:
            return as_jpeg(file.read_bytes(), side)
