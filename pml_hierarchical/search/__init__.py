"""Search with a trained network: what a model is outside of its training."""

from .embedding import BrokenPicturesError, embed
from .index import Index
from .model import RetrievalModel

__all__ = ["BrokenPicturesError", "Index", "RetrievalModel", "embed"]
