"""The hierarchical proxy loss with its classes divided among the processes of a training.

:class:`ShardedHierarchicalProxyLoss` is what to use; the other files are what it is made of.
"""

from .loss import ShardedHierarchicalProxyLoss

__all__ = ["ShardedHierarchicalProxyLoss"]
