"""The rows of an earlier study beside those of the runs that are here now.

Training takes days and run folders are large, so a study is often continued where its first runs
are no longer stored: its ``study.json`` is enough to keep their rows.
"""

from __future__ import annotations

import math
import warnings
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from types import NoneType
from typing import Any

import pandas as pd

from ..files import NUMBER, read_json
from ..results import Summary
from .differences import TOGETHER, Comparison, Value, ablation_keys
from .study import DatasetStudy
from .variants import Variant, variant_of

ROW = {
    "base": str,
    "loss": str,
    "minus_reference": dict,
    "pairs": int,
    "seconds": NUMBER,
    "update_seconds": (*NUMBER, NoneType),
    "selected_epochs": [int],
}
STUDY = {...: {"level_names": [str], "training": dict, "rows": [ROW]}}


def read_earlier(path: Path) -> list[DatasetStudy]:
    """The data sets of a ``study.json``; variants that do not exist any more are left out with a
    warning.

    Raises:
        OSError: if there is no such file.
        DamagedFileError: if it is damaged, or is something else.
    """
    return [_read(name, content) for name, content in read_json(path, STUDY).items()]


def continued(earlier: Sequence[DatasetStudy], now: Sequence[DatasetStudy]) -> list[DatasetStudy]:
    """All rows of both studies; for a loss in both, the row with more pairs, or else the new one.

    Raises:
        ValueError: if the training runs or the levels of a data set differ.
    """
    found = {study.name: study for study in earlier}
    for study in now:
        before = found.get(study.name)
        if before is not None and before.training != study.training:
            raise ValueError(
                f"the training runs of {study.name} differ from those of the earlier study: "
                f"{study.training} here, {before.training} there"
            )
        if before is not None and before.summary.level_names != study.summary.level_names:
            raise ValueError(
                f"the levels of {study.name} differ from those of the earlier study: "
                f"{', '.join(study.summary.level_names)} here, "
                f"{', '.join(before.summary.level_names)} there"
            )
        rows = {} if before is None else before.rows
        both = {**rows, **study.rows}
        merged = {base: _merged(rows.get(base, []), study.rows.get(base, [])) for base in both}
        found[study.name] = replace(study, rows=_consistent(merged))
    return [found[name] for name in sorted(found)]


def _consistent(rows: dict[str, list[Comparison]]) -> dict[str, list[Comparison]]:
    """Leave out rows of all bases together whose pairs are not those of the bases' own rows."""
    pairs: Counter[Variant | None] = Counter()
    together = rows.pop(TOGETHER, [])
    for row in (row for found in rows.values() for row in found):
        pairs[row.variant] += row.pairs
    together = [row for row in together if row.pairs == pairs[row.variant]]
    return dict(sorted(rows.items())) | ({TOGETHER: together} if together else {})


def _merged(before: Sequence[Comparison], now: Sequence[Comparison]) -> list[Comparison]:
    rows = {row.variant: row for row in sorted((*before, *now), key=lambda row: row.pairs)}
    return sorted(rows.values(), key=lambda row: row.variant.place if row.variant else (-2,))


def _read(name: str, content: Mapping[str, Any]) -> DatasetStudy:
    level_names = tuple(content["level_names"])
    keys = ablation_keys(len(level_names))
    rows: dict[str, list[Comparison]] = {}
    for row in content["rows"]:
        try:
            variant = variant_of(row["loss"]) if row["loss"] != row["base"] else None
        except KeyError:  # from another version of the suite
            warnings.warn(f"{row['loss']} is not a variant (any more): left out", stacklevel=3)
        else:
            rows.setdefault(row["base"], []).append(_row(row, variant))
    summary = Summary(pd.DataFrame(), pd.DataFrame(), "", keys, level_names)
    return DatasetStudy(name, summary, dict(content["training"]), rows)


def _row(row: Mapping[str, Any], variant: Variant | None) -> Comparison:
    return Comparison(
        base=row["base"],
        variant=variant,
        values=_values(row["minus_flat" if variant else "metrics"]),
        to_reference=_values(row["minus_reference"]),
        pairs=row["pairs"],
        seconds=row["seconds"],
        update_seconds=_number(row["update_seconds"]),
        epochs=tuple(row["selected_epochs"]),
    )


def _values(values: Mapping[str, Mapping[str, float | None]]) -> dict[str, Value]:
    return {key: (_number(one["mean"]), _number(one["half_width"])) for key, one in values.items()}


def _number(value: float | None) -> float:
    return math.nan if value is None else value
