"""What an ablation varies: each variant of HPL differs from its reference in one argument."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from pml_hierarchical.clustering.sizes import default_num_superclasses

from ..losses import HPL_PREFIXES, LossSpec, find_loss

HALF, TWICE = "half", "twice"
# The references, in full: a default that changes one day does not change what is compared.
REFERENCES: dict[str, dict[str, Any]] = {
    "hpl": {"num_superclasses": "auto", "clusterer": "kmeans", "coarse_proxies": "fixed"},
    "hpl_given": {"coarse_proxies": "fixed"},
}


@dataclass(frozen=True)
class Variant:
    """An HPL and, unless it is a reference itself, the one argument that it changes.

    Attributes:
        prefix: a key of ``HPL_PREFIXES``: where the tree comes from.
        argument: of ``HierarchicalProxyLoss``; ``None`` for a reference.
        value: of the argument. ``num_superclasses`` has a share of the rule "auto", because
            the number of training classes differs from fold to fold.
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
            arguments[self.argument] = _num_superclasses(str(self.value), num_classes)
        elif self.argument:
            arguments[self.argument] = self.value
        return replace(spec, name=self.loss_name(base), hpl_arguments=arguments)


CHANGES = (
    Variant("hpl", "coarse_proxies", "live"),
    Variant("hpl", "coarse_proxies", "learned"),
    Variant("hpl_given", "coarse_proxies", "live"),
    Variant("hpl_given", "coarse_proxies", "learned"),
    Variant("hpl", "clusterer", "kmeans_step"),
    Variant("hpl", "clusterer", "agglomerative"),
    Variant("hpl", "num_superclasses", HALF),
    Variant("hpl", "num_superclasses", TWICE),
)
WHAT = tuple(dict.fromkeys(str(change.argument) for change in CHANGES))


def chosen_variants(what: Sequence[str]) -> tuple[Variant, ...]:
    """The variants that change one of the arguments ``what``, each group after its reference.

    Raises:
        ValueError: for something that is not ablated (the nearest is suggested).
    """
    for name in what:
        if name not in WHAT:
            near = difflib.get_close_matches(name, WHAT, n=1)
            hint = f"; did you mean {near[0]!r}?" if near else ""
            raise ValueError(f"--what: unknown {name!r}{hint} Known: {', '.join(WHAT)}")
    changes = [change for change in CHANGES if change.argument in what]
    return tuple(
        variant
        for prefix in REFERENCES
        if (of_tree := [change for change in changes if change.prefix == prefix])
        for variant in (Variant(prefix), *of_tree)
    )


def _num_superclasses(share: str, num_classes: int) -> int:
    """Half of the rule's number, rounded up, or twice that number if there are more classes."""
    auto = default_num_superclasses(num_classes)
    chosen = max(2, (auto + 1) // 2) if share == HALF else min(2 * auto, num_classes - 1)
    if chosen == auto:
        raise ValueError(
            f"--what num_superclasses: with {num_classes} training classes the rule gives {auto} "
            f"superclasses, and there is no {share} of that. Leave num_superclasses out"
        )
    return chosen
