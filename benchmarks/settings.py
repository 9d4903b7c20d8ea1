"""How each data set is trained: the same for all losses but for the settings of the loss."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any


@dataclass(frozen=True)
class TrainingSettings:
    """The optimisation that all losses share on a data set.

    Attributes:
        embedding_size: of the embedder's output.
        epochs: an epoch is ``iterations_per_epoch`` batches; validation follows each.
        batch_size: embeddings per batch, ``samples_per_class`` of each class that occurs.
        learning_rate: of trunk and embedder (AdamW, with a cosine decay to 0; so has the loss).
        weight_decay: of trunk and embedder.
        patience: the training ends when the validation MAP@R has not risen for more epochs than
            that.
        losses: settings of single losses that differ from the registry's; see ``find_loss``.
    """

    embedding_size: int
    epochs: int
    iterations_per_epoch: int
    batch_size: int
    samples_per_class: int
    learning_rate: float
    weight_decay: float
    patience: int = 9
    losses: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.batch_size < 1 or self.batch_size % self.samples_per_class:
            raise ValueError(
                f"the batch size must be a multiple of {self.samples_per_class}, the images that a "
                f"batch has of each of its classes, got {self.batch_size}"
            )

    def with_epochs(self, epochs: int) -> TrainingSettings:
        """The same for another number of epochs; warm-ups keep their share of the training."""
        losses = {
            name: {
                key: round(value * epochs / self.epochs) if key == "warmup" else value
                for key, value in chosen.items()
            }
            for name, chosen in self.losses.items()
        }
        return replace(self, epochs=epochs, losses=losses)


# Chosen on validation folds of the training classes, never on the test classes.
SETTINGS: dict[str, TrainingSettings] = {
    "glyphs": TrainingSettings(
        embedding_size=128,
        epochs=8,
        iterations_per_epoch=60,
        batch_size=128,
        samples_per_class=4,
        learning_rate=3e-3,
        weight_decay=1.0,  # a small network from scratch learns 7,000 pictures by heart otherwise
        losses={
            "hpl": {"num_superclasses": 100, "level_weights": 0.1, "warmup": 240},
            "hpl_given": {"level_weights": 0.1, "warmup": 240},
        },
    ),
    "grocery": TrainingSettings(
        embedding_size=512,
        epochs=10,
        iterations_per_epoch=60,
        batch_size=64,
        samples_per_class=4,
        learning_rate=3e-4,
        weight_decay=1e-4,
        losses={
            "hpl": {"num_superclasses": 5, "level_weights": 0.3, "warmup": 100},
            "hpl_given": {"level_weights": 0.3, "warmup": 100},
        },
    ),
}

# Omniglot resembles glyphs and is trained like it, but longer: in single runs on validation classes
# the proxy losses were far from done after 8 epochs (Proxy-NCA's MAP@R 31 after 8, 42 after 12).
SETTINGS["omniglot"] = SETTINGS["glyphs"].with_epochs(12)

# What follows was not chosen on any data: the photographs are trained as Grocery Store, with longer
# epochs where there are more of them.
SETTINGS |= {
    name: replace(
        SETTINGS["grocery"],
        batch_size=batch_size,
        iterations_per_epoch=iterations_per_epoch,
        losses={
            "hpl": {"num_superclasses": num_superclasses, "level_weights": 0.3, "warmup": warmup},
            "hpl_given": {"level_weights": 0.3, "warmup": warmup},
        },
    )
    # K is about the number of given superclasses among the training classes
    for name, batch_size, iterations_per_epoch, num_superclasses, warmup in (
        ("cub", 64, 60, 30, 100),
        ("cars196", 64, 60, 9, 100),
        ("sop", 128, 400, 12, 600),
        ("inshop", 128, 200, 20, 300),
        ("inaturalist", 128, 1000, 100, 1500),
        ("folder", 64, 60, 5, 100),
    )
}
