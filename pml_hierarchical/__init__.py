"""Hierarchical proxy losses for pytorch-metric-learning."""

from .hierarchy import Hierarchy

__version__ = "0.1.0"
__all__ = ["Hierarchy", "__version__"]
