"""Search with a trained network: what a model is outside of its training."""

from .model import RetrievalModel

__all__ = ["RetrievalModel"]
