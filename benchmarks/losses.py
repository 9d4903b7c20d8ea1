"""The loss registry: nine baselines, HPL on any proxy loss among them, and their settings."""

from __future__ import annotations

import difflib
import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from pytorch_metric_learning import distances, miners

from pml_hierarchical import Hierarchy, losses

MUSGRAVE = "Musgrave et al. 2020, found by search on CUB/Cars196/SOP"


@dataclass(frozen=True)
class LossSpec:
    """How a loss is built.

    Attributes:
        name: as in ``--losses``.
        loss_class: a loss class of PML.
        arguments: of ``loss_class``, beside ``num_classes`` and ``embedding_size``.
        source: where the settings come from.
        proxy_learning_rate: of the loss's own parameters (AdamW), if it has any. It goes with the
            size at which the loss draws them: all normalise, so what counts is the change of
            direction. PML draws the proxies of Proxy-Anchor and SoftTriple about 20 times smaller
            than the others.
        miner: makes the miner that goes with the loss.
        hierarchy: ``None`` for a flat loss, or how HPL gets its tree: "discovered" or "given".
        hpl_arguments: of ``HierarchicalProxyLoss``, beside those of its base.
    """

    name: str
    loss_class: type
    arguments: Mapping[str, Any]
    source: str
    proxy_learning_rate: float = 0.03
    miner: Callable[[], Any] | None = None
    hierarchy: str | None = None
    hpl_arguments: Mapping[str, Any] = field(default_factory=dict)

    @property
    def has_proxies(self) -> bool:
        """Whether the loss learns one or more vectors for each class."""
        return "num_classes" in inspect.signature(self.loss_class).parameters or issubclass(
            self.loss_class, losses.LargeMarginSoftmaxLoss
        )

    @property
    def base(self) -> str | None:
        """The name of the loss that HPL builds on."""
        return self.name.split(":")[1] if self.hierarchy else None

    def settings(self) -> dict[str, Any]:
        """Everything that was chosen for this loss, for the records of a run."""
        shown = {**self.arguments, **self.hpl_arguments}
        if self.has_proxies:
            shown["proxy_learning_rate"] = self.proxy_learning_rate
        return {key: value if _is_plain(value) else repr(value) for key, value in shown.items()}

    def build(self, num_classes: int, embedding_size: int, tree: Hierarchy, seed: int) -> Any:
        """Construct the loss; ``tree`` is the one of the training classes."""
        if not self.has_proxies:
            return self.loss_class(**self.arguments)
        if self.hierarchy is None:
            return self.loss_class(
                num_classes=num_classes, embedding_size=embedding_size, **self.arguments
            )
        return losses.HierarchicalProxyLoss(
            num_classes,
            embedding_size,
            base_loss=self.loss_class,
            hierarchy=tree if self.hierarchy == "given" else None,
            seed=seed,
            **self.hpl_arguments,
            **self.arguments,
        )


BASELINES: dict[str, LossSpec] = {
    spec.name: spec
    for spec in (
        LossSpec(
            "contrastive",
            losses.ContrastiveLoss,
            {"pos_margin": 1.0, "neg_margin": 0.4, "distance": distances.CosineSimilarity()},
            f"cosine margins: {MUSGRAVE} (0.84-1.0 and 0.26-0.6)",
        ),
        LossSpec(
            "triplet_margin",
            losses.TripletMarginLoss,
            {"margin": 0.1},
            f"margin: {MUSGRAVE} (0.05-0.19); semi-hard triplets: Schroff et al. 2015",
            miner=lambda: miners.TripletMarginMiner(margin=0.1, type_of_triplets="semihard"),
        ),
        LossSpec(
            "multi_similarity",
            losses.MultiSimilarityLoss,
            {"alpha": 2.0, "beta": 50.0, "base": 0.5},
            "its authors (Wang et al. 2019), with their miner",
            miner=lambda: miners.MultiSimilarityMiner(epsilon=0.1),
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

HPL_PREFIXES = {"hpl": "discovered", "hpl_given": "given"}
DEFAULT_LOSSES = (*BASELINES, "hpl:proxy_nca", "hpl:proxy_anchor")


def find_loss(name: str, overrides: Mapping[str, Mapping[str, Any]] | None = None) -> LossSpec:
    """The spec of a loss by its name: a baseline, ``hpl:<proxy loss>`` or ``hpl_given:<...>``.

    Arguments:
        name: as in ``--losses``.
        overrides: settings of a data set: for a loss its arguments, for a prefix ("hpl",
            "hpl_given") those of ``HierarchicalProxyLoss``.

    Raises:
        ValueError: for a name that is not known (the nearest is suggested), or HPL on a loss
            without proxies.
    """
    overrides = overrides or {}
    prefix, _, base_name = name.rpartition(":")
    if base_name not in BASELINES or (prefix and prefix not in HPL_PREFIXES):
        known = [*BASELINES, *(f"{p}:{b}" for p in HPL_PREFIXES for b in hierarchical_bases())]
        near = difflib.get_close_matches(name, known, n=1)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        raise ValueError(f"unknown loss {name!r}{hint} Known losses: {', '.join(known)}")
    if prefix and base_name not in hierarchical_bases():
        raise ValueError(
            f"HPL needs a proxy loss, and {base_name!r} has no proxies; choose one of "
            f"{', '.join(hierarchical_bases())}"
        )
    spec = BASELINES[base_name]
    return replace(
        spec,
        name=name,
        arguments={**spec.arguments, **overrides.get(base_name, {})},
        hierarchy=HPL_PREFIXES.get(prefix),
        hpl_arguments={**overrides.get(prefix, {}), **overrides.get(name, {})} if prefix else {},
    )


def hierarchical_bases() -> list[str]:
    """The baselines that HPL can be built on."""
    return [name for name, spec in BASELINES.items() if spec.has_proxies]


def _is_plain(value: Any) -> bool:
    return value is None or isinstance(value, (bool, int, float, str, tuple, list))
