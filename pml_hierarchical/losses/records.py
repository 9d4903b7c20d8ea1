"""What an update of the hierarchy changed, as attributes that PML's record keeper reads."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from sklearn.metrics import normalized_mutual_info_score

from ..hierarchy import Hierarchy


class UpdateRecords:
    """Names the records of a loss and fills them.

    Arguments:
        is_given: for every level whether it is given.
        taxonomy: a known tree that discovered levels are compared with, each with the taxonomy's
            level of the same number or its coarsest.
    """

    def __init__(self, is_given: Sequence[bool], taxonomy: Hierarchy | None) -> None:
        self.taxonomy = taxonomy
        self.discovered = [level for level, given in enumerate(is_given) if not given]
        self.level = self.discovered[0] if self.discovered else 1
        self.names = ["share_moved", "smallest_superclass", "largest_superclass", "update_seconds"]
        if taxonomy is not None:
            self.names += [f"nmi_level{level}" for level in self.discovered]

    def update(
        self, loss_func: Any, before: Hierarchy | None, after: Hierarchy, seconds: float
    ) -> None:
        """Set the attributes of ``loss_func`` after an update."""
        superclasses = after.class_labels[:, self.level]
        members = np.bincount(superclasses)
        loss_func.smallest_superclass = int(members.min())
        loss_func.largest_superclass = int(members.max())
        if before is not None:
            loss_func.share_moved = float(
                np.mean(before.class_labels[:, self.level] != superclasses)
            )
        loss_func.update_seconds = seconds
        if self.taxonomy is None:
            return
        known = self.taxonomy.class_labels
        for level in self.discovered:
            truth = known[:, min(level, self.taxonomy.num_levels - 1)]
            # classes that were added to the loss are unknown to the taxonomy
            found = after.class_labels[: len(truth), level]
            setattr(loss_func, f"nmi_level{level}", normalized_mutual_info_score(truth, found))
