"""Changes to HPL that the study tries before any of them becomes part of the loss."""

from __future__ import annotations

from collections.abc import Callable

from .idea import Idea
from .projection import Projected
from .pulled_back import PulledBack
from .relative_weights import RelativeToGradient, RelativeToLoss
from .stable_superclasses import OnlyStable
from .tree_margin import RepelOthersMore, RepelSiblingsMore

IDEAS: dict[str, Callable[[float], Idea]] = {
    "relative_to_loss": RelativeToLoss,
    "relative_to_gradient": RelativeToGradient,
    "repel_siblings_more": RepelSiblingsMore,
    "repel_others_more": RepelOthersMore,
    "only_stable": OnlyStable,
    "pulled_back": PulledBack,
    "projected": Projected,
}

__all__ = ["IDEAS", "Idea"]
