"""Hierarchical proxy losses for pytorch-metric-learning."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .hierarchy import Hierarchy

__version__ = "0.1.0"
__all__ = ["Hierarchy", "__version__"]


def __getattr__(name: str) -> Any:
    if name == "Hierarchy":  # loads torch, which `pml-hierarchical --help` does not need
        from .hierarchy import Hierarchy

        return Hierarchy
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
