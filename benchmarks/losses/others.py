"""Every other loss of PML that trains from embeddings and labels, and why the rest does not."""

from __future__ import annotations

from .other_pairs import OTHER_PAIR_LOSSES
from .other_proxies import OTHER_PROXY_LOSSES
from .rankings import RANKING_LOSSES
from .spec import LossSpec

OTHER_LOSSES: dict[str, LossSpec] = {
    spec.name: spec for spec in (*OTHER_PROXY_LOSSES, *OTHER_PAIR_LOSSES, *RANKING_LOSSES)
}

# In PML's ``losses``: classes that are not losses by themselves, and losses for another task
LEFT_OUT: dict[str, str] = {
    "BaseLossWrapper": "a base class",
    "BaseMetricLossFunction": "a base class",
    "CrossBatchMemory": "wraps a loss: contrastive_xbm is ContrastiveLoss in it",
    "EmbeddingRegularizerMixin": "a base class",
    "GenericPairLoss": "a base class",
    "InstanceLoss": (
        "PML's compares class number i of a batch with embedding number i, whatever its class: "
        "the order of a batch decides what it pulls together"
    ),
    "ManifoldLoss": "takes no labels: it learns from its own random proxies",
    "MultipleLosses": "a sum of losses; intra_pair_variance is one",
    "SelfSupervisedLoss": "wraps a loss for pairs of views without labels",
    "VICRegLoss": "takes no labels: it needs two views of each sample",
    "WeightRegularizerMixin": "a base class",
}
