"""Settings from the command line: ``--set NAME=VALUE`` and ``--settings FILE``."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .wording import did_you_mean

if TYPE_CHECKING:
    from .losses import LossSpec

_TRAINING = "training"  # training.NAME is a setting of the training
_WORDS = {"true": True, "false": False, "none": None, "null": None}
# the attributes of TrainingSettings that are numbers and not only for the registry
_OF_TRAINING = {
    "embedding_size": int,
    "epochs": int,
    "iterations_per_epoch": int,
    "batch_size": int,
    "samples_per_class": int,
    "learning_rate": float,
    "weight_decay": float,
    "trunk_factor": float,
    "warmup": float,
}
_AMBIGUOUS = "warmup"  # of HPL in training steps; training.warmup is a share of the training


@dataclass(frozen=True)
class GivenSettings:
    """What was set for this command alone.

    Attributes:
        training: attributes of ``TrainingSettings``, for all losses.
        losses: settings of losses by the name of the loss, by a prefix such as ``"hpl"``, or, for
            every loss that has such a setting, by ``""``.
        of_options: those of ``training`` that were set by an option such as ``--epochs``.
    """

    training: Mapping[str, Any] = field(default_factory=dict)
    losses: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    of_options: tuple[str, ...] = ()

    def with_options(self, **options: float | None) -> GivenSettings:
        """What was set, and what options with the names of settings say as well.

        Arguments:
            options: attributes of ``TrainingSettings``; ``None`` for an option that was not given.

        Raises:
            ValueError: for a setting that was given twice, or is not possible.
        """
        asked = {name: value for name, value in options.items() if value is not None}
        if "epochs" in asked and asked["epochs"] < 1:
            raise ValueError(f"--epochs must be at least 1, got {asked['epochs']}")
        if "learning_rate" in asked and not 0 < (rate := asked["learning_rate"]) < math.inf:
            raise ValueError(f"--learning-rate must be above 0 and finite, got {rate}")
        for name in asked:
            if name in self.training:
                raise ValueError(f"give --{name.replace('_', '-')} or --set {name}, not both")
        return replace(self, training={**asked, **self.training}, of_options=tuple(asked))

    def on(self, spec: LossSpec) -> LossSpec:
        """A loss with those of the settings that concern it; the more specific name decides.

        Raises:
            ValueError: if it does not have one that was given for this loss by its name.
        """
        common = self.losses.get("", {})
        chosen = {name: common[name] for name in spec.setting_names if name in common}
        for owner in reversed(_owners(spec)):
            chosen |= self.losses.get(owner, {})
        return spec.with_settings(chosen) if chosen else spec

    def check(self, specs: Sequence[LossSpec]) -> None:
        """Refuse what concerns none of the losses.

        Raises:
            ValueError: with the nearest name that there is.
        """
        owners = {owner for spec in specs for owner in _owners(spec)}
        for owner in self.losses:
            if owner and owner not in owners:
                raise ValueError(
                    f"--set {owner}.{next(iter(self.losses[owner]))}: {owner!r} is not among the "
                    f"losses{did_you_mean(owner, owners)} They are: "
                    f"{', '.join(spec.name for spec in specs)}"
                )
        known = {name for spec in specs for name in spec.setting_names}
        for name in self.losses.get("", {}):
            if name not in known:
                of_training = {f"{_TRAINING}.{n}" if n == _AMBIGUOUS else n for n in _OF_TRAINING}
                every = sorted(known | of_training)
                raise ValueError(
                    f"--set: no setting {name!r} of the training or of "
                    f"{', '.join(spec.name for spec in specs)}{_of_another(name, every)} There "
                    f"are: {', '.join(every)}"
                )

    def lines(self, specs: Sequence[LossSpec]) -> list[str]:
        """For people, a line for each setting but those of options: its value and its losses."""
        found = [
            f"{name}={value} for all losses"
            for name, value in self.training.items()
            if name not in self.of_options
        ]
        for owner, given in self.losses.items():
            for name, value in given.items():
                reached = [
                    spec.name
                    for spec in specs
                    if (name in spec.setting_names if owner == "" else owner in _owners(spec))
                ]
                found.append(f"{name}={value} for {', '.join(reached)}")
        return found


def _owners(spec: LossSpec) -> tuple[str, str]:
    """What may stand before the dot: the loss, and all hierarchical losses of its kind."""
    return spec.name, spec.name.partition(":")[0]


def given_settings(texts: Iterable[str] = (), file: Path | None = None) -> GivenSettings:
    """What the options say; ``--set`` takes precedence over the file.

    A setting is ``NAME=VALUE`` for every loss that has it, ``LOSS.NAME=VALUE`` for one loss (or,
    with ``hpl`` or ``hpl_given``, for those on all bases) or ``training.NAME=VALUE``. A value is a
    number, ``true``, ``false``, ``none``, a word, or several of them with commas between.

    Arguments:
        texts: of ``--set``.
        file: of ``--settings``: YAML with the same names; ``training`` and each loss may be a
            mapping of their own.

    Raises:
        ValueError: for what is not such a setting.
        OSError: if the file cannot be read.

    Example:
        >>> given = given_settings(["level_weights=1,0.3", "hpl:arcface.margin=20", "epochs=5"])
        >>> given.training, given.losses
        ({'epochs': 5}, {'': {'level_weights': (1, 0.3)}, 'hpl:arcface': {'margin': 20}})
    """
    found = {} if file is None else _from_file(file)
    for text in texts:
        name, is_given, value = text.partition("=")
        if not is_given or not name or not value:
            raise ValueError(f"--set takes NAME=VALUE, such as level_weights=0.1; got {text!r}")
        found[name] = _value(value)
    training: dict[str, Any] = {}
    losses: dict[str, dict[str, Any]] = {}
    for name, value in found.items():
        owner, _, rest = name.partition(".")
        if owner == _TRAINING or (name in _OF_TRAINING and name != _AMBIGUOUS):
            key = rest if owner == _TRAINING else name
            training[key] = training_setting(key, value)
        elif name == _AMBIGUOUS and isinstance(value, float):
            raise ValueError(
                f"--set warmup={value}: the warm-up of HPL is a number of training steps; "
                f"training.warmup={value} is a share of the training"
            )
        elif rest and owner != "miner":
            losses.setdefault(owner, {})[rest] = value
        else:
            losses.setdefault("", {})[name] = value
    return GivenSettings(training, losses)


def _value(text: str) -> Any:
    if "," in text and "(" not in text:  # commas in brackets are those of a distance or reducer
        return tuple(_value(part) for part in text.split(",") if part)
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            pass
    return _WORDS.get(text.lower(), text)


def training_setting(name: str, value: Any) -> Any:
    """The value, if the training has such a setting; a ``ValueError`` if not."""
    if name not in _OF_TRAINING:
        raise ValueError(
            f"the training has no setting {name!r}{did_you_mean(name, _OF_TRAINING)} It has: "
            f"{', '.join(_OF_TRAINING)}"
        )
    is_count = _OF_TRAINING[name] is int
    kinds = (int,) if is_count else (int, float)
    if type(value) not in kinds or not (is_count <= value < math.inf):
        wanted = "an integer of at least 1" if is_count else "a number of at least 0"
        raise ValueError(f"{name} of the training must be {wanted}, got {value!r}")
    return value


def _from_file(path: Path) -> dict[str, Any]:
    import yaml

    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ValueError(f"--settings {path} is not YAML: {error}") from error
    except OSError as error:
        raise OSError(f"--settings {path} cannot be read: {error.strerror}") from error
    if not isinstance(content, dict) or not all(isinstance(name, str) for name in content):
        raise ValueError(f"--settings {path} must hold lines such as `level_weights: 0.1`")
    if isinstance(content.get("losses"), dict):
        raise ValueError(f"{path} is what `tune` writes: give it to `run --tuned`")
    found: dict[str, Any] = {}
    for name, value in content.items():
        inner = value if isinstance(value, dict) else {"": value}
        for key, one in inner.items():
            whole = f"{name}.{key}" if isinstance(value, dict) else name
            found[whole] = tuple(one) if isinstance(one, list) else one
    return found


def _of_another(name: str, known: Iterable[str]) -> str:
    """A loss that has the setting, or else the nearest name."""
    from .losses import ALL_LOSSES, find_loss

    for spec in (*ALL_LOSSES.values(), find_loss("hpl:proxy_anchor")):
        if name in spec.setting_names:
            return f"; it is one of other losses, such as {spec.name}."
    return did_you_mean(name, known)
