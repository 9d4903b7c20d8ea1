"""From the validation of all runs to means and paired differences with their intervals."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from ..results import HIERARCHY_NAMES, Summary, in_percent, mean_and_interval
from ..training import selected
from .variants import Variant, variant_of

PRIMARY = "mean_average_precision_at_r"
TOGETHER = "All bases"  # instead of one base: the pairs of all of them
Value = tuple[float, float]  # a mean and the half-width of its 95% interval


@dataclass(frozen=True)
class Comparison:
    """The validation of a flat loss, or what a variant of HPL changes.

    Attributes:
        base: the flat loss that the variant builds on, or ``TOGETHER``.
        variant: ``None`` for the flat loss itself.
        values: by metric: those of a flat loss itself, or a variant's differences from the flat
            loss; in points, except for a severity, which is a number of levels.
        to_reference: by metric, the difference from the variant that this one changes in one
            factor; empty for a flat loss and a reference.
        pairs: how many pairs of the same seed and fold ``values`` come from.
        seconds: the mean over the runs.
        update_seconds: the mean over the updates of the hierarchy; NaN for a flat loss.
        epochs: the selected ones.
    """

    base: str
    variant: Variant | None
    values: dict[str, Value]
    to_reference: dict[str, Value]
    pairs: int
    seconds: float
    update_seconds: float
    epochs: tuple[int, ...]

    @property
    def loss(self) -> str:
        """The name of the runs."""
        return self.variant.loss_name(self.base) if self.variant else self.base

    @property
    def label(self) -> str:
        """The row in a table of one base."""
        return self.variant.label if self.variant else self.base


def ablation_keys(num_levels: int) -> tuple[str, ...]:
    """The metrics that are compared: P@1 at the finest level, MAP@R at every level, and those of
    all levels together.
    """
    by_level = tuple(f"{PRIMARY}_level{level}" for level in range(num_levels))
    of_all = tuple(HIERARCHY_NAMES) if num_levels > 1 else ()
    return ("precision_at_1_level0", *by_level, *of_all)


def collect_validation(results: Sequence[dict[str, Any]], level_names: Sequence[str]) -> Summary:
    """One row per run: the validation metrics of its selected epoch, shares in percent."""
    keys = ablation_keys(len(level_names))
    rows = []
    for result in results:
        config = result["config"]
        name = config["loss"].split(":")
        rows.append(
            {
                "loss": config["loss"],
                "base": name[1] if len(name) > 1 else None,
                "seed": config["seed"],
                "fold": config["fold"],
                "best_epoch": result["best_epoch"],
                "seconds": result["seconds"],
                "update_seconds": result["update_seconds"],
                **in_percent({key: selected(result, key) for key in keys}),
            }
        )
    runs = pd.DataFrame(rows).astype({"update_seconds": "float64"})
    return Summary(runs, pd.DataFrame(columns=list(keys)), "", keys, tuple(level_names))


def compare(summary: Summary, bases: Sequence[str]) -> dict[str, list[Comparison]]:
    """For each base the flat loss, then every variant on it that was run, in the order of the
    factors; and with several bases, what the variants change over the pairs of all of them.

    A variant is left out if none of its runs has a flat run of the same seed and fold.
    """
    variants = {variant_of(loss) for loss in summary.losses if ":" in loss}
    ordered = sorted(variants, key=lambda one: one.place)
    found = {}
    for base in bases:
        own = {key: mean_and_interval(summary.values(base, key)) for key in summary.metrics}
        flat = Comparison(base, None, own, {}, *_about(summary, [base]))
        found[base] = [flat, *_changes(summary, base, ordered, [base])]
    together = _changes(summary, TOGETHER, ordered, bases) if len(bases) > 1 else []
    return {**found, TOGETHER: together} if together else found


def _changes(
    summary: Summary, name: str, variants: Sequence[Variant], bases: Sequence[str]
) -> list[Comparison]:
    found = []
    for variant in variants:
        losses = [variant.loss_name(base) for base in bases]
        references = [variant.reference.loss_name(base) for base in bases]
        pairs = len(_paired(summary, losses, bases, summary.metrics[0]))
        if pairs:
            values = _differences(summary, losses, bases)
            beside = _differences(summary, losses, references) if variant.factor else {}
            _, seconds, update_seconds, epochs = _about(summary, losses)
            found.append(
                Comparison(name, variant, values, beside, pairs, seconds, update_seconds, epochs)
            )
    return found


def _differences(
    summary: Summary, losses: Sequence[str], others: Sequence[str]
) -> dict[str, Value]:
    return {
        key: mean_and_interval(_paired(summary, losses, others, key)) for key in summary.metrics
    }


def _paired(summary: Summary, losses: Sequence[str], others: Sequence[str], key: str) -> np.ndarray:
    pairs = zip(losses, others, strict=True)
    return np.concatenate([summary.paired_differences(*pair, key) for pair in pairs])


def _about(summary: Summary, losses: Sequence[str]) -> tuple[int, float, float, tuple[int, ...]]:
    runs = summary.runs[summary.runs["loss"].isin(losses)]
    times = runs[["seconds", "update_seconds"]].mean()
    epochs = tuple(sorted(int(epoch) for epoch in runs["best_epoch"].dropna()))
    return len(runs), float(times["seconds"]), float(times["update_seconds"]), epochs
