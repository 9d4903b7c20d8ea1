"""Clusterers of proxies, in the form of PML's ``kmeans_func``: points, number -> labels."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ..core.superclasses import discover
from .agglomerative import Agglomerative
from .base import Clusterer
from .kmeans import KMeans, KMeansStep

__all__ = ["Agglomerative", "Clusterer", "KMeans", "KMeansStep", "discover", "get_clusterer"]

BY_NAME: dict[str, Callable[[], Any]]
BY_NAME = {"kmeans": KMeans, "kmeans_step": KMeansStep, "agglomerative": Agglomerative}


def get_clusterer(spec: Any) -> Any:
    """The clusterer that ``spec`` names, or ``spec`` itself if it is a function.

    Arguments:
        spec: ``"kmeans"``, ``"kmeans_step"``, ``"agglomerative"``, or a callable
            ``(points, num_clusters) -> labels``, see :func:`~pml_hierarchical.clustering.discover`.

    Raises ``TypeError`` for a class instead of an instance, or if it cannot be called, and
    ``ValueError`` for an unknown name.

    Example:
        >>> get_clusterer("kmeans")
        KMeans(iterations=25, restarts=5, balance=None, warm_iterations=2, seed=0)
    """
    if isinstance(spec, str) and spec in BY_NAME:
        return BY_NAME[spec]()
    if callable(spec) and not isinstance(spec, type):
        return spec
    names, got = ", ".join(map(repr, BY_NAME)), repr(spec)
    if isinstance(spec, type):
        got = f"the class {spec.__name__}: make an instance, {spec.__name__}(...)"
    error = ValueError if isinstance(spec, str) else TypeError
    rule = f"one of {names} or a function (points, num_clusters) -> labels"
    raise error(f"clusterer must be {rule}; got {got}")
