"""From the folder of ``embed`` to a gallery, and how good its approximation is."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from ..files import LEFTOVERS, DamagedFileError, read_json
from ..locking import only_one_in
from ..names import printable
from ..wording import counted
from .embed_folder import MODEL_FILE, read_embeddings, read_tree
from .embeddings_on_disk import LIST_FILE
from .gallery_index import DESCRIPTION_FILE, ENGINE_FILE, Index

KEPT = (
    "root",
    "sizes",
    "times",
    "fingerprint",
    "model",
    "inputs",
    "known",
    "left_out",
    "left_out_states",
)
NUM_QUERIES = 200  # to measure the recall


def check_gallery_folder(out: Path) -> None:
    """Refuse a folder that holds something else, such as pictures, before any work is done.

    Hidden files are not looked at: systems put their own into every folder.

    Raises:
        FileExistsError: if ``out`` is neither empty nor a folder that ``index`` or ``embed`` wrote.
    """
    if not out.is_dir() or _is_gallery(out) or (out / LIST_FILE).exists():
        return
    others = (one for one in out.iterdir() if one.name[0] != "." and not one.match(LEFTOVERS))
    first = min(others, default=None)
    if first is not None:
        raise FileExistsError(
            f"--out {printable(out)} holds other files, such as {printable(first.name)}: choose "
            "another folder for the gallery, one that is new or empty"
        )


def _is_gallery(folder: Path) -> bool:
    """Whether a gallery was written there; a damaged one counts, it can be made again."""
    description = folder / DESCRIPTION_FILE
    if (folder / ENGINE_FILE).exists():
        return description.exists()
    try:
        read_json(description, {"kind": str, "paths": [str]})
    except (OSError, DamagedFileError):
        return False
    return True


def index_gallery(folder: Path, out: Path, kind: str) -> str:
    """Index the embeddings of a folder; returns what to tell the user.

    Arguments:
        folder: of the embeddings.
        out: of the gallery.
        kind: ``"auto"`` or one of :data:`.gallery_index.KINDS`.

    Raises:
        ValueError, OSError: see :func:`check_gallery_folder` and
            :func:`~.embed_folder.read_embeddings`; or the gallery cannot be written, or another
            command is making one in ``out``.
    """
    check_gallery_folder(out)
    embeddings, pictures = read_embeddings(folder)
    tree, classes = read_tree(folder), pictures["classes"]
    num_classes = 0 if tree is None else tree.num_classes
    if classes is not None and not 0 <= min(classes) <= max(classes) < num_classes:
        raise DamagedFileError(folder / MODEL_FILE, "it does not have all classes of the pictures")
    with only_one_in(out, below=False):  # whether it can be written to shows before the work
        index = Index.build(
            embeddings,
            pictures["paths"],
            classes,
            tree,
            kind,
            embeddings_folder=str(folder.resolve()),
            **{key: pictures[key] for key in KEPT},
        )
        index.save(out)
    size = (out / ENGINE_FILE).stat().st_size / 2**20
    summary = f"{index.kind} index of {counted(len(index), 'picture')}, {size:.1f} MiB"
    if index.kind == "exact" or len(index) < 2:  # one picture has no neighbours to be found
        return summary
    recall = recall_at(index, embeddings)
    return f"{summary}; it finds {recall:.1%} of the 10 exact neighbours (recall@10)"


def recall_at(index: Index, embeddings: np.ndarray, k: int = 10) -> float:
    """The share of the ``k`` exact neighbours that an approximate search finds, in 0..1.

    Arguments:
        embeddings: of the gallery; some of them are the queries, which do not count as found.
    """
    queries = np.arange(0, len(index), max(1, len(index) // NUM_QUERIES))
    vectors = embeddings[queries]
    exact = index.search(vectors, k + 1, among=np.arange(len(index)))[1]
    found = index.search(vectors, k + 1)[1]
    is_found = (exact[:, :, None] == found[:, None, :]).any(axis=2)
    return float(is_found[exact != queries[:, None]].mean())
