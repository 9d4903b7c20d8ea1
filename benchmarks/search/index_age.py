"""Whether a gallery is older than its pictures."""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from pathlib import Path

from ..names import printable
from .embed_pictures import find_pictures
from .gallery_index import Index


@dataclass(frozen=True)
class Changes:
    """What happened to the pictures of a gallery since they were embedded: how many are what."""

    changed: int
    gone: int
    new: int

    def __bool__(self) -> bool:
        return bool(self.changed or self.gone or self.new)


def changes_since(index: Index) -> Changes:
    """Compare the files with what the gallery noted of them: path, size and time of each.

    New pictures are looked for in the folders and lists that were embedded, as far as they exist.
    """
    root = Path(index.about["root"])
    changed = gone = 0
    noted = zip(index.paths, index.about["sizes"], index.about["times"], strict=True)
    for path, size, time in noted:
        try:
            state = (root / path).stat()
        except OSError:
            gone += 1
        else:
            changed += (state.st_size, state.st_mtime_ns) != (size, time)
    inputs = [Path(one) for one in index.about["inputs"] if Path(one).exists()]
    new = 0
    if inputs and gone < len(index):
        found = find_pictures(inputs, skip_broken=None)
        known = {str(root / path) for path in index.paths} | set(index.about["left_out"])
        new = sum(str(found.root / path) not in known for path in found.paths)
    return Changes(changed, gone, new)


def age_warning(index: Index, gallery: Path) -> str | None:
    """What to tell the user of a gallery that is older than its pictures; ``None`` if it is not."""
    changes = changes_since(index)
    if not changes:
        return None
    parts = {"changed": changes.changed, "gone": changes.gone, "new": changes.new}
    counts = ", ".join(f"{number:,} {what}" for what, number in parts.items() if number)
    return (
        f"{printable(gallery)} is older than its {len(index):,} pictures ({counts}). "
        f"Update it: {update_command(index, gallery)}"
    )


def update_command(index: Index, gallery: Path) -> str:
    """The commands that embed what changed and index again, as they can be typed."""
    about = index.about
    embed = ["embed", about["model"], *about["inputs"], "--out", about["embeddings_folder"]]
    embed += ["--skip-broken"] if about["left_out"] else []
    make = ["index", about["embeddings_folder"], "--out", str(gallery), "--kind", index.kind]
    return " && ".join(
        shlex.join(["pml-hierarchical", *map(printable, one)]) for one in (embed, make)
    )
