"""Where the files of a data set are expected, and what is said when they are not there."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Layout:
    """The files by which a data set is recognised below ``--data-root``.

    Attributes:
        name: of the data set, as in ``--dataset``.
        required: paths of files and folders, relative to the data set's root.
        tree: the same for a person to read, several lines.
        source: where to get the data set.
        places: where the root may be, relative to ``--data-root``.
        zipped: whether ``--data-root`` may be a zip that holds the data set.
    """

    name: str
    required: tuple[str, ...]
    tree: str
    source: str
    places: tuple[str, ...] = (".",)
    zipped: bool = False

    @property
    def expected(self) -> str:
        """What to put where."""
        tree = self.tree.strip("\n")
        return f"Expected in the folder of the data set:\n{tree}.\n{self.source}"

    def given(self, data_root: Path | None) -> Path:
        """The ``--data-root``, which must be given and exist.

        Raises:
            FileNotFoundError: otherwise; says what is expected. A ``NotADirectoryError`` for a file
                where a folder is expected.
        """
        if data_root is None:
            raise FileNotFoundError(
                f"the data set {self.name} needs a --data-root. {self.expected}"
            )
        if not data_root.exists():
            raise FileNotFoundError(f"the folder {data_root} does not exist. {self.expected}")
        if not data_root.is_dir() and not self.zipped:
            raise NotADirectoryError(
                f"{data_root} is a file and not a folder: extract it if it is an archive, and give "
                f"the folder. {self.expected}"
            )
        return data_root

    def find(self, data_root: Path | None) -> Path:
        """The root of the data set, in one of its places.

        Raises:
            FileNotFoundError: if something is missing there; says what, and what is expected.
        """
        given = self.given(data_root)
        roots = [Path(os.path.normpath(given.absolute() / place)) for place in self.places]
        missing = {
            root: [path for path in self.required if not (root / path).exists()] for root in roots
        }
        best = min(roots, key=lambda root: len(missing[root]))
        if not missing[best]:
            return best
        where = given if len(missing[best]) == len(self.required) else best
        raise FileNotFoundError(f"{where} has no {', '.join(missing[best])}. {self.expected}")

    def unreadable(self, root: Path, error: Exception) -> ValueError:
        """The error for files that are there but hold something else."""
        return ValueError(
            f"the lists of the data set {self.name} in {root} cannot be read "
            f"({type(error).__name__}: {error}). {self.expected}"
        )
