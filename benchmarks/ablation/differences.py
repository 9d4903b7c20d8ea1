"""From the validation of all runs to means and paired differences with their intervals."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import pandas as pd

from ..results import Summary, mean_and_interval
from ..training import selected
from .runs import AblationOutcome
from .variants import Variant

PRIMARY = "mean_average_precision_at_r"


@dataclass(frozen=True)
class Comparison:
    """The validation of a variant of HPL beside that of another loss.

    Attributes:
        base: the flat loss that the variant builds on.
        variant: ``None`` for the flat loss itself.
        other: what it is compared with; ``None`` if with nothing: the values are then its own.
        values: for each metric the mean and the half-width of its 95% interval, in points.
        seconds: of a run, the mean.
        update_seconds: of an update of the hierarchy, the mean; NaN for a flat loss.
    """

    base: str
    variant: Variant | None
    other: str | None
    values: dict[str, tuple[float, float]]
    seconds: float
    update_seconds: float

    @property
    def loss(self) -> str:
        """As the runs are called."""
        return self.variant.loss_name(self.base) if self.variant else self.base


def ablation_keys(num_levels: int) -> tuple[str, ...]:
    """The metrics that are compared: P@1 at the finest level and MAP@R at every level."""
    return ("precision_at_1_level0", *(f"{PRIMARY}_level{level}" for level in range(num_levels)))


def collect_validation(outcome: AblationOutcome) -> Summary:
    """One row per run: the validation metrics of its best epoch, in percent."""
    keys = ablation_keys(len(outcome.level_names))
    rows = []
    for result in outcome.results:
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
                **{key: 100 * selected(result, key) for key in keys},
            }
        )
    runs = pd.DataFrame(rows).astype({"update_seconds": "float64"})
    return Summary(runs, pd.DataFrame(columns=list(keys)), "", keys, outcome.level_names)


def against_flat(outcome: AblationOutcome, summary: Summary, base: str) -> Iterator[Comparison]:
    """The flat loss itself, then the difference of every variant to it."""
    own = {key: mean_and_interval(summary.values(base, key)) for key in summary.metrics}
    yield Comparison(base, None, None, own, *_times(summary, base))
    for variant in outcome.ablation.variants:
        yield _compared(summary, base, variant, base)


def against_reference(
    outcome: AblationOutcome, summary: Summary, base: str
) -> Iterator[Comparison]:
    """The difference of every variant to the HPL that it changes in one argument."""
    for variant in outcome.ablation.variants:
        if variant.argument:
            yield _compared(summary, base, variant, variant.reference.loss_name(base))


def _compared(summary: Summary, base: str, variant: Variant, other: str) -> Comparison:
    loss = variant.loss_name(base)
    values = {
        key: mean_and_interval(summary.paired_differences(loss, other, key))
        for key in summary.metrics
    }
    return Comparison(base, variant, other, values, *_times(summary, loss))


def _times(summary: Summary, loss: str) -> tuple[float, float]:
    times = summary.runs.loc[summary.runs["loss"] == loss, ["seconds", "update_seconds"]].mean()
    return float(times["seconds"]), float(times["update_seconds"])
