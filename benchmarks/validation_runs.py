"""Runs that are trained and validated, never tested; those that are finished are not run again."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from rich.console import Console

from .datasets.base import RetrievalData
from .files import write_whole
from .jobs import RunFunction, do_missing
from .locking import only_one_in
from .request import RunRequest
from .run_config import RunConfig, read_result
from .stored import IMAGES_FILE, same_images
from .training import selected


def load_for_validation(request: RunRequest, folds: Iterable[int]) -> RetrievalData:
    """The data set in memory, if every fold has validation images to search for.

    Raises:
        ValueError: if no validation image of a fold has another one of its class.
    """
    data = request.source.load(warn=True)
    for fold in folds:
        data.check_accuracy(fold, ["validation"])
    return data


@contextmanager
def validated_runs(
    request: RunRequest,
    runs: Sequence[RunConfig],
    data: RetrievalData,
    console: Console,
    train: RunFunction,
) -> Iterator[tuple[dict[str, Any], ...]]:
    """Do the runs that are not finished yet; gives the results of all, in the order of ``runs``.

    No other command can write into the folder for as long as the context lasts.

    Arguments:
        request: says where the results go and how many runs take place at a time.
        runs: all on the data set of the request; their names differ.
        data: that data set.
        console: where a line per finished run is printed.
        train: does one run.

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
        yield tuple(result for result in results if result is not None)


def _line(config: RunConfig, result: dict[str, Any]) -> str:
    return f"{100 * selected(result):5.1f} {result['seconds']:4.0f} s   {config.name}"
