"""The trials of one loss: kept by Optuna in an SQLite file, and which one comes next."""

from __future__ import annotations

import json
import sqlite3
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import optuna
from optuna.exceptions import ExperimentalWarning
from sqlalchemy.exc import DatabaseError, OperationalError

from ..run_config import differences
from .proposals import COUNT, first_trials, near
from .space import Space
from .suggesting import suggest

FILE = "trials.db"
KEPT = 75.0  # percent: a trial goes on if it is among this many of the best so far
UNPRUNED_TRIALS = 4  # the trials that are trained to their end before any is ended early
_SEARCH = "search"


@contextmanager
def quiet_optuna() -> Iterator[None]:
    """Silence Optuna's line for every trial and its warnings about experimental features."""
    verbosity = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ExperimentalWarning)
        try:
            yield
        finally:
            optuna.logging.set_verbosity(verbosity)


def open_study(folder: Path, search: Mapping[str, Any]) -> optuna.Study:
    """The study in a folder, made if there is none.

    Arguments:
        folder: of the loss.
        search: all that its trials depend on, as plain values.

    Raises:
        ValueError: if the folder holds another search.
    """
    folder.mkdir(parents=True, exist_ok=True)
    study = optuna.create_study(
        storage=_storage(folder), study_name="tuning", direction="maximize", load_if_exists=True
    )
    if _SEARCH not in study.user_attrs:
        study.set_user_attr(_SEARCH, search)
    check_search(folder, search)
    return study


def check_search(folder: Path, search: Mapping[str, Any]) -> None:
    """Refuse a folder with another search; one without any is all right.

    Raises:
        ValueError: naming what differs.
    """
    study = _stored_study(folder)
    found = None if study is None else study.user_attrs.get(_SEARCH)
    wanted = json.loads(json.dumps(search))
    if found is not None and found != wanted:
        kind = (
            "on other images" if found.get("images") != wanted["images"] else "with other settings"
        )
        raise ValueError(
            f"{folder} holds a search {kind} ({differences(found, wanted)}). Choose another "
            "--out, or delete that folder"
        )


def read_study(folder: Path) -> optuna.Study:
    """The study in a folder.

    Raises:
        OSError: if there is none, or the file is not what a search wrote.
    """
    study = _stored_study(folder)
    if study is None:
        raise OSError(f"there is no search in {folder}")
    return study


def _stored_study(folder: Path) -> optuna.Study | None:
    """``None`` for a folder without a search, or with one that ended before its study was made."""
    if not (folder / FILE).exists():
        return None
    try:
        return optuna.load_study(study_name="tuning", storage=_storage(folder))
    except KeyError:
        return None
    except OperationalError as error:
        raise OSError(f"{folder / FILE} cannot be opened ({error.orig})") from error
    except (optuna.exceptions.StorageInternalError, RuntimeError, DatabaseError) as error:
        reason = getattr(error, "orig", error)  # without the query and an address
        raise OSError(
            f"{folder / FILE} is not what a search wrote ({reason}): delete {folder}, or choose "
            "another --out"
        ) from error


def next_trial(
    study: optuna.Study,
    space: Space,
    defaults: Mapping[str, Any],
    seed: int,
    judged_from: int = 0,
) -> tuple[optuna.trial.Trial, dict[str, Any]]:
    """The trial after the finished ones, and its values.

    It depends on the finished trials and the seed alone, so that an interrupted trial is
    repeated, and a search that is continued has the trials of one that was never interrupted. It is
    therefore asked for in a copy in memory: the file has only finished trials.

    Arguments:
        study: with the finished trials.
        space: with plain numbers.
        defaults: what the settings are without a search.
        seed: of the search.
        judged_from: the first epoch in which a trial may be ended early.
    """
    finished = study.get_trials(deepcopy=False)
    number = len(finished)
    pruner = optuna.pruners.PercentilePruner(
        KEPT, n_startup_trials=UNPRUNED_TRIALS, n_warmup_steps=judged_from
    )
    copy = optuna.create_study(direction="maximize", pruner=pruner)
    copy.add_trials(finished)
    if number < COUNT:
        values = first_trials(space, defaults, seed)[number]
    else:
        best = {**defaults, **copy.best_trial.params}
        values = near(space, best, np.random.default_rng((seed, number)))
    copy.enqueue_trial(values)
    trial = copy.ask()
    return trial, suggest(trial, space)


def keep_trial(
    study: optuna.Study, trial: optuna.trial.Trial, value: float, facts: Mapping[str, Any]
) -> None:
    """Write a finished trial, with the facts as its user attributes."""
    by_epoch = trial.study.get_trials(deepcopy=False)[trial.number].intermediate_values
    pruned = bool(facts.get("pruned"))
    finished = optuna.trial.create_trial(
        state=optuna.trial.TrialState.PRUNED if pruned else optuna.trial.TrialState.COMPLETE,
        value=value,
        intermediate_values=by_epoch,
        params=trial.params,
        distributions=trial.distributions,
        user_attrs=dict(facts),
    )
    study.add_trial(finished)


class Pruner:
    """Tells Optuna the accuracy of every epoch, and asks whether to go on.

    Arguments:
        trial: as :func:`next_trial` returned it.
        done: the epochs of the folds before this one.
    """

    def __init__(self, trial: optuna.trial.Trial, done: int) -> None:
        self._trial, self._done = trial, done
        self._reported = 0

    def report(self, history: Sequence[float | None]) -> None:
        """Take the accuracies of all epochs so far; those that were reported are left out."""
        for epoch, value in enumerate(history[self._reported :], self._reported + 1):
            number = float("nan") if value is None else value  # what a database makes of NaN
            self._trial.report(number, self._done + epoch)
        self._reported = max(self._reported, len(history))

    def __call__(self, history: Sequence[float]) -> bool:
        """Whether the best epoch so far is in the worst quarter of what earlier trials had."""
        self.report(history)
        return bool(self._trial.should_prune())  # Optuna gives a number of NumPy


def _storage(folder: Path) -> optuna.storages.RDBStorage:
    # only one process writes: a pool of connections would hold the file open
    # not by a URL, in which a path's ? and % would have a special meaning
    connect = partial(sqlite3.connect, (folder / FILE).absolute())
    return optuna.storages.RDBStorage("sqlite://", engine_kwargs={"creator": connect})


def finished_trials(folder: Path) -> int:
    """How many trials a folder has; 0 for one without a search."""
    study = _stored_study(folder)
    return 0 if study is None else len(study.get_trials(deepcopy=False))
