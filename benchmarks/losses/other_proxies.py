"""The proxy losses of PML besides the baselines."""

from __future__ import annotations

from pml_hierarchical import losses

from .spec import LossSpec

OTHER_PROXY_LOSSES: tuple[LossSpec, ...] = (
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
