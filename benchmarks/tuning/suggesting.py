"""From the written space to numbers: bounds for a data set, and the values of a trial."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import optuna

from pml_hierarchical.core.superclasses import level_sizes
from pml_hierarchical.losses import HierarchicalProxyLoss

from ..datasets.base import RetrievalData
from ..losses import LossSpec
from ..losses.parameters import constructor_parameters
from ..settings import TrainingSettings
from ..training import training_tree
from .space import (
    CLASSES,
    DEFAULT,
    ITERATIONS,
    TRAINING,
    TRUNK,
    Choice,
    Range,
    Share,
    Space,
    space_of,
)

DIGITS = 4  # of every number, so that the YAML file has what was run and people can read it
TRAINING_NAMES = tuple(parameter.name for parameter in TRAINING + TRUNK)


@dataclass(frozen=True)
class Extent:
    """What the bounds of a space depend on.

    Attributes:
        iterations: of a whole training.
        num_classes: the training classes of the fold that has the fewest.
        has_tree: whether the classes of every fold have superclasses.
        has_trunk: whether a trunk is trained, and not the embedder alone.
    """

    iterations: int
    num_classes: int
    has_tree: bool
    has_trunk: bool = True


def extent_of(data: RetrievalData, folds: Sequence[int], settings: TrainingSettings) -> Extent:
    """The extent of a data set; looks at the training classes alone."""
    trees = [training_tree(data.labels[data.split(fold).train])[1] for fold in folds]
    return Extent(
        settings.iterations,
        min(tree.num_classes for tree in trees),
        all(len(tree.sizes) > 1 for tree in trees),
        data.build_trunk is not None or data.inputs[0].ndim == 3,  # pictures, not features
    )


def default_values(spec: LossSpec, settings: TrainingSettings, extent: Extent) -> dict[str, Any]:
    """What the settings of a loss's space are without a search: the first trial."""
    usual = constructor_parameters(spec.loss_class)
    if spec.hierarchy is not None:
        usual |= constructor_parameters(HierarchicalProxyLoss)
    usual |= spec.settings()
    usual |= {name: getattr(settings, name) for name in TRAINING_NAMES}
    if usual.get("num_superclasses", 0) in (None, "auto"):
        usual["num_superclasses"] = level_sizes(extent.num_classes, (), "auto")[0][1]
    if usual.get("level_weights", 0) is None:
        tree = {"hierarchy": [[0, 0], [1, 0], [2, 1]]} if spec.hierarchy == "given" else {}
        usual["level_weights"] = HierarchicalProxyLoss(3, 1, **tree).level_weights[1]
    return {
        parameter.name: usual[parameter.name]
        for parameter in space_of(spec, extent.has_trunk)
        if _is_used(parameter, usual)
    }


def bounded_space(spec: LossSpec, settings: TrainingSettings, extent: Extent) -> Space:
    """The space of a loss with plain numbers; a range is widened where the default is outside."""
    defaults = default_values(spec, settings, extent)
    return tuple(
        _bounded(parameter, defaults.get(parameter.name), extent)
        for parameter in space_of(spec, extent.has_trunk)
    )


def suggest(trial: optuna.trial.Trial, space: Space) -> dict[str, Any]:
    """The values of a trial by name, as they are run: of ``DIGITS`` significant digits."""
    values: dict[str, Any] = {}
    for parameter in space:
        name = parameter.name
        if not _is_used(parameter, values):
            continue
        if isinstance(parameter, Choice):
            values[name] = trial.suggest_categorical(name, parameter.values)
            continue
        low, high = _number(parameter.low), _number(parameter.high)
        if parameter.integer:
            values[name] = trial.suggest_int(name, int(low), int(high), log=parameter.log)
        else:
            values[name] = rounded(trial.suggest_float(name, low, high, log=parameter.log))
    return values


def run_settings(
    spec: LossSpec, settings: TrainingSettings, space: Space, values: Mapping[str, Any]
) -> tuple[LossSpec, TrainingSettings]:
    """The loss and the training with the values of a trial."""
    of_loss = {name: value for name, value in values.items() if name not in TRAINING_NAMES}
    for parameter in space:
        for other in getattr(parameter, "also", ()):
            of_loss[other] = values[parameter.name]
    of_training = {name: values[name] for name in TRAINING_NAMES if name in values}
    return spec.with_settings(of_loss), replace(settings, **of_training)


def rounded(value: float) -> float:
    """The value with ``DIGITS`` significant digits."""
    return float(f"{value:.{DIGITS}g}")


def _is_used(parameter: Range | Choice, values: Mapping[str, Any]) -> bool:
    if isinstance(parameter, Choice) or parameter.only_with is None:
        return True
    name, value = parameter.only_with
    return bool(values[name] == value)


def _bounded(parameter: Range | Choice, default: Any, extent: Extent) -> Range | Choice:
    if isinstance(parameter, Choice):
        # where nothing is given, "given" would be the flat loss under another name
        values = parameter.values if extent.has_tree else ("discovered",)
        return replace(parameter, values=values)
    amounts = {DEFAULT: default, ITERATIONS: extent.iterations, CLASSES: extent.num_classes}
    low, high = (
        float(bound.factor * amounts[bound.of] if isinstance(bound, Share) else bound)
        for bound in (parameter.low, parameter.high)
    )
    if parameter.integer:
        low = max(1, round(low))
        high = max(low, round(high))  # 2 superclasses of few classes
    else:
        low, high = rounded(low), rounded(high)
    if default is not None:
        if parameter.log and default <= 0:
            raise ValueError(
                f"{parameter.name} is searched on a logarithmic scale, so its first value must be "
                f"above 0, got {default:g}: give another, or change it after the search, with "
                f"`run --tuned --set {parameter.name}={default:g}`"
            )
        low, high = min(low, default), max(high, default)
    return replace(parameter, low=low, high=high)


def _number(bound: float | Share) -> float:
    assert not isinstance(bound, Share)  # of a bounded space
    return float(bound)
