"""From the folder of ``embed`` to a gallery, and how good its approximation is."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from pml_hierarchical import Hierarchy

from .embed_folder import MODEL_FILE, read_embeddings, tree_of
from .gallery_index import Index

KEPT = ("root", "sizes", "times", "fingerprint", "model", "inputs", "known", "left_out")
NUM_QUERIES = 200  # to measure the recall


def index_gallery(folder: Path, out: Path, kind: str) -> str:
    """Index the embeddings of a folder; returns what to tell the user.

    Arguments:
        folder: of the embeddings.
        out: of the gallery.
        kind: ``"auto"`` or one of :data:`.gallery_index.KINDS`.

    Raises:
        ValueError, OSError: see :func:`~.embed_folder.read_embeddings`; or the gallery cannot be
            written.
    """
    embeddings, pictures = read_embeddings(folder)
    out.mkdir(parents=True, exist_ok=True)  # whether it can be written to shows before the work
    model = json.loads((folder / MODEL_FILE).read_bytes())
    tree = model["hierarchy"] and Hierarchy.from_dict(model["hierarchy"])
    index = Index.build(
        embeddings,
        pictures["paths"],
        pictures["classes"],
        tree_of(model["class_names"], tree),
        kind,
        embeddings_folder=str(folder.resolve()),
        **{key: pictures[key] for key in KEPT},
    )
    index.save(out)
    size = (out / "index.faiss").stat().st_size / 2**20
    summary = f"{index.kind} index of {len(index):,} pictures, {size:.1f} MiB"
    if index.kind == "exact":
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
