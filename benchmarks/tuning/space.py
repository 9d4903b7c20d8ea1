"""What is searched for each loss, written down: the ranges of all settings, and nothing else."""

from __future__ import annotations

from dataclasses import dataclass

from ..losses import LossSpec

DEFAULT, ITERATIONS, CLASSES = "the data set's default", "iterations", "training classes"


@dataclass(frozen=True)
class Share:
    """A bound that is a multiple of something that differs from data set to data set.

    Attributes:
        factor: how much of it.
        of: :data:`DEFAULT` (the setting's value without a search), :data:`ITERATIONS` (of the
            whole training) or :data:`CLASSES` (the classes that are trained on; the smallest
            number of the folds).
    """

    factor: float
    of: str

    def __str__(self) -> str:
        return f"{self.factor:g} × {self.of}"


@dataclass(frozen=True)
class Range:
    """A number between two bounds, both included.

    Attributes:
        name: of the setting, as :meth:`~benchmarks.losses.LossSpec.with_settings` or
            ``TrainingSettings`` has it.
        low: the smallest value.
        high: the largest.
        log: whether equal ratios are equally likely at the start, not equal differences.
        integer: whether only whole numbers count.
        also: other settings that always have the same value.
        only_with: the setting, and its value, without which this one means nothing.
    """

    name: str
    low: float | Share
    high: float | Share
    log: bool = False
    integer: bool = False
    also: tuple[str, ...] = ()
    only_with: tuple[str, str] | None = None


@dataclass(frozen=True)
class Choice:
    """One of several values; attributes as in :class:`Range`."""

    name: str
    values: tuple[str, ...]


Space = tuple[Range | Choice, ...]

TRUNK: Space = (Range("trunk_factor", Share(0.1, DEFAULT), Share(10, DEFAULT), log=True),)
TRAINING: Space = (
    Range("learning_rate", Share(0.1, DEFAULT), Share(10, DEFAULT), log=True),
    Range("weight_decay", Share(0.02, DEFAULT), Share(20, DEFAULT), log=True),
)
PROXIES: Space = (Range("proxy_learning_rate", 1e-3, 3, log=True),)
LOSSES: dict[str, Space] = {
    "contrastive": (Range("pos_margin", 0.6, 1), Range("neg_margin", 0, 0.6)),
    # the miner looks for the triplets that the loss still has something to say about
    "triplet_margin": (Range("margin", 0.02, 0.5, log=True, also=("miner.margin",)),),
    "multi_similarity": (
        Range("alpha", 0.5, 50, log=True),
        Range("beta", 10, 100, log=True),
        Range("base", 0, 1),
        Range("miner.epsilon", 0.01, 0.3, log=True),
    ),
    "normalized_softmax": (Range("temperature", 0.01, 0.5, log=True),),
    "cosface": (Range("margin", 0, 0.6), Range("scale", 4, 256, log=True)),
    "arcface": (Range("margin", 0, 40), Range("scale", 4, 256, log=True)),  # degrees
    "soft_triple": (
        Range("la", 2, 80, log=True),
        Range("gamma", 0.02, 1, log=True),
        Range("margin", 0, 0.2),
        Range("centers_per_class", 2, 10, integer=True),
    ),
    "proxy_nca": (Range("softmax_scale", 2, 64, log=True),),
    "proxy_anchor": (Range("margin", 0, 0.6), Range("alpha", 4, 64, log=True)),
}
HIERARCHICAL: Space = (
    Range("level_weights", 0.01, 1, log=True),  # of every coarse level; the finest has 1
    # no longer than the part of the training in which no epoch is selected
    Range("warmup", Share(0.05, ITERATIONS), Share(0.3, ITERATIONS), integer=True),
)
SCALE: Space = (Range("coarse_scale", 0.05, 1, log=True),)
DISCOVERY: Space = (
    Choice("hierarchy", ("discovered", "given")),
    Range(
        "num_superclasses",
        2,
        Share(0.5, CLASSES),
        log=True,
        integer=True,
        only_with=("hierarchy", "discovered"),
    ),
    # updates of a given tree leave learned coarse proxies as they are
    Range(
        "recluster_every",
        Share(0.02, ITERATIONS),
        Share(0.4, ITERATIONS),
        log=True,
        integer=True,
        only_with=("hierarchy", "discovered"),
    ),
)


def space_of(spec: LossSpec, has_trunk: bool = True) -> Space:
    """All that is searched for a loss; one without an entry in ``LOSSES`` has what all share.

    Arguments:
        spec: of the loss.
        has_trunk: whether a trunk is trained, and not the embedder alone.
    """
    space = TRAINING + (TRUNK if has_trunk else ()) + (PROXIES if spec.has_parameters else ())
    space += LOSSES.get(spec.base or spec.name, ())
    if spec.hierarchy is None:
        return space
    space += HIERARCHICAL + (SCALE if spec.has_scale else ())
    # a name such as hpl_given:proxy_nca promises the given tree
    return space + (DISCOVERY if spec.hierarchy == "discovered" else ())


def has_own_space(spec: LossSpec) -> bool:
    """Whether margins and scales of the loss itself are searched."""
    return (spec.base or spec.name) in LOSSES
