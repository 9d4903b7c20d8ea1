"""Search with a trained network: its model, embeddings of many pictures, and galleries.

:class:`RetrievalModel` needs nothing from the suite; ``embed`` and ``Index`` are what its commands
``embed`` and ``index`` run, and are imported when they are used.
"""

from typing import Any

from ..suite import import_suite
from .model import RetrievalModel

__all__ = ["BrokenPicturesError", "Index", "RetrievalModel", "embed"]


def __getattr__(name: str) -> Any:
    if name == "Index":
        return import_suite("search.gallery_index").Index
    if name in ("BrokenPicturesError", "embed"):
        return getattr(import_suite("search.embeddings_on_disk"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
