"""The losses of PML on pairs and tuples of embeddings besides the baselines."""

from __future__ import annotations

from pytorch_metric_learning import miners

from pml_hierarchical import losses

from .baselines import MUSGRAVE
from .pml_fixes import DynamicSoftMarginLoss, IntraPairVarianceLoss
from .spec import LossSpec

OTHER_PAIR_LOSSES: tuple[LossSpec, ...] = (
    LossSpec(
        "contrastive_xbm",
        losses.ContrastiveLoss,
        {"pos_margin": 1.0, "neg_margin": 0.4, "distance": "CosineSimilarity"},
        f"margins as contrastive: {MUSGRAVE}; memory (Wang et al. 2020): PML's default size",
        memory_size=1024,
    ),
    LossSpec(
        "margin",
        losses.MarginLoss,
        {"margin": 0.2, "beta": 1.2, "nu": 0.0, "learn_beta": True},
        "its authors (Wu et al. 2017), with their miner and a beta for each class; the learning "
        "rate of beta is ours",
        proxy_learning_rate=0.001,
        miner_class=miners.DistanceWeightedMiner,
        miner_arguments={"cutoff": 0.5, "nonzero_loss_cutoff": 1.4},
    ),
    LossSpec(
        "ntxent",
        losses.NTXentLoss,
        {"temperature": 0.07},
        "PML's default, the temperature of He et al. 2020",
    ),
    LossSpec(
        "supcon",
        losses.SupConLoss,
        {"temperature": 0.1},
        "its authors (Khosla et al. 2020), PML's default",
    ),
    LossSpec(
        "circle",
        losses.CircleLoss,
        {"m": 0.4, "gamma": 80.0},
        "its authors (Sun et al. 2020) for fine-grained retrieval, PML's defaults",
    ),
    LossSpec(
        "angular",
        losses.AngularLoss,
        {"alpha": 40.0},
        "PML's default, in the range of its authors (Wang et al. 2017: 36-55); degrees",
    ),
    LossSpec(
        "lifted_structure",
        losses.LiftedStructureLoss,
        {"neg_margin": 1.0, "pos_margin": 0.0},
        "its authors (Oh Song et al. 2016), PML's defaults",
    ),
    LossSpec(
        "generalized_lifted_structure",
        losses.GeneralizedLiftedStructureLoss,
        {"neg_margin": 1.0, "pos_margin": 0.0},
        "PML's defaults, in the range of its authors (Hermans et al. 2017: 0.1-1)",
    ),
    LossSpec(
        "tuplet_margin",
        losses.TupletMarginLoss,
        {"margin": 5.73, "scale": 64.0},
        "its authors (Yu & Tao 2019), PML's defaults; margin in degrees",
    ),
    LossSpec(
        "intra_pair_variance",
        IntraPairVarianceLoss,
        {"margin": 5.73, "scale": 64.0, "pos_eps": 0.01, "neg_eps": 0.01, "weight": 0.5},
        "its authors (Yu & Tao 2019): beside tuplet_margin; weight: PML's documentation",
    ),
    LossSpec(
        "n_pairs",
        losses.NPairsLoss,
        {
            "distance": "DotProductSimilarity(normalize_embeddings=False)",
            "embedding_regularizer": "LpRegularizer(power=2)",
            "embedding_reg_weight": 0.02,
        },
        "embeddings of any length, held short by a regularizer: its author (Sohn 2016); the "
        "weight is ours",
    ),
    LossSpec(
        "nca",
        losses.NCALoss,
        {"softmax_scale": 1.0},
        "its authors (Goldberger et al. 2004), PML's default",
    ),
    LossSpec(
        "signal_to_noise_ratio_contrastive",
        losses.SignalToNoiseRatioContrastiveLoss,
        {"pos_margin": 0.0, "neg_margin": 1.0},
        "PML's defaults; loss: Yuan et al. 2019",
    ),
    LossSpec(
        "dynamic_soft_margin",
        DynamicSoftMarginLoss,
        {"min_val": -2.0, "num_bins": 10, "momentum": 0.01},
        "PML's defaults; loss: Zhang & Rusinkiewicz 2019",
    ),
    LossSpec(
        "threshold_consistent_margin",
        losses.ThresholdConsistentMarginLoss,
        {"lambda_plus": 1.0, "lambda_minus": 1.0, "margin_plus": 0.9, "margin_minus": 0.5},
        "PML's defaults; its authors (Zhang et al. 2024) add it to another loss",
    ),
)
