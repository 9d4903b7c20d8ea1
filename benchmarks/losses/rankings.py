"""The losses of PML on the order or the distribution of all similarities in a batch."""

from __future__ import annotations

from pml_hierarchical import losses

from .pml_fixes import SmoothAPLoss
from .spec import LossSpec

RANKING_LOSSES: tuple[LossSpec, ...] = (
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
