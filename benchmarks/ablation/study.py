"""The ablations of all data sets together: what wins, where, and by how much."""

from __future__ import annotations

import json
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..files import read_json, write_whole
from ..report.blocks import Cell, Row
from ..report.loss_names import full_name
from ..report.tables import MISSING, difference_cell, markdown_table
from ..results import HIERARCHY_NAMES, METRIC_NAMES, Summary, sign_of
from ..run_config import OF_NETWORK, RESULT_FILE, flattened
from ..settings import OF_LOSS
from ..stored import IMAGES, IMAGES_FILE
from ..wording import counted
from .differences import PRIMARY, TOGETHER, Comparison, collect_validation, compare
from .runs import FOLDER
from .table import DIGITS, FINEST, READING, as_plain, factor_list, section
from .variants import Variant, is_known


@dataclass(frozen=True)
class DatasetStudy:
    """All ablations of one data set.

    Attributes:
        name: of the data set.
        summary: a row per run.
        training: what all its runs have in common.
        rows: what :func:`~benchmarks.ablation.differences.compare` returns.
    """

    name: str
    summary: Summary
    training: dict[str, Any]
    rows: dict[str, list[Comparison]]


def read_study(folder: Path) -> list[DatasetStudy]:
    """Read what ``ablate`` left in an ``--out`` folder.

    Raises:
        ValueError: if there are no ablations, or those of a data set were trained differently.
        DamagedFileError: if a file is damaged.
    """
    found = [
        _read_dataset(path.parent) for path in sorted(folder.glob(f"{FOLDER}/*/{IMAGES_FILE}"))
    ]
    studies = [study for study in found if study is not None]
    if not studies:
        raise ValueError(
            f"{folder} holds no ablation: expected the --out folder of `pml-hierarchical ablate`"
        )
    return studies


def _read_dataset(folder: Path) -> DatasetStudy | None:
    about = read_json(folder / IMAGES_FILE, IMAGES)
    shape = {"config": {"loss": str, "seed": int, "fold": int}, "validation": dict}
    results = [read_json(path, shape) for path in sorted(folder.glob(f"*/*/{RESULT_FILE}"))]
    known = [result for result in results if is_known(result["config"]["loss"])]
    if unknown := len(results) - len(known):
        which = f"{counted(unknown, 'run')} in {folder} belong{'s' if unknown == 1 else ''}"
        warnings.warn(f"{which} to no variant (any more)", stacklevel=3)
    results = known
    if not results:
        return None
    trainings: list[dict[str, Any]] = []
    for result in results:
        config = result["config"]
        training = {key: value for key, value in config["training"].items() if key not in OF_LOSS}
        training |= {key: config[key] for key in OF_NETWORK if key in config}
        if training not in trainings:
            trainings.append(training)
    if len(trainings) > 1:
        one, other = trainings[:2]
        differing = [key for key in one | other if one.get(key) != other.get(key)]
        raise ValueError(
            f"{folder} holds ablations with different training settings ({', '.join(differing)} "
            "differ): delete those that are not wanted"
        )
    _check_equal_losses(folder, results)
    summary = collect_validation(results, about["level_names"])
    bases = sorted(loss for loss in summary.losses if ":" not in loss)
    return DatasetStudy(folder.name, summary, trainings[0], compare(summary, bases))


def _check_equal_losses(folder: Path, results: Sequence[Mapping[str, Any]]) -> None:
    """Seeds of a loss are only pooled if nothing else differs; folds differ by their classes."""
    settings: dict[tuple[str, int], dict[str, Any]] = {}
    for result in results:
        config = result["config"]
        of_loss = {
            "loss": config.get("loss_settings"),
            "training": {name: config["training"].get(name) for name in OF_LOSS},
        }
        first = settings.setdefault((config["loss"], config["fold"]), of_loss)
        if first != of_loss:
            one, other = flattened(first), flattened(of_loss)
            names = [name for name in one | other if one.get(name) != other.get(name)]
            raise ValueError(
                f"{folder} holds runs of {config['loss']} on fold {config['fold']} with different "
                f"settings ({', '.join(names)} differ): delete those that are not wanted"
            )


def write_study(studies: Sequence[DatasetStudy], folder: Path, command: str) -> list[Path]:
    """Write study.md, study.json and study.png."""
    from ..report.style import as_png
    from .picture import forest

    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / f"study.{kind}" for kind in ("md", "json", "png")]
    write_whole(paths[0], _text(studies, command))
    content = {
        study.name: {
            "level_names": study.summary.level_names,
            "training": study.training,
            "rows": [as_plain(row) for rows in study.rows.values() for row in rows],
        }
        for study in studies
    }
    write_whole(paths[1], json.dumps(content, indent=2))
    write_whole(paths[2], as_png(forest(studies)))
    return paths


def _text(studies: Sequence[DatasetStudy], command: str) -> str:
    factors = factor_list(row for study in studies for rows in study.rows.values() for row in rows)
    parts = [
        "# What each setting of HPL changes\n",
        "**Validation classes only**: no run has been evaluated on the test classes.\n",
        f"Command: `{command}`\n",
        "![Differences from the flat losses; where an interval goes on, an arrowhead](study.png)\n",
        "## All data sets\n",
        "Differences from the flat loss in points, each with the half-width of its 95% interval.\n",
        *(_overview(studies, key) for key in (FINEST, f"{PRIMARY}_level1", *list(HIERARCHY_NAMES))),
        f"The factors:\n\n{factors}" if factors else "",
    ]
    for study in studies:
        training = study.training
        parts.append(
            f"## {study.name}\n\n{counted(training['epochs'], 'epoch')} of "
            f"{training['iterations_per_epoch']} batches of {training['batch_size']}.\n"
        )
        parts += [f"#{section(study.summary, rows)}" for rows in study.rows.values()]
    return "\n".join([*parts, READING, ""])


def _overview(studies: Sequence[DatasetStudy], key: str) -> str:
    """One metric: a row per variant, a column per data set and base loss."""
    columns = [(study.name, base) for study in studies for base in study.rows]
    found = {
        (study.name, base, row.variant): row.values[key]
        for study in studies
        if key in study.summary.metrics
        for base, rows in study.rows.items()
        for row in rows
        if row.variant
    }
    if not found:
        return ""
    rows = []
    for variant in variants_of(studies):
        cells, better, worse = [], 0, 0
        for name, base in columns:
            value = found.get((name, base, variant))
            cells.append(difference_cell(*value, key, DIGITS) if value else Cell(MISSING))
            if value and abs(value[0]) > value[1] and base != TOGETHER:
                better += sign_of(key) * value[0] > 0
                worse += sign_of(key) * value[0] < 0
        rows.append(Row(variant.label, (*cells, Cell(f"{better} / {worse}"))))
    headers = [*((name, full_name(base)) for name, base in columns), ("surely", "better / worse")]
    return f"### {_title(key)}\n\n{markdown_table(headers, rows)}\n"


def _title(key: str) -> str:
    if key in HIERARCHY_NAMES:
        return HIERARCHY_NAMES[key]
    metric, _, level = key.rpartition("_level")
    where = "the finest level" if level == "0" else "the finest superclasses"
    return f"{METRIC_NAMES[metric]} of {where}"


def variants_of(studies: Sequence[DatasetStudy]) -> list[Variant]:
    """Every variant that was run anywhere, in the order of the factors."""

    def every() -> Iterator[Variant]:
        for study in studies:
            for rows in study.rows.values():
                yield from (row.variant for row in rows if row.variant)

    return sorted(dict.fromkeys(every()), key=lambda variant: variant.place)
