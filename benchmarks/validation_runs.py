"""Runs that are trained and validated, never tested; those that are finished are not run again."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from rich.console import Console

from .datasets.base import RetrievalData
from .files import write_whole
from .jobs import RunFunction, do_missing
from .locking import only_one_in
from .request import RunRequest
from .run_config import RunConfig, read_result
from .stored import IMAGES_FILE, same_images
from .training import selected

Plan = TypeVar("Plan")


@dataclass(frozen=True)
class Outcome(Generic[Plan]):
    """What came of the runs of a plan.

    Attributes:
        plan: what was asked for.
        level_names: of the data set.
        results: those of all runs, in their order, as ``train_and_validate`` returns them.
    """

    plan: Plan
    level_names: tuple[str, ...]
    results: tuple[dict[str, Any], ...]


def load_for_validation(request: RunRequest, folds: Iterable[int]) -> RetrievalData:
    """The data set in memory, if every fold has validation images to search for.

    Raises:
        ValueError: if no validation image of a fold has another one of its class.
    """
    data = request.source.load(warn=True)
    for fold in folds:
        data.check_accuracy(fold, ["validation"])
    return data


def do_validated(
    plan: Plan,
    request: RunRequest,
    runs: Sequence[RunConfig],
    data: RetrievalData,
    console: Console,
    train: RunFunction,
    report: Callable[[Outcome[Plan]], None] | None,
) -> Outcome[Plan]:
    """Do the runs that are not finished yet and collect the results of all.

    Arguments:
        plan: what the runs belong to.
        request: says where the results go and how many runs take place at a time.
        runs: all on the data set of the request; their names differ.
        data: that data set.
        console: where a line per finished run is printed.
        train: does one run.
        report: is called with the outcome while no other command can write into the folder.

    Raises:
        OSError: if runs are already in progress in the folder, or the disk is full.
        ValueError: if the folder holds runs on other images or with other settings (before any
            training).
    """
    with only_one_in(request.folder):
        path = request.folder / IMAGES_FILE
        about, _ = same_images(path, data, request.source.backbone)
        write_whole(path, json.dumps(about, indent=2))
        heading = "validation MAP@R, seconds, run:"
        do_missing(train, runs, request, data, console, _line, heading)
        results = [read_result(config, request.out) for config in runs]
        found = tuple(result for result in results if result is not None)
        outcome = Outcome(plan, data.level_names, found)
        if report is not None:
            report(outcome)
    return outcome


def _line(config: RunConfig, result: dict[str, Any]) -> str:
    return f"{100 * selected(result):5.1f} {result['seconds']:4.0f} s   {config.name}"
