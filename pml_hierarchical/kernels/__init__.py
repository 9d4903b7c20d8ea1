"""The proxy losses of PML over all levels of a hierarchy at once: values and gradients in one node.

The formulas are in :mod:`.anchor` and :mod:`.softmax`; :mod:`.small` applies them to one small
matrix, :mod:`.blocks` to a block of classes at a time.
"""

from .autograd import AllLevels
from .columns import Share
from .settings import Settings

__all__ = ["AllLevels", "Settings", "Share"]
