"""The losses of an ablation: each differs from its reference in one factor."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from ..losses import HPL_PREFIXES, LossSpec, find_loss
from ..wording import did_you_mean
from .factors import DISCOVERED, FACTORS, GIVEN, Factor, Training

# The references, in full: a default that changes one day does not change what is compared.
REFERENCES: dict[str, dict[str, Any]] = {
    DISCOVERED: {
        "clusterer": "kmeans",
        "coarse_proxies": "learned",
        "coarse_scale": 0.25,
        "level_weights": 0.3,
    },
    GIVEN: {"coarse_proxies": "learned", "coarse_scale": 0.25, "level_weights": 0.1},
}


@dataclass(frozen=True)
class Variant:
    """An HPL and, unless it is a reference itself, the one factor that it changes.

    Attributes:
        prefix: a key of ``HPL_PREFIXES``: where the tree comes from.
        factor: what is changed; ``None`` for a reference.
        value: one of the factor's.
    """

    prefix: str
    factor: Factor | None = None
    value: str | None = None

    @property
    def reference(self) -> Variant:
        """What the variant is compared with, besides the flat loss."""
        return Variant(self.prefix)

    @property
    def change(self) -> str:
        """The factor and its value; empty for a reference."""
        return f"{self.factor.name}={self.value}" if self.factor else ""

    @property
    def label(self) -> str:
        """The variant in a table in which the base loss is known."""
        return ", ".join(filter(None, (HPL_PREFIXES[self.prefix], self.change)))

    @property
    def name(self) -> str:
        """The variant on the command line, e.g. ``hpl:coarse_proxies=live``."""
        return ":".join(filter(None, (self.prefix, self.change)))

    def loss_name(self, base: str) -> str:
        """The name of the variant's runs, e.g. ``hpl:proxy_nca:coarse_proxies=live``."""
        return ":".join(filter(None, (self.prefix, base, self.change)))

    @property
    def place(self) -> tuple[int, int, int]:
        """The order of rows: references first, then factor by factor."""
        tree = list(REFERENCES).index(self.prefix)
        if self.factor is None:
            return -1, tree, 0
        return WHAT.index(self.factor.name), tree, self.factor.values.index(str(self.value))

    def is_for(self, base: str) -> bool:
        """Whether the factor exists for a base loss."""
        if self.factor is None:
            return True
        has_scale = find_loss(base).has_scale or not self.factor.of_scale
        return has_scale and (self.factor.bases is None or base in self.factor.bases)

    def spec(
        self, flat: LossSpec, overrides: Mapping[str, Mapping[str, Any]], training: Training
    ) -> LossSpec:
        """How the variant is built.

        Arguments:
            flat: the base loss, whose settings the variant has as well.
            overrides: the settings of the data set, which also hold the warm-up.
            training: what the value may depend on.
        """
        spec = find_loss(f"{self.prefix}:{flat.name}", overrides)
        arguments = {**spec.hpl_arguments, **REFERENCES[self.prefix]}
        if self.prefix == DISCOVERED:
            arguments["num_superclasses"] = training.num_superclasses
        if not spec.has_scale:
            del arguments["coarse_scale"]
        spec = replace(
            spec,
            name=self.loss_name(flat.name),
            arguments=flat.arguments,
            proxy_learning_rate=flat.proxy_learning_rate,
            hpl_arguments=arguments,
        )
        return self.factor.change(spec, str(self.value), training) if self.factor else spec


CHANGES = tuple(
    Variant(prefix, factor, value)
    for factor in FACTORS
    for prefix in factor.trees
    for value in factor.values
)
WHAT = tuple(factor.name for factor in FACTORS)
_BY_NAME = {variant.name: variant for variant in (*map(Variant, REFERENCES), *CHANGES)}


def variant_of(loss: str) -> Variant:
    """The variant of a run, by the name of its loss such as ``"hpl:proxy_nca:warmup=0"``."""
    prefix, _, *change = loss.split(":", maxsplit=2)
    return _BY_NAME[":".join([prefix, *change])]


def is_known(loss: str) -> bool:
    """Whether it is the name of a flat loss or of a variant."""
    prefix, *rest = loss.split(":", maxsplit=2)
    return not rest or ":".join([prefix, *rest[1:]]) in _BY_NAME


def chosen_variants(what: Sequence[str]) -> tuple[Variant, ...]:
    """The variants that are asked for, each group after its reference.

    Arguments:
        what: factors, for all variants that change them, and names of single variants, such as
            ``"hpl"`` for a reference or ``"hpl:coarse_proxies=fixed"``.

    Raises:
        ValueError: for something that is not varied (the nearest is suggested).
    """
    known = (*WHAT, *_BY_NAME)
    for name in what:
        if name not in known:
            raise ValueError(
                f"--what: unknown {name!r}{did_you_mean(name, known)} Choose from "
                f"{', '.join(WHAT)}, and single variants such as "
                f"{', '.join([*REFERENCES, CHANGES[0].name])}"
            )
    chosen = {
        v for v in _BY_NAME.values() if v.name in what or (v.factor and v.factor.name in what)
    }
    chosen |= {variant.reference for variant in chosen}
    return tuple(
        variant
        for prefix in REFERENCES
        for variant in _BY_NAME.values()
        if variant.prefix == prefix and variant in chosen
    )
