"""How each data set is trained: the same for all losses except for the settings of the loss."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from .augmentation import RandomAffine
from .backbones.choice import DEFAULT, DEFAULT_BACKBONE, GLYPH, BackboneChoice

FULL, SHORT = REGIMES = ("full", "short")
#: what may differ from loss to loss in training
OF_LOSS = ("learning_rate", "weight_decay", "trunk_factor")


@dataclass(frozen=True)
class TrainingSettings:
    """The optimisation that all losses share on a data set.

    Attributes:
        embedding_size: of the embedder's output.
        epochs: an epoch is ``iterations_per_epoch`` batches; validation follows each.
        batch_size: embeddings per batch, ``samples_per_class`` of each class that occurs.
        learning_rate: of the embedder (AdamW, with a cosine decay to 0; so has the loss).
        weight_decay: of trunk and embedder.
        trunk_factor: the learning rate of the trunk as a multiple of the embedder's.
        warmup: the share of the training that hierarchical losses spend on the fine level alone.
            For every loss, the epochs of this share are validated but never selected.
        augmentation: of the pictures of a batch; ``None`` for features, and for photographs, whose
            random crops belong to the backbone.
        short_epochs: the epochs of the short form of training; ``None`` if it has none.
        losses: settings of single losses that differ from the registry's; see ``find_loss``.
        upper_blocks: attributes of this class that differ where the upper blocks of a network are
            trained (``--train-from``); its ``losses`` come on top of those above.
        trainings: attributes of this class that differ for single losses, by the name of the loss;
            a hierarchical loss has those of its base.
    """

    embedding_size: int
    epochs: int
    iterations_per_epoch: int
    batch_size: int
    samples_per_class: int
    learning_rate: float
    weight_decay: float
    trunk_factor: float = 1.0
    warmup: float = 0.3
    augmentation: RandomAffine | None = None
    short_epochs: int | None = None
    losses: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    trainings: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    upper_blocks: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.batch_size < 1 or self.batch_size % self.samples_per_class:
            raise ValueError(
                f"the batch size must be a multiple of {self.samples_per_class}, the images that a "
                f"batch has of each of its classes, and above 0, got {self.batch_size}"
            )
        if not 0 <= self.warmup < 1:
            raise ValueError(
                f"warmup must be a share of the training, from 0 to below 1, got {self.warmup}"
            )

    @property
    def iterations(self) -> int:
        """The number of iterations of the whole training."""
        return self.epochs * self.iterations_per_epoch

    @property
    def warmup_steps(self) -> int:
        """The warm-up of HPL in iterations."""
        return round(self.warmup * self.iterations)

    def images_per_batch(self, num_classes: int) -> int:
        """``batch_size``, or less with few classes: each occurs once in a batch."""
        return min(self.batch_size, num_classes * self.samples_per_class)

    @property
    def loss_overrides(self) -> dict[str, dict[str, Any]]:
        """What ``find_loss`` takes: ``losses``, and the warm-up of HPL in training steps."""
        warmup = {"warmup": self.warmup_steps}
        found = {name: dict(chosen) for name, chosen in self.losses.items()}
        for prefix in ("hpl", "hpl_given"):
            found[prefix] = warmup | found.get(prefix, {})
        return found

    def for_loss(self, name: str) -> TrainingSettings:
        """The settings that a loss is trained with, by its name such as ``"hpl:proxy_nca"``."""
        return replace(self, **self.trainings.get(name.partition(":")[2] or name, {}))

    def for_network(self, backbone: BackboneChoice) -> TrainingSettings:
        """The settings with which a network is trained."""
        changed = self
        if backbone.cut is not None:
            losses = {**self.losses, **self.upper_blocks.get("losses", {})}
            changed = replace(self, **{**self.upper_blocks, "losses": losses})
        if backbone.name not in (DEFAULT, GLYPH):  # such a network has random crops
            changed = replace(changed, augmentation=None)
        return changed

    def with_epochs(self, epochs: int) -> TrainingSettings:
        """The same training with another number of epochs."""
        return replace(self, epochs=epochs)

    def in_regime(self, regime: str) -> TrainingSettings:
        """The full training, or its short form.

        Raises:
            ValueError: for any other regime.
        """
        if regime not in REGIMES:
            raise ValueError(f"--regime must be one of {', '.join(REGIMES)}, got {regime!r}")
        if regime == FULL or self.short_epochs is None:
            return self
        return self.with_epochs(self.short_epochs)

    def first_selectable_epoch(self, warmup_steps: int = 0) -> int:
        """The first epoch, from 1, whose model may be selected.

        It begins when the warm-up is over; if there is only one epoch, it is that one.

        Arguments:
            warmup_steps: of the loss, if they are more than the share ``warmup``.
        """
        warmup = max(self.warmup * self.epochs, warmup_steps / self.iterations_per_epoch)
        return min(math.ceil(round(warmup, 6)) + 1, self.epochs)


def settings_for(dataset: str, backbone: BackboneChoice = DEFAULT_BACKBONE) -> TrainingSettings:
    """How a network is trained on a data set, in the full regime."""
    return SETTINGS[dataset].for_network(backbone)


def about_length(
    dataset: str, epochs: int, backbone: BackboneChoice = DEFAULT_BACKBONE
) -> str | None:
    """What a report has to say about runs shorter than the full ones; ``None`` for full ones."""
    full = settings_for(dataset, backbone).epochs
    if epochs >= full:
        return None
    length = "1 epoch" if epochs == 1 else f"{epochs} epochs"
    return (
        f"These are short training runs of {length}, {100 * epochs / full:.0f}% of the full "
        f"{full} (--regime full): they show that everything works and which losses learn fast, "
        "but not which loss is best, because so few batches put losses with proxies at a "
        "disadvantage."
    )


# The loss's own default, repeated here so that results say what they were made with.
_HPL: dict[str, dict[str, Any]] = {
    "hpl": {"level_weights": 0.1},
    "hpl_given": {"level_weights": 0.1},
}

# Tried by hand on the half of Cars196: EfficientNet-Lite0 at 128 x 128 from block 11 on. AdamW's
# own weight decay; the batches and the length of an epoch are those of the data set.
_UPPER_BLOCKS: dict[str, Any] = {
    "embedding_size": 128,
    "epochs": 12,
    "short_epochs": 3,
    "learning_rate": 1e-3,
    "trunk_factor": 0.1,
    "weight_decay": 1e-2,
    "losses": {"proxy_anchor": {"proxy_learning_rate": 1e-2}},
}

SETTINGS: dict[str, TrainingSettings] = {
    "omniglot": TrainingSettings(
        embedding_size=128,
        epochs=288,
        iterations_per_epoch=60,
        batch_size=128,
        samples_per_class=4,
        learning_rate=3e-3,
        weight_decay=0.05,
        augmentation=RandomAffine(degrees=20, scale=0.2, shear=10, shift=0.2),
        short_epochs=6,
        losses=_HPL,
        trainings={"proxy_anchor": {"learning_rate": 1e-3}},
    ),
    "grocery": TrainingSettings(
        embedding_size=512,
        epochs=10,
        iterations_per_epoch=60,
        batch_size=64,
        samples_per_class=4,
        learning_rate=3e-4,
        weight_decay=1e-4,
        losses=_HPL,
        upper_blocks=_UPPER_BLOCKS,
    ),
}

# Letters of fonts vary less than drawings by hand.
SETTINGS["glyphs"] = replace(
    SETTINGS["omniglot"],
    epochs=192,
    augmentation=RandomAffine(degrees=10, scale=0.1, shear=5, shift=0.1),
)

# What follows was not chosen on any data: the photographs are trained as Grocery Store, with longer
# epochs where there are more of them.
SETTINGS |= {
    name: replace(
        SETTINGS["grocery"],
        batch_size=batch_size,
        iterations_per_epoch=iterations_per_epoch,
    )
    for name, batch_size, iterations_per_epoch in (
        ("cub", 64, 60),
        ("cars196", 64, 60),
        ("sop", 128, 400),
        ("inshop", 128, 200),
        ("inaturalist", 128, 1000),
        ("folder", 64, 60),
    )
}

# Chosen on its validation classes: docs/convergence.md.
SETTINGS["cars196"] = replace(SETTINGS["cars196"], upper_blocks=_UPPER_BLOCKS | {"epochs": 48})
