"""The proxy losses of PML over all levels of a hierarchy at once: values and gradients in one node.

Pure functions on tensors: :func:`proxy_anchor`, :func:`proxy_nca`, :func:`normalized_softmax`,
:func:`cosface` and :func:`arcface`.
"""

from .functional import arcface, cosface, normalized_softmax, proxy_anchor, proxy_nca

__all__ = ["arcface", "cosface", "normalized_softmax", "proxy_anchor", "proxy_nca"]
