"""The settings that a search found: from and to a YAML file, and into a run."""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from ..given_settings import training_setting
from ..losses import LossSpec
from ..settings import SETTINGS, TrainingSettings
from ..several_values import FROM_DATASET
from .suggesting import TRAINING_NAMES

if TYPE_CHECKING:
    from ..request import DataSource
    from ..suite import Adapt

SHIPPED = Path(__file__).parents[1] / "tuned"
# In a clone the settings are kept with the code; nobody would look among installed packages.
FOLDER = Path("tuned") if __name__.startswith("pml_hierarchical.") else SHIPPED
_OF_LENGTH = {"warmup": 0, "recluster_every": 1}  # in training steps, and the least of them


@dataclass(frozen=True)
class Tuned:
    """What was found for a loss.

    Attributes:
        training: some attributes of ``TrainingSettings``.
        loss: as :meth:`~benchmarks.losses.LossSpec.with_settings` takes them.
        trials: the budget that it was found with.
        epochs: of the runs of the search.
        source: the file, for messages.
        dataset: what it was found on.
    """

    training: Mapping[str, Any]
    loss: Mapping[str, Any]
    trials: int
    epochs: int
    source: Path
    dataset: str


def tuned_file(dataset: str) -> Path:
    """Where ``tune`` writes what it found on a data set, unless told otherwise."""
    return FOLDER / f"{dataset}.yaml"


def tuned_file_to_read(dataset: str) -> Path:
    """The file of ``tune``, or, if there is none, the one that came with an installed suite."""
    own = tuned_file(dataset)
    shipped = SHIPPED / own.name
    return shipped if shipped.exists() and not own.exists() else own


def tuned_settings(path: Path) -> dict[str, Tuned]:
    """What a file of ``tune`` has for each loss.

    Raises:
        OSError: if there is no such file.
        ValueError: if it is not what ``tune`` writes.
    """
    content = read_yaml(path)
    found = {}
    for name, entry in content["losses"].items():
        parts = entry if isinstance(entry, dict) else {}
        training, loss, trials = (parts.get(key) for key in ("training", "loss", "trials"))
        if not (isinstance(training, dict) and isinstance(loss, dict) and isinstance(trials, int)):
            raise ValueError(f"{path}: {name} must have trials, training and loss")
        if set(training) != set(TRAINING_NAMES):
            raise ValueError(
                f"{path}: training of {name} must have {', '.join(TRAINING_NAMES)}, "
                f"got {', '.join(map(str, training)) or 'nothing'}"
            )
        for key, value in training.items():
            if type(value) not in (int, float) or not 0 <= value < math.inf:
                raise ValueError(f"{path}: {key} of {name} must be a number, got {value!r}")
        whole = {**content.get("training", {}), **training}
        found[name] = Tuned(whole, loss, trials, content["epochs"], path, content["dataset"])
    return found


def read_yaml(path: Path) -> dict[str, Any]:
    """The content of a file of ``tune``; only its outermost form is checked.

    Raises:
        OSError: if there is no such file, or it cannot be read.
        ValueError: if it is not what ``tune`` writes.
    """
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        is_default = path.parent == FOLDER
        command = path.stem if is_default else f"DATASET --settings {path}"
        raise FileNotFoundError(
            f"there are no tuned settings: {path} does not exist. `pml-hierarchical tune "
            f"{command}` searches for them and writes this file"
        ) from error
    except OSError as error:
        raise OSError(f"the tuned settings {path} cannot be read: {error.strerror}") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ValueError(f"{path} is not YAML: {error}") from error
    kinds = {
        "dataset": str, "folds": list, "seed": int, "epochs": int, "network": str, "losses": dict
    }  # fmt: skip
    for key, kind in kinds.items():
        if not isinstance(content, dict) or not isinstance(content.get(key), kind):
            raise ValueError(
                f"{path} is not what `tune` writes: it needs {', '.join(kinds)}, and {key} is "
                "missing or of another kind"
            )
    chosen = content.get("training", {})
    try:
        for name, value in dict(chosen).items():
            training_setting(name, value)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{path}: {error}") from error
    if content["epochs"] < 1:
        raise ValueError(f"{path}: epochs must be at least 1, got {content['epochs']}")
    return dict(content)


def apply_tuned(
    spec: LossSpec,
    settings: TrainingSettings,
    changes: Mapping[str, Any] | None = None,
    *,
    tuned: Mapping[str, Tuned],
) -> tuple[LossSpec, TrainingSettings]:
    """A loss and its training with the settings that were found for it.

    A hierarchical loss without an entry has the settings of its base, and its hierarchy the
    defaults: the two then differ in nothing but the hierarchy.

    What is counted in training steps keeps its share of the training, and so does the warm-up if
    the search was not for it.

    Arguments:
        spec: of any loss, by the name that it or its base was tuned by.
        settings: of the data set.
        changes: attributes of ``settings`` that were asked for, in the place of those found.
        tuned: what :func:`tuned_settings` returned.

    Raises:
        ValueError: if neither this loss nor its base was tuned, or it has no such setting.
    """
    found = tuned.get(spec.name) or tuned.get(spec.base or "")
    if found is None:
        known = ", ".join(tuned) or "none"
        raise ValueError(
            f"there are no tuned settings for {spec.name!r}, only for {known}. "
            f"`pml-hierarchical tune DATASET --losses {spec.base or spec.name}` finds some"
        )
    training = replace(settings, **{**found.training, **(changes or {})})
    searched = found.training.get(
        "iterations_per_epoch", SETTINGS.get(found.dataset, settings).iterations_per_epoch
    )
    share = training.iterations / (found.epochs * searched)
    is_usual = spec.hpl_arguments.get("warmup") == settings.warmup_steps
    usual = {"warmup": training.warmup_steps} if is_usual else {}
    of_loss = usual | {
        key: max(_OF_LENGTH[key], round(value * share))
        if key in _OF_LENGTH and isinstance(value, (int, float))
        else value
        for key, value in found.loss.items()
    }
    try:
        changed = spec.with_settings(of_loss)
    except ValueError as error:
        raise ValueError(f"{found.source}: {error}") from error
    return changed, training


def adapt_to_tuned(file: str | None, source: DataSource) -> Adapt | None:
    """What ``--tuned`` asks for, as :func:`benchmarks.suite.plan` takes it.

    Arguments:
        file: of ``tune``; ``FROM_DATASET`` for that of the data set, ``None`` for no such settings.
        source: the data set and the network.

    Raises:
        OSError: if there is no such file.
        ValueError: if it is not what ``tune`` writes, or for another network, which needs other
            settings.
    """
    if file is None:
        return None
    path = tuned_file_to_read(source.dataset) if file == FROM_DATASET else Path(file)
    content = read_yaml(path)
    network, found = source.backbone.options(), content["network"]
    if found != network:
        raise ValueError(
            f"{path} has settings for {_network(found)}, and these runs have {_network(network)}: "
            "choose the same, or search for settings for this one with `pml-hierarchical tune "
            f"{source.dataset} {network}".rstrip()
            + " --settings FILE`"
        )
    if content["dataset"] != source.dataset:
        warnings.warn(
            f"the settings in {path} were searched on {content['dataset']}, not on "
            f"{source.dataset}",
            stacklevel=2,
        )
    return partial(apply_tuned, tuned=tuned_settings(path))


def _network(options: str) -> str:
    return f"the network of {options}" if options else "the default network"
