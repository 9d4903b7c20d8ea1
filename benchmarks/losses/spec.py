"""What is known about a loss before it is built, all of it open to plain settings."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any

import torch
from pytorch_metric_learning import miners

from pml_hierarchical import Hierarchy, losses
from pml_hierarchical.clustering import get_clusterer
from pml_hierarchical.core.level_losses import layout_of
from pml_hierarchical.losses.arguments import embedding_size_name

from ..wording import did_you_mean
from .numbers import check_numbers, check_rates
from .parameters import constructor_parameters, setting_names
from .parts import described, with_parts
from .pml_fixes import CrossBatchMemory

HIERARCHIES = ("discovered", "given", "mixed")
_OF_DISCOVERY = ("num_superclasses", "clusterer")  # a given tree leaves nothing to discover
_MINER = "miner."


@dataclass(frozen=True)
class LossSpec:
    """How a loss is built.

    Attributes:
        name: as in ``--losses``.
        loss_class: a loss class of PML.
        arguments: of ``loss_class``, besides ``num_classes`` and ``embedding_size``; a distance,
            reducer or regularizer may be a text such as ``"LpDistance(power=2)"``.
        source: where the settings come from.
        proxy_learning_rate: of the loss's own parameters (AdamW), if it has any. It depends on
            the size at which the loss draws them: all normalise, so what counts is the change of
            direction. PML draws the proxies of Proxy-Anchor and SoftTriple about 20 times smaller
            than the others.
        coarse_rate: the learning rate of learned coarse proxies, as a multiple of that.
        miner_class: a miner class of PML.
        miner_arguments: of ``miner_class``; texts as in ``arguments``.
        memory_size: how many embeddings of earlier batches the loss also compares with (PML's
            ``CrossBatchMemory``); at least a batch. ``None`` for none.
        hierarchy: ``None`` for a flat loss, or how HPL gets its tree: "discovered", "given", or
            "mixed" for a given one with discovered levels in it.
        hpl_arguments: of ``HierarchicalProxyLoss``, besides those of its base. What concerns the
            discovery of a tree is not used where the tree is given.
    """

    name: str
    loss_class: type
    arguments: Mapping[str, Any]
    source: str
    proxy_learning_rate: float = 0.03
    coarse_rate: float = 1.0
    miner_class: type | None = None
    miner_arguments: Mapping[str, Any] = field(default_factory=dict)
    memory_size: int | None = None
    hierarchy: str | None = None
    hpl_arguments: Mapping[str, Any] = field(default_factory=dict)

    @property
    def has_proxies(self) -> bool:
        """Whether the loss learns one or more vectors for each class."""
        try:
            embedding_size_name(self.loss_class)
        except TypeError:
            return False
        return True

    @property
    def has_scale(self) -> bool:
        """Whether ``coarse_scale`` changes anything for HPL on this loss."""
        return bool(layout_of(self.loss_class).scale)

    @property
    def has_parameters(self) -> bool:
        """Whether the loss learns anything of its own: proxies, or the margins of MarginLoss."""
        return self.has_proxies or bool(self.arguments.get("learn_beta"))

    @property
    def base(self) -> str | None:
        """The name of the loss that HPL builds on."""
        return self.name.split(":")[1] if self.hierarchy else None

    def flat(self) -> LossSpec:
        """The loss that a hierarchical one builds on; a flat loss itself."""
        if self.hierarchy is None:
            return self
        kept = {one.name: getattr(self, one.name) for one in fields(LossSpec)}
        kept |= {"name": self.base, "hierarchy": None, "hpl_arguments": {}, "coarse_rate": 1.0}
        return LossSpec(**kept)

    @property
    def setting_names(self) -> list[str]:
        """What :meth:`with_settings` takes, without what a given tree leaves no choice about."""
        unused = _OF_DISCOVERY if self.hierarchy == "given" else ()
        return [name for name in self._where_settings_go() if name not in unused]

    def settings(self) -> dict[str, Any]:
        """Everything that was chosen for this loss, as plain values: equal settings, equal loss.

        What :meth:`with_settings` takes: applied to the spec of the same name, it gives this one.
        """
        shown = {**self.arguments, **self._used_hpl_arguments}
        if self.hierarchy is not None:
            shown["hierarchy"] = self.hierarchy
            if self.coarse_rate != 1:
                shown["coarse_rate"] = self.coarse_rate
        if self.has_parameters:
            shown["proxy_learning_rate"] = self.proxy_learning_rate
        if self.memory_size is not None:
            shown["memory_size"] = self.memory_size
        if self.miner_class is not None:
            shown["miner"] = self.miner_class.__name__
            shown |= {f"{_MINER}{key}": value for key, value in self.miner_arguments.items()}
        return {key: described(value) for key, value in shown.items()}

    def with_settings(self, settings: Mapping[str, Any]) -> LossSpec:
        """A copy with other settings.

        Arguments:
            settings: plain values by name: ``proxy_learning_rate`` of a loss with parameters,
                ``memory_size`` of one with a memory, ``miner`` (the name of a class of PML or
                ``None``; its arguments are reset), ``miner.NAME`` for an argument of the miner,
                ``hierarchy`` ("discovered", "given" or "mixed"), ``coarse_rate`` and the arguments
                of ``HierarchicalProxyLoss`` for HPL, and the arguments of the loss class. The name
                of the spec stays.

        Raises:
            ValueError: for a setting that this loss does not have (the nearest is suggested), or
                a miner, hierarchy, distance, ... that does not exist.
        """
        settings = dict(settings)
        changed = self
        if "miner" in settings:
            miner_class = _miner_class(settings.pop("miner"))
            changed = replace(changed, miner_class=miner_class, miner_arguments={})
        parts: dict[str, dict[str, Any]] = {"fields": {}, "miner": {}, "hpl": {}, "loss": {}}
        # learn_beta may come with the learning rate of what it makes a parameter
        known = replace(changed, arguments={**self.arguments, **settings})._where_settings_go()
        for key, value in settings.items():
            if key not in known:
                raise ValueError(
                    f"the loss {self.name!r} has no setting {key!r}{did_you_mean(key, known)} "
                    f"It has: {', '.join(known)}"
                )
            parts[known[key]][key.removeprefix(_MINER)] = value
        if parts["fields"].get("hierarchy", HIERARCHIES[0]) not in HIERARCHIES:
            raise ValueError(
                f"the setting hierarchy of {self.name!r} must be one of "
                f"{', '.join(HIERARCHIES)}; got {settings['hierarchy']!r}"
            )
        check_rates(self.name, parts["fields"])
        usual = {**constructor_parameters(self.loss_class), **self.arguments}
        check_numbers(self.name, parts["loss"], usual)
        if changed.miner_class is not None:
            usual = {**constructor_parameters(changed.miner_class), **changed.miner_arguments}
            check_numbers(self.name, parts["miner"], usual, prefix=_MINER)
        for chosen in (parts["loss"], parts["miner"]):
            with_parts(chosen)  # a text that describes nothing is refused here, not in the run
        return replace(
            changed,
            arguments={**changed.arguments, **parts["loss"]},
            miner_arguments={**changed.miner_arguments, **parts["miner"]},
            hpl_arguments={**changed.hpl_arguments, **parts["hpl"]},
            **parts["fields"],
        )

    def build(self, num_classes: int, embedding_size: int, tree: Hierarchy, seed: int) -> Any:
        """Construct the loss; ``tree`` is the one of the training classes."""
        arguments = with_parts(self.arguments)
        if self.hierarchy is not None:
            hpl = self._used_hpl_arguments
            clusterer = get_clusterer(hpl.pop("clusterer", "kmeans"))
            if any(one.name == "seed" for one in fields(clusterer)):
                clusterer = replace(clusterer, seed=seed)
            return self.hierarchical_class(
                num_classes,
                embedding_size,
                base_loss=self.loss_class,
                hierarchy=None if self.hierarchy == "discovered" else tree,
                clusterer=clusterer,
                **hpl,
                **arguments,
            )
        sizes = {"num_classes": num_classes}
        sizes |= dict.fromkeys(("embedding_size", "descriptors_dim"), embedding_size)
        taken = constructor_parameters(self.loss_class)
        loss = self.loss_class(
            **{key: size for key, size in sizes.items() if key in taken}, **arguments
        )
        if self.memory_size is None:
            return loss
        return CrossBatchMemory(loss, embedding_size, self.memory_size)

    @property
    def hierarchical_class(self) -> Callable[..., Any]:
        """What builds a hierarchical loss."""
        return losses.HierarchicalProxyLoss

    def parameter_groups(self, loss: torch.nn.Module) -> list[dict[str, Any]]:
        """The parameters of a loss that was built, with their learning rates, for an optimizer."""
        rate = self.proxy_learning_rate
        if self.coarse_rate == 1 or not isinstance(loss, losses.HierarchicalProxyLoss):
            return [{"params": list(loss.parameters()), "lr": rate}]
        fine = list(loss.level_loss(0).parameters())
        coarse = [
            parameter
            for level in range(1, len(loss.sizes))
            for parameter in loss.level_loss(level).parameters()
        ]
        return [{"params": fine, "lr": rate}, {"params": coarse, "lr": self.coarse_rate * rate}]

    def build_miner(self) -> Any | None:
        """Construct the miner that goes with the loss, or ``None`` if it has none."""
        if self.miner_class is None:
            return None
        return self.miner_class(**with_parts(self.miner_arguments))

    @property
    def _used_hpl_arguments(self) -> dict[str, Any]:
        unused = _OF_DISCOVERY if self.hierarchy == "given" else ()
        return {key: value for key, value in self.hpl_arguments.items() if key not in unused}

    def _where_settings_go(self) -> dict[str, str]:
        """Where each existing setting goes: "fields", "loss", "hpl" or "miner"."""
        known = dict.fromkeys(setting_names(self.loss_class), "loss")
        if self.hierarchy is not None:
            # what HPL has from PML's base class, such as a distance, it takes from its base loss
            own = setting_names(losses.HierarchicalProxyLoss)
            known |= {name: "hpl" for name in own if name not in known}
            known |= {"hierarchy": "fields", "coarse_rate": "fields"}
        if self.has_parameters:
            known["proxy_learning_rate"] = "fields"
        if self.memory_size is not None:
            known["memory_size"] = "fields"
        if self.miner_class is not None:
            known |= {f"{_MINER}{name}": "miner" for name in setting_names(self.miner_class)}
        return known


def _miner_class(name: str | None) -> type | None:
    found = None if name is None else getattr(miners, name, None)
    if name is not None and not isinstance(found, type):
        known = [key for key, value in vars(miners).items() if isinstance(value, type)]
        raise ValueError(f"miner={name!r}: PML has {', '.join(known)}")
    return found
