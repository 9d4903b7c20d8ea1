"""What the study varies: for each factor its values, and how a value changes a loss."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from ..losses import LossSpec
from .courses import FALLING, RISING, Course

DISCOVERED, GIVEN = "hpl", "hpl_given"
BOTH = (DISCOVERED, GIVEN)


@dataclass(frozen=True)
class Training:
    """What a value may depend on.

    Attributes:
        num_classes: of the training part of the fold.
        num_given: the coarse levels of the given tree.
        iterations: of the whole training.
        learning_rate: of the embedder.
    """

    num_classes: int
    num_given: int
    iterations: int
    learning_rate: float

    @property
    def num_superclasses(self) -> int:
        """The number in the reference whose tree is discovered: the loss's default."""
        return max(2, min(1000, self.num_classes // 4))


Change = Callable[[LossSpec, str, Training], LossSpec]


@dataclass(frozen=True)
class Factor:
    """One thing that is varied while all others are those of the reference.

    Attributes:
        name: as in ``--what``.
        about: what the values mean, for the reader of the table.
        values: as texts, without the one that the reference has.
        change: from ``(spec, value, training)`` to the spec of the reference with the value.
        trees: for which references.
        bases: for which base losses; ``None`` for all.
        of_scale: whether it is only for base losses with a scale.
    """

    name: str
    about: str
    values: tuple[str, ...]
    change: Change
    trees: tuple[str, ...] = BOTH
    bases: tuple[str, ...] | None = None
    of_scale: bool = False


def _with(spec: LossSpec, **arguments: Any) -> LossSpec:
    return replace(spec, hpl_arguments={**spec.hpl_arguments, **arguments})


def _argument(name: str) -> Change:
    return lambda spec, value, training: _with(spec, **{name: value})


def _weight(spec: LossSpec, value: str, training: Training) -> LossSpec:
    return _with(spec, level_weights=float(value))


def _course(spec: LossSpec, value: str, training: Training) -> LossSpec:
    weight = spec.hpl_arguments.get("level_weights", 0.3)
    warmup = spec.hpl_arguments.get("warmup", 0)
    return _with(spec, level_weights=Course(value, weight, warmup, training.iterations))


def _coarse_rate(spec: LossSpec, value: str, training: Training) -> LossSpec:
    return replace(spec, coarse_rate=float(value))


SUPERCLASSES: dict[str, Callable[[int], Any]] = {
    "quarter_sqrt": lambda classes: max(2, round(classes**0.5 / 4)),
    "half_sqrt": lambda classes: max(2, round(classes**0.5 / 2)),
    "sqrt": lambda classes: max(2, round(classes**0.5)),
    "double_sqrt": lambda classes: max(2, min(classes - 1, round(2 * classes**0.5))),
    "60": lambda classes: max(2, min(60, classes // 4)),
    "half": lambda classes: max(2, classes // 2),
    "almost_all": lambda classes: max(2, classes - 1),
    "two_levels": lambda classes: (max(3, classes // 4), max(2, round(classes**0.5 / 2))),
}


def _superclasses(spec: LossSpec, value: str, training: Training) -> LossSpec:
    return _with(spec, num_superclasses=SUPERCLASSES[value](training.num_classes))


def _warmup(spec: LossSpec, value: str, training: Training) -> LossSpec:
    steps = 100 if value == "100_steps" else round(float(value) * training.iterations)
    return _with(spec, warmup=steps)


def _recluster_every(spec: LossSpec, value: str, training: Training) -> LossSpec:
    share = 1.0 if value == "never" else float(value)  # 1: not before the end of training
    return _with(spec, recluster_every=max(1, round(share * training.iterations)))


def _coarse_scale(spec: LossSpec, value: str, training: Training) -> LossSpec:
    return _with(spec, coarse_scale=float(value))


def _scale_and_weight(spec: LossSpec, value: str, training: Training) -> LossSpec:
    scale, weight = value.split("x")
    return _coarse_scale(_weight(spec, weight, training), scale, training)


def _as_published(spec: LossSpec, value: str, training: Training) -> LossSpec:
    return _with(spec, coarse_proxies="fixed", coarse_scale=float(value))


def _coarse_margin(spec: LossSpec, value: str, training: Training) -> LossSpec:
    levels = training.num_given if spec.hierarchy == "given" else 1
    margin = {"margin": float(value)}
    return _with(spec, level_kwargs=dict.fromkeys(range(1, levels + 1), margin))


def _tree(spec: LossSpec, value: str, training: Training) -> LossSpec:
    spec = replace(spec, hierarchy=value)
    return _with(spec, num_superclasses=training.num_superclasses, clusterer="kmeans")


def _idea(name: str) -> Change:
    def change(spec: LossSpec, value: str, training: Training) -> LossSpec:
        from .ideas.spec import IdeaSpec

        return IdeaSpec.of(spec, name, float(value), training.learning_rate)

    return change


FACTORS: tuple[Factor, ...] = (
    Factor(
        "coarse_proxies",
        "how coarse proxies move between updates; learned by default",
        ("fixed", "live"),
        _argument("coarse_proxies"),
    ),
    Factor(
        "coarse_rate",
        "learning rate of the coarse proxies, as a multiple of that of the fine ones",
        ("0.1", "0.3", "3"),
        _coarse_rate,
    ),
    Factor("level_weights", "weight of every coarse level", ("0.03", "0.1", "0.3", "1"), _weight),
    Factor(
        "course",
        "the weight rises from 0 after the warm-up, or falls to 0 by the end",
        (RISING, FALLING),
        _course,
    ),
    Factor(
        "relative_to_loss",
        "a coarse level's loss in the sum, as a share of the fine level's",
        ("0.1", "0.3", "1"),
        _idea("relative_to_loss"),
    ),
    Factor(
        "relative_to_gradient",
        "the gradient of a coarse level in the sum, as a share of the fine level's",
        ("0.1", "0.3", "1"),
        _idea("relative_to_gradient"),
    ),
    Factor(
        "num_superclasses",
        "K instead of C/4: a quarter, half, once or twice the square root of the number of "
        "classes C, 60, C/2 or C - 1, which groups nothing; or two levels of C/4 and half the "
        "square root",
        tuple(SUPERCLASSES),
        _superclasses,
        (DISCOVERED,),
    ),
    Factor("tree", "a given tree with discovered levels in it", ("mixed",), _tree, (GIVEN,)),
    Factor(
        "warmup",
        "share of the training, 0.3 by default here; or 100 steps, the loss's own default",
        ("0", "100_steps", "0.1", "0.5"),
        _warmup,
    ),
    Factor(
        "recluster_every",
        "T, as a share of the training",
        ("0.02", "0.1", "never"),
        _recluster_every,
        (DISCOVERED,),
    ),
    Factor(
        "clusterer",
        "the paper's single k-means step, or a hierarchical clustering",
        ("kmeans_step", "agglomerative"),
        _argument("clusterer"),
        (DISCOVERED,),
    ),
    Factor(
        "coarse_scale",
        "scale of the coarse levels (for Proxy-Anchor alpha), as a multiple of the fine one's",
        ("0.1", "0.5", "1", "2"),
        _coarse_scale,
        of_scale=True,
    ),
    Factor(
        "scale_and_weight",
        "scale (as above) and weight of the coarse levels, both at once",
        ("0.1x0.3", "0.1x1", "0.5x0.3", "1x0.05", "1x0.1", "1x0.3", "1x1"),
        _scale_and_weight,
        of_scale=True,
    ),
    Factor(
        "as_published",
        "coarse proxies fixed to the means, and the scale of the fine level, as in the paper",
        ("1",),
        _as_published,
    ),
    Factor(
        "coarse_margin",
        "margin of the coarse levels",
        ("0", "0.3"),
        _coarse_margin,
        bases=("proxy_anchor",),
    ),
    Factor(
        "repel_siblings_more",
        "added to the cosine with the wrong proxies of the sample's own superclass",
        ("0.1",),
        _idea("repel_siblings_more"),
    ),
    Factor(
        "repel_others_more",
        "added to the cosine with the proxies of other superclasses",
        ("0.1",),
        _idea("repel_others_more"),
    ),
    Factor(
        "only_stable",
        "smallest overlap with itself at which a superclass counts after an update",
        ("0.5", "0.8"),
        _idea("only_stable"),
        (DISCOVERED,),
    ),
    Factor(
        "pulled_back",
        "share of the way back to the mean that a coarse proxy moves at every step",
        ("0.003", "0.03"),
        _idea("pulled_back"),
    ),
    Factor(
        "projected",
        "the coarse levels see a linear projection of the embedding, of the same size",
        ("1",),
        _idea("projected"),
    ),
)
