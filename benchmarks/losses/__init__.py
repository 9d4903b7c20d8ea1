"""The loss registry: PML's losses with published settings, and HPL on any proxy loss of them."""

from .baselines import BASELINES
from .lookup import ALL_LOSSES, DEFAULT_LOSSES, HPL_PREFIXES, find_loss, hierarchical_bases
from .others import LEFT_OUT, OTHER_LOSSES
from .spec import LossSpec

__all__ = [
    "ALL_LOSSES",
    "BASELINES",
    "DEFAULT_LOSSES",
    "HPL_PREFIXES",
    "LEFT_OUT",
    "OTHER_LOSSES",
    "LossSpec",
    "find_loss",
    "hierarchical_bases",
]
