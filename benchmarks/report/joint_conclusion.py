"""What several data sets say together, in three sentences."""

from __future__ import annotations

import math
from collections.abc import Mapping

from ..results import Summary, mean_and_interval
from .blocks import Conclusion
from .conclusion import Epochs, gain_at, gain_intervals, listed, of_gains, span
from .loss_names import full_name
from .order import SCORE, SCORE_NAME, by_score, leaders


def joint_conclusion(summaries: Mapping[str, Summary], short: Mapping[str, Epochs]) -> Conclusion:
    """The best losses, what the hierarchy changes at the finest level, and how sure both are.

    Arguments:
        summaries: of the data sets, by the names that they have in the report.
        short: the epochs of those whose training runs are not full.
    """
    winners: dict[str, list[str]] = {}
    gains: list[str] = []
    told_apart, with_interval = 0, 0
    for name, summary in summaries.items():
        shared = summary.common()
        losses = by_score(shared)
        best_names = listed([full_name(loss) for loss in leaders(shared)])
        winners.setdefault(best_names, []).append(name)
        values = [gain_at(summary, pair, 0)[0] for pair in summary.hierarchical()]
        values = [value for value in values if not math.isnan(value)]
        if values:
            gains.append(f"{span(values)} on {name}")
        if len(losses) > 1:
            lead = shared.paired_differences(losses[0], losses[1], SCORE)
            mean, half = mean_and_interval(lead)
            with_interval += not math.isnan(half)
            told_apart += abs(mean) > half
    order = sorted(winners.items(), key=lambda item: -len(item[1]))
    best = listed([f"with {loss} on {listed(names)}" for loss, names in order])
    hierarchy = (
        f"Compared with their base losses, hierarchical losses change it by {listed(gains)}."
        if gains
        else "No hierarchical loss was run beside its base loss, with the same seed and fold, so "
        "the numbers do not say what a hierarchy changes."
    )
    sure = [
        f"the lead of the best loss has an interval that does not include 0 on {told_apart} of "
        f"{len(summaries)} data sets"
        if with_interval
        else "on no data set do the best two losses have an interval, so any difference may be "
        "chance",
        *of_gains([gain_intervals(summary) for summary in summaries.values()]),
    ]
    if short:
        sure.append(f"on {listed(list(short))} the training runs are shorter than full ones")
    return Conclusion(
        (
            f"{SCORE_NAME} at the finest level is best {best}.",
            hierarchy,
            f"How sure: {'; '.join(sure)}.",
        )
    )
