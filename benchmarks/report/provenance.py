"""Where the numbers of a data set come from: settings, seeds, versions and machines."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from ..backbones import BackboneChoice
from ..datasets.base import NUM_FOLDS, left_out_files
from ..results import Summary, base_of
from ..settings import OF_LOSS, SETTINGS, about_length, settings_for
from ..stored import StoredRuns
from .blocks import Cell, Grid, Row
from .loss_names import full_name
from .order import by_score
from .tables import MISSING

Result = Mapping[str, Any]


def introduction(stored: StoredRuns) -> str:
    """How the models of a data set were trained, selected and tested."""
    configs = [result["config"] for result in stored.results]
    counts = {
        part: span_of([result["num_images"][part] for result in stored.results])
        for part in stored.results[0]["num_images"]
        if all(part in result["num_images"] for result in stored.results)
    }
    gallery = f" against a gallery of {counts['gallery']}" if "gallery" in counts else ""
    left_out = max(result["num_left_out"] for result in stored.results)
    hours = sum(result["seconds"] for result in stored.results) / 3600
    took = f"{hours:.1f} hours" if hours >= 1 else f"{60 * hours:.1f} minutes"
    seeds = sorted({config["seed"] for config in configs})
    folds = sorted({config["fold"] for config in configs})
    lost = f" {left_out_files(left_out)}." if left_out else ""
    return (
        f"Trained on {counts['train']} images, selected by validation MAP@R "
        f"({stored.level_names[0]}) on {counts['val']}, tested on {counts['test']}{gallery}: no "
        f"class is in two of the three. {_listed('Seed', seeds)}; {_listed('fold', folds)} of "
        f"{NUM_FOLDS} of the training classes, the test classes being the same for all; "
        f"{took} of training and validation in all.{lost} {_network(stored).sentence()}"
    ).rstrip()


def warnings(stored: StoredRuns) -> list[str]:
    """What makes the losses of a data set less than comparable."""
    found = []
    places: dict[str, set[tuple[int, int]]] = {}
    settings: dict[str, set[str]] = {}
    for config in (result["config"] for result in stored.results):
        places.setdefault(config["loss"], set()).add((config["seed"], config["fold"]))
        settings.setdefault(config["loss"], set()).add(_key(config))
    if len({frozenset(chosen) for chosen in places.values()}) > 1:
        found.append(
            "Not all losses were run with the same seeds and folds: results and ranks are over "
            "those that all losses have, if there are any, and paired differences over those that "
            "both losses have."
        )
    mixed = [full_name(loss) for loss, chosen in settings.items() if len(chosen) > 1]
    if mixed:
        found.append(f"Not all runs of a loss have the same settings: {', '.join(mixed)}.")
    shared = {*OF_LOSS, *shared_training(stored.results)}
    differing = sorted({k for r in stored.results for k in r["config"]["training"]} - shared)
    if differing:
        found.append(f"Not all losses were trained alike ({', '.join(map(_words, differing))}).")
    return [*found, *early_models(stored), *(f"{message}." for message in stored.damaged)]


def length(stored: StoredRuns) -> list[str]:
    """What runs that are shorter than the full ones cannot show."""
    short = short_epochs(stored)
    said = about_length(stored.dataset, short[0], _network(stored)) if short else None
    return [] if said is None else [said]


def _network(stored: StoredRuns) -> BackboneChoice:
    """The network, which is the same in all runs of a folder."""
    return BackboneChoice(**stored.results[0]["config"].get("backbone", {}))


def short_epochs(stored: StoredRuns) -> tuple[int, int] | None:
    """The epochs of the shortest training and those of a full one; ``None`` if all are full."""
    if stored.dataset not in SETTINGS:
        return None
    shortest = min(result["config"]["training"]["epochs"] for result in stored.results)
    full = settings_for(stored.dataset, _network(stored)).epochs
    return (shortest, full) if shortest < full else None


def early_models(stored: StoredRuns) -> list[str]:
    """How many selected epochs of hierarchical losses lie in the warm-up."""
    total: Counter[str] = Counter()
    early: Counter[str] = Counter()
    for result in stored.results:
        config = result["config"]
        warmup = config["loss_settings"].get("warmup")
        if base_of(config["loss"]) is None or warmup is None:
            continue
        total[config["loss"]] += 1
        steps = result["best_epoch"] * config["training"]["iterations_per_epoch"]
        early[config["loss"]] += steps <= warmup
    if total and not any(early.values()):
        number = sum(total.values())
        return [f"Selected epochs inside the warm-up of a hierarchical loss: none of {number}."]
    return [
        f"In {early[loss]} of {count} run{'s' if count > 1 else ''} of {full_name(loss)} the best "
        "epoch lies in the warm-up: the model that was tested had not seen the superclasses yet."
        for loss, count in total.items()
        if early[loss]
    ]


def settings_grid(stored: StoredRuns, summary: Summary) -> Grid:
    """What every loss was run with; a line for each of its settings if they differ."""
    shared = shared_training(stored.results)
    rows = []
    for loss in by_score(summary):
        runs = [result for result in stored.results if result["config"]["loss"] == loss]
        by_settings: dict[str, list[Result]] = {}
        for run in runs:
            by_settings.setdefault(_key(run["config"]), []).append(run)
        for chosen in by_settings.values():
            config = chosen[0]["config"]
            differing = {k: v for k, v in config["training"].items() if k not in shared}
            cells = [
                loss,
                _plain(config["loss_settings"]),
                _plain(differing) or MISSING,
                str(len(chosen)),
                span_of([len(run["validation"]["epoch"]) for run in chosen]),
                span_of([run["best_epoch"] for run in chosen]),
                f"{np.mean([run['seconds'] for run in chosen]):.0f}",
            ]
            rows.append(Row(full_name(loss), tuple(map(Cell, cells)), loss))
    names = ["on the command line", "settings of the loss", "of the training"]
    names += ["runs", "epochs", "best epoch", "s / run"]
    keep = [i for i in range(len(names)) if i != 2 or any(r.cells[2].text != MISSING for r in rows)]
    return Grid(
        "Settings",
        tuple(("", names[i]) for i in keep),
        tuple(replace(row, cells=tuple(row.cells[i] for i in keep)) for row in rows),
        f"All runs: {_plain({_words(k): v for k, v in shared.items()})}.",
        prose=True,
    )


def shared_training(results: Sequence[Result]) -> dict[str, Any]:
    """The settings of the training that are the same in all runs."""
    first, *others = [result["config"]["training"] for result in results]
    return {k: v for k, v in first.items() if all(o.get(k) == v for o in others)}


def environments(results: Sequence[Result]) -> list[str]:
    """A sentence for each environment that runs took place in."""
    counted: dict[str, int] = {}
    for result in results:
        sentence = _environment(result["environment"])
        counted[sentence] = counted.get(sentence, 0) + 1
    return [f"{n} run{'s' if n > 1 else ''} with {text}" for text, n in counted.items()]


def _environment(environment: Mapping[str, Any]) -> str:
    versions = ", ".join(f"{name} {number}" for name, number in environment["versions"].items())
    threads = environment["threads"]
    text = (
        f"{versions}, Python {environment['python']} on {environment['machine']} "
        f"({environment['device']}, {threads} thread{'s' if threads > 1 else ''})"
    )
    commit = environment.get("commit")
    return f"{text}, commit {commit}." if commit else f"{text}."


def _key(config: Mapping[str, Any]) -> str:
    return json.dumps([config["loss_settings"], config["training"]], sort_keys=True)


def _plain(settings: Mapping[str, Any]) -> str:
    return ", ".join(f"{key}={value}" for key, value in settings.items())


def _words(name: str) -> str:
    return name.replace("_", " ")


def span_of(values: Sequence[int]) -> str:
    """From the lowest to the highest, or the only one."""
    low, high = min(values), max(values)
    return str(low) if low == high else f"{low} to {high}"


def _listed(name: str, values: Sequence[int]) -> str:
    return f"{name}{'s' if len(values) > 1 else ''} {', '.join(map(str, values))}"
