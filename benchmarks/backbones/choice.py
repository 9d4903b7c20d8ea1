"""Which network the pictures go through, as a person chooses it."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

DEFAULT = "default"
GLYPH = "glyph"
EFFICIENTNET_LITE0_NAME = "efficientnet_lite0"

PRETRAINED = "pretrained"
RANDOM = "none"

FROZEN = "frozen"
TRAINED = "trained"

# With it, an epoch on half of Cars196 takes less than a minute on one core.
LITE0_CUT = "11"
VIEWS = 5


@dataclass(frozen=True)
class BackboneChoice:
    """A network, where its weights come from, and which part is trained. All plain values.

    On the command line: ``--backbone``, ``--weights``, ``--train-trunk``, ``--train-batch-norm``,
    ``--crop``, ``--train-from`` and ``--views``.

    Attributes:
        name: ``"default"`` (what the data set has: the small network ``"glyph"`` for glyphs and
            omniglot, a frozen ``"efficientnet_lite0"`` for photographs), or either of these, or
            ``"torchvision:MODEL"``, or ``"timm:MODEL"`` (with a tag if wanted,
            ``"timm:resnet50.a1_in1k"``).
        weights: ``"pretrained"`` for the default weights of the source, ``"none"`` for a random
            start, or the path of a file with a state dict.
        trained: whether the trunk is trained; if not, its features are computed once and kept.
            ``"glyph"`` is always trained.
        batch_norm: ``"frozen"``: a trained trunk keeps statistics, scales and shifts of its batch
            normalisation, as in the protocol of the paper; ``"trained"``: they are trained, too.
        crop: height and width of what the network sees; ``None`` for the network's own, see
            :func:`~benchmarks.backbones.find_backbone`.
        cut: the first block that is trained, with all that follows, on activations of the frozen
            part below it, which are computed once; ``trained`` is then true. ``None`` trains all
            or nothing. For EfficientNet-Lite0 a number from 1 to 15, and ``"default"`` is 11; for
            others the name of a module, see :func:`~benchmarks.backbones.blocks.blocks_of`.
        views: how many random crops of each picture there are activations of, if there is a cut.

    Raises:
        ValueError: for an impossible ``batch_norm``, ``crop`` or number of views, a frozen trunk
            with a trained batch normalisation, or a trunk trained from a random start with a frozen
            one.
    """

    name: str = DEFAULT
    weights: str = PRETRAINED
    trained: bool = False
    batch_norm: str = FROZEN
    crop: int | None = None
    cut: str | None = None
    views: int = VIEWS

    def __post_init__(self) -> None:
        if self.cut is not None:
            object.__setattr__(self, "trained", True)
            if self.cut == DEFAULT and self.name in (DEFAULT, EFFICIENTNET_LITE0_NAME):
                object.__setattr__(self, "cut", LITE0_CUT)
        if self.views < 1:
            raise ValueError(f"--views must be at least 1, got {self.views}")
        if self.batch_norm not in (FROZEN, TRAINED):
            raise ValueError(
                f"batch_norm must be {FROZEN!r} or {TRAINED!r}, got {self.batch_norm!r}"
            )
        if self.crop is not None and self.crop < 1:
            raise ValueError(f"--crop must be at least 1, got {self.crop}")
        if self.batch_norm == TRAINED and not self.trained:
            raise ValueError(
                "--train-batch-norm trains a part of the trunk: add --train-trunk or --train-from"
            )
        self._check_start()

    def _check_start(self) -> None:
        """Statistics that no data went into normalise nothing: such a trunk would hardly train."""
        by_itself = self.name in (DEFAULT, GLYPH)  # the data set checks it
        if self.trained and self.weights == RANDOM and self.batch_norm == FROZEN and not by_itself:
            raise ValueError(
                f"a trunk that starts at random (--weights {RANDOM}) has no batch normalisation "
                "worth keeping: add --train-batch-norm"
            )

    def to_dict(self) -> dict[str, Any]:
        """All fields, as values that JSON can hold; if there is no cut, its fields are left out."""
        found = asdict(self)
        if self.cut is None:
            del found["cut"], found["views"]
        return found

    def options(self) -> str:
        """What chooses this network on the command line; empty for the default.

        Example:
            >>> BackboneChoice(crop=128, cut="11").options()
            '--crop 128 --train-from 11'
        """
        chosen = {
            "--backbone": self.name != DEFAULT and self.name,
            "--weights": self.weights != PRETRAINED and self.weights,
            "--train-trunk": self.cut is None and self.trained,
            "--train-batch-norm": self.batch_norm == TRAINED,
            "--crop": self.crop,
            "--train-from": self.cut,
            "--views": self.cut is not None and self.views != VIEWS and self.views,
        }
        given = [(name, value) for name, value in chosen.items() if value]
        return " ".join(name if value is True else f"{name} {value}" for name, value in given)

    def sentence(self) -> str:
        """For reports: the network, its weights, and what is trained on which pictures.

        Empty for the default, which is another network on drawings than on photographs.
        """
        if self == DEFAULT_BACKBONE:
            return ""
        name = EFFICIENTNET_LITE0_NAME if self.cut and self.name == DEFAULT else self.name
        size = "" if self.crop is None else f" at {self.crop} x {self.crop} pixels"
        if self.cut is not None:
            views = "1 augmented view" if self.views == 1 else f"{self.views} augmented views"
            what = (
                f"trained from block {self.cut} on, the part below it being frozen, on {views} of "
                f"each training picture; batch normalisation {self.batch_norm}"
            )
        elif self.trained:
            what = f"trained; batch normalisation {self.batch_norm}"
        else:
            what = "trained" if self.name == GLYPH else "as it is"
        return f"Network: {name}{size} (weights: {self.weights}), {what}."


DEFAULT_BACKBONE = BackboneChoice()
