"""The nine losses that HPL is compared with."""

from __future__ import annotations

from pytorch_metric_learning import miners

from pml_hierarchical import losses

from .spec import LossSpec

MUSGRAVE = "Musgrave et al. 2020, found by search on CUB/Cars196/SOP"

BASELINES: dict[str, LossSpec] = {
    spec.name: spec
    for spec in (
        LossSpec(
            "contrastive",
            losses.ContrastiveLoss,
            {"pos_margin": 1.0, "neg_margin": 0.4, "distance": "CosineSimilarity"},
            f"cosine margins: {MUSGRAVE} (0.84-1.0 and 0.26-0.6)",
        ),
        LossSpec(
            "triplet_margin",
            losses.TripletMarginLoss,
            {"margin": 0.1},
            f"margin: {MUSGRAVE} (0.05-0.19); semi-hard triplets: Schroff et al. 2015",
            miner_class=miners.TripletMarginMiner,
            miner_arguments={"margin": 0.1, "type_of_triplets": "semihard"},
        ),
        LossSpec(
            "multi_similarity",
            losses.MultiSimilarityLoss,
            {"alpha": 2.0, "beta": 50.0, "base": 0.5},
            "its authors (Wang et al. 2019), with their miner",
            miner_class=miners.MultiSimilarityMiner,
            miner_arguments={"epsilon": 0.1},
        ),
        LossSpec(
            "normalized_softmax",
            losses.NormalizedSoftmaxLoss,
            {"temperature": 0.05},
            "its authors (Zhai & Wu 2019)",
        ),
        LossSpec(
            "cosface",
            losses.CosFaceLoss,
            {"margin": 0.35, "scale": 64.0},
            "its authors (Wang et al. 2018), PML's defaults",
        ),
        LossSpec(
            "arcface",
            losses.ArcFaceLoss,
            {"margin": 28.6, "scale": 64.0},
            "its authors (Deng et al. 2019), PML's defaults; margin in degrees",
        ),
        LossSpec(
            "soft_triple",
            losses.SoftTripleLoss,
            {"centers_per_class": 10, "la": 20.0, "gamma": 0.1, "margin": 0.01},
            "its authors (Qian et al. 2019), PML's defaults",
            proxy_learning_rate=0.001,
        ),
        LossSpec(
            "proxy_nca",
            losses.ProxyNCALoss,
            {"softmax_scale": 10.7},
            f"scale (the temperature of Proxy-NCA++): {MUSGRAVE} (8.0-14.0)",
        ),
        LossSpec(
            "proxy_anchor",
            losses.ProxyAnchorLoss,
            {"margin": 0.1, "alpha": 32.0},
            "its authors (Kim et al. 2020)",
            proxy_learning_rate=0.003,
        ),
    )
}
