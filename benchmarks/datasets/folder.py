"""A folder of one's own: ``superclass/.../class/image``."""

from __future__ import annotations

import os
import warnings
from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from PIL import Image

from pml_hierarchical.search.pictures import readable_formats

from ..names import printable
from ..unreadable import TOO_LARGE
from .layout import Layout
from .photographs import Photographs, list_photographs

NAMED = 5  # folders, in a message
NO_PICTURE, LOCKED = "missing or not a picture", "no permission to read"

LAYOUT = Layout(
    name="folder",
    required=(),
    tree="""
    SUPERCLASS/CLASS/IMAGE.jpg, with any number of superclasses, the same number everywhere
""",
    source="An image is any file that Pillow can decode, whatever its suffix",
)


@dataclass
class Found:
    """What a folder holds, in the order of the paths.

    Attributes:
        images: files that have the suffix or the first bytes of a picture.
        others: the other files.
        unread: what is not read: hidden folders with images, and links to what is read elsewhere.
        empty: folders that hold files but no image, either directly or further below.
    """

    images: list[Path] = field(default_factory=list)
    others: list[Path] = field(default_factory=list)
    unread: list[Path] = field(default_factory=list)
    empty: list[Path] = field(default_factory=list)


def search(root: Path) -> Found:
    """Look for images in a folder and below; hidden files are ignored.

    A link is followed unless it leads to what is read elsewhere, so that no picture is read twice
    and links in a circle come to an end; a link to a folder inside ``root`` is never followed.

    Raises:
        OSError: if a folder cannot be read.
    """
    found = Found()
    suffixes = readable_suffixes()
    top = os.path.realpath(root)
    known: set[str] = set()
    for place, folders, names in os.walk(root, onerror=_raise, followlinks=True):
        entered = []
        for name in sorted(folders):
            path = Path(place, name)
            real = os.path.realpath(path)
            if name.startswith("."):
                found.unread += [path] if _holds_images(path, suffixes) else []
            elif path.is_symlink() and (real in known or Path(real).is_relative_to(top)):
                found.unread.append(path)
            else:
                entered.append(name)
                known.add(real)
        folders[:] = entered
        files = [Path(place, name) for name in sorted(names) if not name.startswith(".")]
        images = [file for file in files if file.suffix.lower() in suffixes or is_picture(file)]
        found.images += images
        found.others += sorted(set(files) - set(images))
        if files and not images:
            found.empty.append(Path(place))
    direct = {image.parent for image in found.images}
    above = direct.union(*(folder.parents for folder in direct))
    found.empty = [folder for folder in found.empty if folder not in above]
    again = _read_before(found.images)
    found.images = [image for image in found.images if image not in again]
    found.unread += sorted(again)
    return found


def _read_before(images: Sequence[Path]) -> set[Path]:
    """Links to other images here: a picture that is read twice would be its nearest neighbour."""
    links = [image for image in images if image.is_symlink()]
    if not links:
        return set()
    known = {os.path.realpath(image) for image in set(images).difference(links)}
    again = set()
    for link in links:
        real = os.path.realpath(link)
        again |= {link} if real in known else set()
        known.add(real)
    return again


def readable_suffixes() -> frozenset[str]:
    """The suffixes of these formats in lower case, with their dots."""
    formats = readable_formats()
    return frozenset(s for s, name in Image.registered_extensions().items() if name in formats)


def is_picture(file: Path) -> bool:
    """Whether the first bytes of a file are those of a picture, whatever its name is.

    It may still be damaged further on, or too large.
    """
    return why_not_read(file) in (None, TOO_LARGE)


def why_not_read(file: Path) -> str | None:
    """What the first bytes of a file say against reading it as a picture; ``None`` for nothing."""
    if not file.is_file():  # a pipe would never end
        return NO_PICTURE
    try:
        with Image.open(file, formats=readable_formats()):
            return None
    except Image.DecompressionBombError:
        return TOO_LARGE
    except PermissionError:
        return LOCKED
    except Exception:  # what the decoders raise is not documented
        return NO_PICTURE


def list_folder(data_root: Path | None) -> Photographs:
    """One level per folder on the way to an image; the classes are shuffled and halved.

    A warning says which files and folders are not used; the files are in ``left_out``.

    Raises:
        FileNotFoundError: if there is no such folder, or no image in it.
        OSError: if a folder cannot be read.
        ValueError: if images lie at different depths, or beside the classes.
    """
    root = LAYOUT.given(data_root)
    found = search(root)
    files = found.images
    not_used = _not_used(found)
    if not files:
        raise FileNotFoundError(f"there is no image in {root}{not_used}. {LAYOUT.expected}")
    if not_used:
        warnings.warn(f"not all of {root} is read{not_used}", stacklevel=2)
    paths = [file.relative_to(root).parts[:-1] for file in files]
    shallowest = min(range(len(files)), key=lambda i: len(paths[i]))
    deepest = max(range(len(files)), key=lambda i: len(paths[i]))
    if not paths[shallowest]:
        raise ValueError(f"the image {files[shallowest]} is in no class. {LAYOUT.expected}")
    if len(paths[shallowest]) != len(paths[deepest]):
        raise ValueError(
            f"{files[shallowest]} is {len(paths[shallowest])} "
            f"level{'s' if len(paths[shallowest]) > 1 else ''} deep in {root}, but "
            f"{files[deepest]} is {len(paths[deepest])} levels deep. {LAYOUT.expected}"
        )
    superclasses = [f"superclass {level}" for level in range(1, len(paths[0]))]
    photographs = list_photographs("folder", root, files, paths, ("class", *superclasses))
    return replace(photographs, left_out=tuple(map(printable, found.others)))


def _not_used(found: Found) -> str:
    """What a person should know of a folder besides its images; empty if there is nothing."""
    parts = []
    if found.others:
        kinds = Counter(file.suffix.lower() or "no suffix" for file in found.others)
        counts = ", ".join(f"{count} {printable(kind)}" for kind, count in kinds.most_common(NAMED))
        what = "1 file is not a picture" if len(found.others) == 1 else "{} files are not pictures"
        parts.append(f"{what.format(len(found.others))} that Pillow can read ({counts})")
    if found.empty:
        parts.append(f"no picture is left in {_named(found.empty)}")
    if found.unread:
        parts.append(
            "hidden folders, and links to what is read elsewhere, are not read: "
            f"{_named(found.unread)}"
        )
    return "".join(f"; {part}" for part in parts)


def _named(folders: Sequence[Path]) -> str:
    more = f" and {len(folders) - NAMED} more" if len(folders) > NAMED else ""
    return ", ".join(map(printable, folders[:NAMED])) + more


def _holds_images(folder: Path, suffixes: Collection[str]) -> bool:
    names = (name for _, _, names in os.walk(folder) for name in names)
    return any(Path(name).suffix.lower() in suffixes for name in names)


def _raise(error: OSError) -> None:
    raise error
