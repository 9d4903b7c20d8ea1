"""Proxies -> Hierarchy: discover superclasses by clustering the proxies of the fine classes."""

from .agglomerative import Agglomerative
from .base import Clusterer
from .choice import get_clusterer
from .discovery import discover
from .from_function import FromFunction
from .lloyd import KMeans, KMeansStep
from .points import group_means, unit_vectors
from .sizes import check_num_superclasses, default_num_superclasses, merged_sizes

__all__ = [
    "Agglomerative",
    "Clusterer",
    "FromFunction",
    "KMeans",
    "KMeansStep",
    "check_num_superclasses",
    "default_num_superclasses",
    "discover",
    "get_clusterer",
    "group_means",
    "merged_sizes",
    "unit_vectors",
]
