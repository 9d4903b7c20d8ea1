"""Whether a gallery is older than its pictures."""

from __future__ import annotations

import os
import shlex
from dataclasses import dataclass
from pathlib import Path

from ..names import printable
from ..wording import counted
from .embed_pictures import find_pictures, named, state_of
from .gallery_index import Index

NOTED = ("root", "sizes", "times", "inputs")  # an index built in Python lacks some


@dataclass(frozen=True)
class Changes:
    """How many pictures of a gallery have changed, gone or been added since they were embedded.

    Attributes:
        not_seen: why some could not be looked at; ``None`` if all were.
    """

    changed: int
    gone: int
    new: int
    not_seen: str | None = None

    def __bool__(self) -> bool:
        return bool(self.changed or self.gone or self.new)


def is_noted(index: Index) -> bool:
    """Whether a gallery notes what :func:`changes_since` compares about its files."""
    noted = [index.about.get(key) for key in ("sizes", "times")]
    is_whole = all(isinstance(one, list) and len(one) == len(index) for one in noted)
    return is_whole and all(key in index.about for key in NOTED)


def changes_since(index: Index) -> Changes:
    """Compare the files with what the gallery noted about them: path, size and time of each.

    New pictures are looked for in the folders and lists that were embedded, as far as they exist.

    Arguments:
        index: one for which :func:`is_noted` is true.
    """
    root = Path(index.about["root"])
    changed = gone = 0
    not_seen = None
    noted = zip(index.paths, index.about["sizes"], index.about["times"], strict=True)
    for path, size, time in noted:
        try:
            state = (root / path).stat()
        except (FileNotFoundError, NotADirectoryError):
            gone += 1
        except OSError as error:
            not_seen = str(error)
        else:
            changed += (state.st_size, state.st_mtime_ns) != (size, time)
    new = 0
    if gone < len(index):
        try:
            new = _number_of_new(index, root)
        except (OSError, ValueError) as error:
            not_seen = str(error)
    return Changes(changed, gone, new, not_seen)


def _number_of_new(index: Index, root: Path) -> int:
    inputs = [Path(one) for one in index.about["inputs"] if Path(one).exists()]
    if not inputs:
        return 0
    found = find_pictures(inputs, skip_broken=None)
    known = {str(root / path) for path in index.paths} | _still_left_out(index)
    files = [str(found.root / path) for path in found.paths]
    # a list may name files that do not exist
    return sum(file not in known and os.path.exists(file) for file in files)


def _still_left_out(index: Index) -> set[str]:
    """The files that were left out and have not been changed since, as far as that is noted."""
    noted = (index.about.get(key, []) for key in ("left_out", "left_out_states"))
    return {file for file, was in zip(*noted, strict=False) if state_of(file) == was}


def age_warning(index: Index, gallery: Path, model: Path | None = None) -> str | None:
    """What to tell the user about a gallery that is older than its pictures; ``None`` if it is not.

    Also ``None`` if the gallery does not say, see :func:`is_noted`.

    Arguments:
        model: the folder of its model; by default where it was when the pictures were embedded.
    """
    if not is_noted(index):
        return None
    changes = changes_since(index)
    told = []
    if changes.not_seen:
        told.append(
            f"not all pictures of {printable(gallery)} could be looked at, to see if any were "
            f"changed or are new: {printable(changes.not_seen)}"
        )
    if changes:
        parts = {"changed": changes.changed, "gone": changes.gone, "new": changes.new}
        counts = ", ".join(f"{number:,} {what}" for what, number in parts.items() if number)
        told.append(
            f"{printable(gallery)} is older than its {counted(len(index), 'picture')} ({counts}). "
            f"Update it: {update_command(index, gallery, model)}"
        )
    return ". ".join(told) or None


def update_command(index: Index, gallery: Path, model: Path | None = None) -> str:
    """The commands that embed what changed and index again, as they can be typed.

    A word in capitals stands for what is no longer where it was; what follows the commands says so.

    Arguments:
        model: the folder of the model; by default where it was when the pictures were embedded.
    """
    about = index.about
    if not {"model", "inputs", "embeddings_folder"} <= about.keys():  # it was built in Python
        return "embed its pictures and index them again"
    moved: dict[str, list[str]] = {}

    def there(word: str, *places: str) -> list[str]:
        gone = [place for place in places if not os.path.exists(place)]
        if not gone:
            return list(places)
        moved[word] = gone
        return [place for place in places if place not in gone] + [word]

    made_by = [*there("MODEL", str(model or about["model"])), *there("PICTURES", *about["inputs"])]
    folder = there("EMBEDDINGS", about["embeddings_folder"])
    embed = ["embed", *made_by, "--out", *folder]
    embed += ["--skip-broken"] if about.get("left_out") else []
    make = ["index", *folder, "--out", str(gallery), "--kind", index.kind]
    commands = " && ".join(
        shlex.join(["pml-hierarchical", *map(printable, one)]) for one in (embed, make)
    )
    told = ", ".join(f"{word} is no longer {named(places)}" for word, places in moved.items())
    return f"{commands} ({told}: write where they are now)" if told else commands
