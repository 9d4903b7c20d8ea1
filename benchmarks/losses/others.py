"""Every other loss of PML that trains from embeddings and labels, and why the rest does not."""

from __future__ import annotations

from pml_hierarchical import losses

from .other_pairs import OTHER_PAIR_LOSSES
from .pml_fixes import SmoothAPLoss
from .spec import LossSpec

_PROXY_LOSSES = (
    LossSpec(
        "sub_center_arcface",
        losses.SubCenterArcFaceLoss,
        {"margin": 28.6, "scale": 64.0, "sub_centers": 3},
        "PML's defaults; loss: Deng et al. 2020; margin in degrees",
    ),
    LossSpec(
        "large_margin_softmax",
        losses.LargeMarginSoftmaxLoss,
        {"margin": 4, "scale": 1.0},
        "its authors (Liu et al. 2016), PML's defaults",
    ),
    LossSpec(
        "sphereface",
        losses.SphereFaceLoss,
        {"margin": 4, "scale": 1.0},
        "its authors (Liu et al. 2017), PML's defaults",
    ),
    LossSpec(
        "p2s_grad",
        losses.P2SGradLoss,
        {},
        "has no settings; loss: Zhang et al. 2019",
        proxy_learning_rate=0.003,  # its proxies have length 1, those of the others about 10
    ),
)
# on the order or the distribution of all similarities in a batch
_RANKING_LOSSES = (
    LossSpec(
        "fast_ap",
        losses.FastAPLoss,
        {"num_bins": 10},
        "its authors (Cakir et al. 2019), PML's default",
    ),
    LossSpec(
        "smooth_ap",
        SmoothAPLoss,
        {"temperature": 0.01},
        "its authors (Brown et al. 2020), PML's default",
    ),
    LossSpec(
        "pnp",
        losses.PNPLoss,
        {"variant": "O", "anneal": 0.01},
        "PML's defaults; loss: Li et al. 2022",
    ),
    LossSpec(
        "histogram",
        losses.HistogramLoss,
        {"n_bins": 100},
        "PML's default; loss: Ustinova & Lempitsky 2016",
    ),
    LossSpec(
        "ranked_list",
        losses.RankedListLoss,
        {"margin": 0.4, "alpha": 1.2, "imbalance": 0.5, "Tn": 5.0, "Tp": 0.0},
        "margin, alpha: its authors (Wang et al. 2019); Tn: the highest that PML takes without a "
        "warning; the others: PML's defaults",
    ),
)

OTHER_LOSSES: dict[str, LossSpec] = {
    spec.name: spec for spec in (*_PROXY_LOSSES, *OTHER_PAIR_LOSSES, *_RANKING_LOSSES)
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
