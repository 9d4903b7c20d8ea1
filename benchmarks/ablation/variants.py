"""What an ablation varies: each variant of HPL differs from its reference in one argument."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from pml_hierarchical.core.superclasses import level_sizes

from ..losses import HPL_PREFIXES, LossSpec, find_loss

HALF, TWICE = "half", "twice"
# The references, in full: a default that changes one day does not change what is compared.
REFERENCES: dict[str, dict[str, Any]] = {
    "hpl": {"clusterer": "kmeans", "coarse_proxies": "learned"},
    "hpl_given": {"coarse_proxies": "learned"},
}


@dataclass(frozen=True)
class Variant:
    """An HPL and, unless it is a reference itself, the one argument that it changes.

    Attributes:
        prefix: a key of ``HPL_PREFIXES``: where the tree comes from.
        argument: of ``HierarchicalProxyLoss``; ``None`` for a reference.
        value: of the argument. ``num_superclasses`` has a share of the reference's number, which
            may follow from the number of training classes of a fold.
    """

    prefix: str
    argument: str | None = None
    value: str | None = None

    @property
    def reference(self) -> Variant:
        """What the variant is compared with, beside the flat loss."""
        return Variant(self.prefix)

    @property
    def label(self) -> str:
        """The variant in a table in which the base loss is known."""
        tree = HPL_PREFIXES[self.prefix]
        return f"{tree}, {self.argument}={self.value}" if self.argument else tree

    @property
    def name(self) -> str:
        """The variant on the command line, e.g. ``hpl:coarse_proxies=live``."""
        return f"{self.prefix}:{self.argument}={self.value}" if self.argument else self.prefix

    def loss_name(self, base: str) -> str:
        """As the runs of the variant are called, e.g. ``hpl:proxy_nca:coarse_proxies=live``."""
        change = f":{self.argument}={self.value}" if self.argument else ""
        return f"{self.prefix}:{base}{change}"

    def spec(
        self, base: str, overrides: Mapping[str, Mapping[str, Any]], num_classes: int
    ) -> LossSpec:
        """How the variant is built.

        Arguments:
            base: a proxy loss of the registry.
            overrides: the settings of the data set, which also hold level weight and warm-up.
            num_classes: of the training part of the fold.

        Raises:
            ValueError: if so few classes leave no other number of superclasses.
        """
        spec = find_loss(f"{self.prefix}:{base}", overrides)
        arguments = {**spec.hpl_arguments, **REFERENCES[self.prefix]}
        if self.argument == "num_superclasses":
            usual = arguments.get(self.argument, "auto")
            if usual == "auto":
                usual = level_sizes(num_classes, (), "auto")[0][1]
            arguments[self.argument] = _num_superclasses(str(self.value), usual, num_classes)
        elif self.argument:
            arguments[self.argument] = self.value
        return replace(spec, name=self.loss_name(base), hpl_arguments=arguments)


CHANGES = (
    Variant("hpl", "coarse_proxies", "fixed"),
    Variant("hpl", "coarse_proxies", "live"),
    Variant("hpl_given", "coarse_proxies", "fixed"),
    Variant("hpl_given", "coarse_proxies", "live"),
    Variant("hpl", "clusterer", "kmeans_step"),
    Variant("hpl", "clusterer", "agglomerative"),
    Variant("hpl", "num_superclasses", HALF),
    Variant("hpl", "num_superclasses", TWICE),
)
WHAT = tuple(dict.fromkeys(str(change.argument) for change in CHANGES))
_BY_NAME = {variant.name: variant for variant in (*map(Variant, REFERENCES), *CHANGES)}


def chosen_variants(what: Sequence[str]) -> tuple[Variant, ...]:
    """The variants that are asked for, each group after its reference.

    Arguments:
        what: arguments of HPL, for all variants that change them, and names of single variants,
            such as ``"hpl"`` for a reference or ``"hpl:coarse_proxies=fixed"``.

    Raises:
        ValueError: for something that is not ablated (the nearest is suggested).
    """
    known = (*WHAT, *_BY_NAME)
    for name in what:
        if name not in known:
            near = difflib.get_close_matches(name, known, n=1)
            hint = f"; did you mean {near[0]!r}?" if near else ""
            raise ValueError(f"--what: unknown {name!r}{hint} Known: {', '.join(known)}")
    chosen = {v for v in _BY_NAME.values() if v.name in what or v.argument in what}
    chosen |= {variant.reference for variant in chosen}
    return tuple(
        variant
        for prefix in REFERENCES
        for variant in _BY_NAME.values()
        if variant.prefix == prefix and variant in chosen
    )


def _num_superclasses(share: str, usual: int, num_classes: int) -> int:
    """Half of the usual number, rounded up, or twice that number if there are more classes."""
    chosen = max(2, (usual + 1) // 2) if share == HALF else min(2 * usual, num_classes - 1)
    if chosen == usual:
        raise ValueError(
            f"--what num_superclasses: with {num_classes} training classes there are {usual} "
            f"superclasses, and there is no {share} of that. Leave num_superclasses out"
        )
    return chosen
