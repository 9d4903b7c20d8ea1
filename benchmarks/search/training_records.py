"""What a model says about its training, inside what ``add-classes`` said about each later step."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any


def with_added(record: Any, names: Sequence[str], folders: Sequence[str]) -> dict[str, Any]:
    """The record of a model after classes were added.

    Arguments:
        record: the model's before.
        names: of the new classes.
        folders: of the new classes, within the folder that was read.
    """
    return {"model": record, "added_classes": list(names), "added_folders": list(folders)}


def added(record: Any) -> tuple[list[str], list[str]]:
    """The names and the folders of all classes that were added, the oldest first."""
    names: list[str] = []
    folders: list[str] = []
    while _has_added(record):
        names = [*record["added_classes"], *names]
        folders = [*record["added_folders"], *folders]
        record = record["model"]
    return names, folders


def of_training(record: Any) -> Any:
    """The record of the training itself."""
    while _has_added(record):
        record = record["model"]
    return record


def _has_added(record: Any) -> bool:
    keys = {"model", "added_classes", "added_folders"}
    return isinstance(record, dict) and keys <= record.keys()
