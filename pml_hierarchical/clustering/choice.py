"""What a user may say for a clusterer -> the clusterer."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from .agglomerative import Agglomerative
from .base import Clusterer
from .from_function import FromFunction
from .lloyd import KMeans, KMeansStep

BY_NAME: dict[str, Callable[[], Clusterer]] = {
    "kmeans": KMeans,
    "kmeans_step": KMeansStep,
    "agglomerative": Agglomerative,
}


def get_clusterer(spec: Any) -> Clusterer:
    """The clusterer that ``spec`` asks for.

    Arguments:
        spec: ``"kmeans"``, ``"kmeans_step"``, ``"agglomerative"``, a :class:`Clusterer`, or a
            function as :class:`FromFunction` takes it.

    Raises:
        TypeError: for a class instead of an instance of it, or something else altogether.
        ValueError: for an unknown name.

    Example:
        >>> get_clusterer("kmeans")
        KMeans(iterations=25, restarts=5, balance=None, warm_iterations=2)
    """
    choices = f"one of {', '.join(map(repr, BY_NAME))}, a Clusterer or a function"
    if isinstance(spec, Clusterer):
        return spec
    if isinstance(spec, str):
        if spec not in BY_NAME:
            raise ValueError(f"clusterer must be {choices}; got {spec!r}")
        return BY_NAME[spec]()
    if isinstance(spec, type) and issubclass(spec, Clusterer):
        raise TypeError(
            f"clusterer must be {choices}; got the class {spec.__name__}: make an instance, "
            f"{spec.__name__}(...)"
        )
    if callable(spec):
        return FromFunction(spec)
    raise TypeError(f"clusterer must be {choices}; got {spec!r}")
