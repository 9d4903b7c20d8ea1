"""The trials of a search: trained, judged on the validation folds, and kept as they finish."""

from __future__ import annotations

import math
import shutil
import time
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import optuna
import torch

from ..datasets.base import RetrievalData
from ..locking import only_one_in
from ..progress import RunProgress
from ..run_config import RunConfig, read_result
from ..training import OBJECTIVE, selected, train_and_validate
from ..training.checkpoints import RECORD_FOLDERS, remove_checkpoints
from ..wording import counted
from .search import Planned, Search
from .suggesting import TRAINING_NAMES, run_settings
from .trials import Pruner, keep_trial, next_trial, open_study, quiet_optuna

HOPELESS = 3  # after so many failures from the start, a search is given up


class SearchProgress(RunProgress, Protocol):
    """Where a search reports its progress."""

    def finish(self, line: str) -> None:
        """One trial is done."""


def run_search(
    planned: Planned, data: RetrievalData, progress: SearchProgress, device: torch.device
) -> None:
    """Do the trials that are missing.

    Raises:
        ValueError: if the folder holds another search, or its first trials all failed.
        OSError: if another process searches for this loss in this folder, or the disk is full.
    """
    search = planned.search
    with only_one_in(search.folder), quiet_optuna():
        study = open_study(search.folder, planned.identity)
        _check_failures(study, search)
        while len(study.get_trials(deepcopy=False)) < search.trials:
            trial, values = next_trial(
                study, planned.space, planned.defaults, search.seed, search.judged_from
            )
            value, facts = _tried(planned, trial, values, data, device, progress)
            keep_trial(study, trial, value, facts)
            progress.finish(_line(study, search))
            _check_failures(study, search)


def _check_failures(study: optuna.Study, search: Search) -> None:
    """If even the trial with the usual settings fails, the settings are not why all trials fail."""
    errors = [trial.user_attrs["error"] for trial in study.trials]
    if errors and all(errors) and len(errors) >= min(HOPELESS, search.trials):
        raise ValueError(
            f"the first {counted(len(errors), 'trial')} of {search.loss.name} failed, the last "
            f"with: {errors[-1]}. Delete {search.folder} when the cause is fixed"
        )


def _tried(
    planned: Planned,
    trial: optuna.trial.Trial,
    values: Mapping[str, Any],
    data: RetrievalData,
    device: torch.device,
    progress: RunProgress,
) -> tuple[float, dict[str, Any]]:
    """The value of a trial (0 if it failed), and what else should be known about it."""
    search, number, since = planned.search, trial.number, time.perf_counter()
    loss, settings = run_settings(search.loss, search.settings, planned.space, values)
    folder = search.trial_folder(number)
    shown = _TrialProgress(progress, f"trial {number + 1}/{search.trials}")
    by_fold: list[float] = []
    error, pruned, made = None, False, dict[str, Any]()
    for position, config in enumerate(search.runs(loss, settings)):
        # an interrupted trial has finished folds; those of other settings are not a failure
        result = read_result(config, folder)
        try:
            pruner = Pruner(trial, position * settings.epochs)
            result = result or train_and_validate(config, data, folder, device, shown, pruner)
            pruner.report(_history(result))
            by_fold.append(selected(result))
            pruned = result["stopped_early"]
        except ValueError as caught:  # e.g. for embeddings with NaN, from which no loss recovers
            error = str(caught)
        _remove_bulk(config, search, number)
        if error is not None or result is None or pruned:
            break
        made = {key: result["environment"][key] for key in ("commit", "versions")}
    shown.complete(search.iterations)
    return sum(by_fold) / len(by_fold) if error is None else 0.0, {
        "values": dict(values),
        "loss": loss.settings(),
        "training": {name: getattr(settings, name) for name in TRAINING_NAMES},
        "folds": by_fold,
        "error": error,
        "pruned": pruned,
        "seconds": time.perf_counter() - since,
        **made,
    }


def _history(result: Mapping[str, Any]) -> Sequence[float]:
    history: list[float | None] = result["validation"][OBJECTIVE]
    numbers = [float("nan") if value is None else value for value in history]
    if not all(map(math.isfinite, numbers)):
        raise ValueError(f"the validation {OBJECTIVE} is not finite: {history}")
    return numbers


def _remove_bulk(config: RunConfig, search: Search, number: int) -> None:
    """Keep only the settings and the result of a finished run."""
    folder = config.folder(search.trial_folder(number))
    for name in RECORD_FOLDERS:
        shutil.rmtree(folder / name, ignore_errors=True)
    remove_checkpoints(folder)


def _line(study: optuna.Study, search: Search) -> str:
    last = study.trials[-1]
    error = last.user_attrs["error"]
    end = f"   failed: {error}" if error else "   ended early" * last.user_attrs["pruned"]
    return (
        f"{search.loss.name:<24} trial {last.number + 1:>3}/{search.trials}   "
        f"MAP@R {100 * (last.value or 0):5.1f}   best {100 * study.best_value:5.1f}   "
        f"{last.user_attrs['seconds']:5.0f} s{end}"
    )


class _TrialProgress:
    """Says which trial a run belongs to, and counts its iterations."""

    def __init__(self, progress: RunProgress, trial: str) -> None:
        self._progress, self._trial = progress, trial
        self._iterations = 0

    def describe(self, run: str, stage: str) -> None:
        self._progress.describe(f"{run}, {self._trial}", stage)

    def advance(self, iterations: int = 1) -> None:
        self._iterations += iterations
        self._progress.advance(iterations)

    def complete(self, iterations: int) -> None:
        """Count what an early end, a failure or an earlier call left out."""
        self.advance(max(0, iterations - self._iterations))
