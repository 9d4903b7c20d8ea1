"""The full names of the losses, as people write them, from the names of the command line."""

from __future__ import annotations

# in the order in which they get their colours: add new ones at the end
FULL_NAMES = {
    "contrastive": "Contrastive",
    "triplet_margin": "Triplet Margin",
    "multi_similarity": "Multi-Similarity",
    "normalized_softmax": "Normalized Softmax",
    "cosface": "CosFace",
    "arcface": "ArcFace",
    "soft_triple": "SoftTriple",
    "proxy_nca": "Proxy-NCA",
    "proxy_anchor": "Proxy-Anchor",
    "sub_center_arcface": "Sub-center ArcFace",
    "large_margin_softmax": "Large-Margin Softmax",
    "sphereface": "SphereFace",
    "p2s_grad": "P2SGrad",
    "contrastive_xbm": "Contrastive with XBM",
    "margin": "Margin",
    "ntxent": "NT-Xent",
    "supcon": "SupCon",
    "circle": "Circle",
    "angular": "Angular",
    "lifted_structure": "Lifted Structure",
    "generalized_lifted_structure": "Generalized Lifted Structure",
    "tuplet_margin": "Tuplet Margin",
    "intra_pair_variance": "Tuplet Margin with Intra-Pair Variance",
    "n_pairs": "N-Pairs",
    "nca": "NCA",
    "signal_to_noise_ratio_contrastive": "Signal-to-Noise Ratio Contrastive",
    "dynamic_soft_margin": "Dynamic Soft Margin",
    "threshold_consistent_margin": "Threshold-Consistent Margin",
    "fast_ap": "FastAP",
    "smooth_ap": "Smooth-AP",
    "pnp": "PNP",
    "histogram": "Histogram",
    "ranked_list": "Ranked List",
}
HIERARCHICAL = {"hpl": "HPL on {}", "hpl_given": "HPL on {} (given tree)"}


def full_name(loss: str) -> str:
    """The name of a loss for people; a name that is not known stays as it is.

    Example:
        >>> full_name("hpl:proxy_anchor"), full_name("hpl_given:arcface")
        ('HPL on Proxy-Anchor', 'HPL on ArcFace (given tree)')
    """
    prefix, colon, base = loss.partition(":")
    if colon and prefix in HIERARCHICAL:
        return HIERARCHICAL[prefix].format(FULL_NAMES.get(base, base))
    return FULL_NAMES.get(loss, loss)


def difference_name(loss: str, base: str) -> str:
    """What the row of a difference is called."""
    return f"{full_name(loss)} − {full_name(base)}"
