"""What a report says in three sentences, made from its numbers: no more than they support."""

from __future__ import annotations

import math
from collections.abc import Sequence

from ..results import Summary, base_of, mean_and_interval
from .blocks import Conclusion
from .loss_names import full_name
from .order import SCORE, SCORE_NAME, by_score, leaders, pairs_by_gain, score_of
from .tables import number

MAX_PAIRS, MAX_LEVELS = 2, 3  # that are listed one by one
SMALL = 0.05  # points, which are shown as 0.0
Epochs = tuple[int, int]  # of the shortest training run, and of a full one


def conclusion(summary: Summary, short: Epochs | None = None) -> Conclusion:
    """Which loss is best, what the hierarchy changes and where, and how sure both are.

    Arguments:
        summary: of a data set.
        short: the epochs of the shortest training run and of a full one, if it is not full.
    """
    return Conclusion((_best(summary.common()), _hierarchy(summary), _certainty(summary, short)))


def _best(summary: Summary) -> str:
    measure = f"{SCORE_NAME} ({summary.level_names[0]})"
    losses = [loss for loss in by_score(summary) if not math.isnan(score_of(summary, loss))]
    if not losses:
        return f"No loss has a {measure}."
    best, *others = losses
    score = score_of(summary, best)
    untrained = ""
    if SCORE in summary.untrained and len(summary.untrained):
        value = number(float(summary.untrained[SCORE].mean()))
        untrained = f"; without training ({summary.untrained_name}) it is {value}%"
    if not others:
        return f"{full_name(best)}, the only loss, has a {measure} of {number(score)}%{untrained}."
    if len(equal := leaders(summary)) > 1:
        names = listed([full_name(loss) for loss in equal])
        return (
            f"{names} share the best {measure} of {len(losses)} losses, {number(score)}%"
            f"{untrained}."
        )
    second = score_of(summary, others[0])
    return (
        f"{full_name(best)} has the best {measure} of {len(losses)} losses: {number(score)}%, "
        f"{points(score - second, sign=False)} more than {full_name(others[0])} "
        f"({number(second)}%){untrained}."
    )


def _hierarchy(summary: Summary) -> str:
    pairs = pairs_by_gain(summary)
    if not pairs:
        if any(base_of(loss) for loss in summary.losses):
            return (
                "No hierarchical loss was run beside its base loss, with the same seed and fold, "
                "so the numbers do not say what the hierarchy changes."
            )
        return "No hierarchical loss was run, so the numbers do not say what a hierarchy changes."
    gains = {
        pair: [gain_at(summary, pair, level)[0] for level in _levels(summary)] for pair in pairs
    }
    names = [summary.level_names[level] for level in _levels(summary)]
    if all(abs(gain) < SMALL for gain, _ in gain_intervals(summary)):
        return (
            f"Compared with {'its base loss' if len(pairs) == 1 else 'their base losses'}, "
            f"{listed([full_name(loss) for loss, _ in gains])} "
            f"change{'s' if len(pairs) == 1 else ''} {SCORE_NAME} by less than 0.1 points at every "
            "level."
        )
    if len(pairs) <= MAX_PAIRS:
        told = [
            f"{full_name(loss)} changes {SCORE_NAME} by "
            + listed([f"{points(gain)} ({at})" for gain, at in zip(found, names, strict=True)])
            for (loss, _), found in gains.items()
        ]
        return f"Compared with its base loss, {'; '.join(told)}."
    told = []
    for place, at in enumerate(names):
        values = [found[place] for found in gains.values() if not math.isnan(found[place])]
        if values:
            higher = sum(value > 0 for value in values)
            told.append(f"{span(values)} ({at}; higher for {higher} of {len(values)})")
    return (
        f"Compared with their base losses, the {len(pairs)} hierarchical losses change "
        f"{SCORE_NAME} by {listed(told)}."
    )


def _certainty(summary: Summary, short: Epochs | None) -> str:
    if summary.runs.groupby("loss").size().max() < 2:
        single = "there is one run of each loss" if len(summary.losses) > 1 else "there is one run"
        said = [f"{single}, so nothing has an interval and any difference may be chance"]
    else:
        said = [_of_lead(summary.common()), *of_gains([gain_intervals(summary)])]
    if short is not None:
        said.append(
            f"trained for {short[0]} of the full {short[1]} epochs, this does not show which "
            "loss is best"
        )
    return f"How sure: {'; '.join(said)}."


def _of_lead(summary: Summary) -> str:
    losses = by_score(summary)
    if len(losses) == 1:
        mean, half = mean_and_interval(summary.values(losses[0], SCORE))
        return f"the 95% interval of the score is {mean - half:.1f} to {mean + half:.1f}%"
    differences = summary.paired_differences(losses[0], losses[1], SCORE)
    mean, half = mean_and_interval(differences)
    if math.isnan(half):
        return (
            "fewer than two combinations of seed and fold were run with all losses, so the lead "
            "has no interval and may be chance"
        )
    apart = (
        ""
        if summary.is_paired
        else "no seed and fold was run with all losses, so their means are over different ones; "
    )
    interval = (
        f"{apart}over {len(differences)} pairs of runs the 95% interval of the lead is "
        f"{_signed(mean - half)} to {_signed(mean + half)} points"
    )
    if abs(mean) > half:
        return f"{interval}, which does not include 0"
    return f"{interval}, which includes 0: the best two losses cannot be told apart"


def of_gains(intervals: Sequence[Sequence[tuple[float, float]]]) -> list[str]:
    """How many differences made by the hierarchy have an interval without 0, of those with one."""
    known = [(mean, half) for found in intervals for mean, half in found if not math.isnan(half)]
    if not known:
        return []
    better = sum(mean > half for mean, half in known)
    worse = sum(-mean > half for mean, half in known)
    if not better + worse:
        if len(known) == 1:
            return [f"the difference in {SCORE_NAME} by the hierarchy has an interval with 0 in it"]
        return [
            f"all {len(known)} differences in {SCORE_NAME} by the hierarchy, one per loss and "
            "level, have intervals that include 0"
        ]
    without_0 = "with an interval that does not include 0"
    if len(known) == 1:
        trend = "better" if better else "worse"
        return [f"the difference in {SCORE_NAME} by the hierarchy is {trend}, {without_0}"]
    return [
        f"of the {len(known)} differences in {SCORE_NAME} by the hierarchy, one per loss and "
        f"level, {_are(better)} better and {_are(worse)} worse {without_0}"
    ]


def _are(number: int) -> str:
    return f"{number} {'is' if number == 1 else 'are'}"


def _levels(summary: Summary) -> list[int]:
    levels = list(range(len(summary.level_names)))
    return levels if len(levels) <= MAX_LEVELS else [levels[0], levels[-1]]


def gain_at(summary: Summary, pair: tuple[str, str], level: int) -> tuple[float, float]:
    """The difference the hierarchy makes to MAP@R at a level, and its interval's half-width."""
    key = SCORE.replace("level0", f"level{level}")
    return mean_and_interval(summary.paired_differences(*pair, key))


def gain_intervals(summary: Summary) -> list[tuple[float, float]]:
    """The same for all hierarchical losses at all levels."""
    return [
        gain_at(summary, pair, level)
        for pair in summary.hierarchical()
        for level in range(len(summary.level_names))
    ]


def points(value: float, sign: bool = True) -> str:
    """A difference with its unit."""
    if not sign:
        return f"{number(value)} points" if value >= SMALL else "less than 0.1 points"
    return f"{_signed(value)} points"


def span(values: Sequence[float]) -> str:
    """From the lowest to the highest difference."""
    low, high = _signed(min(values)), _signed(max(values))
    return f"{low} points" if low == high else f"{low} to {high} points"


def listed(items: Sequence[str]) -> str:
    """Words as a list.

    Example:
        >>> listed(["a", "b", "c"])
        'a, b and c'
    """
    return " and ".join([*([", ".join(items[:-1])] if items[:-1] else []), *items[-1:]])


def _signed(value: float) -> str:
    """The number with the sign used in prose; what is rounded to 0 has none."""
    return "0.0" if abs(value) < SMALL else number(value, sign=True).replace("-", "−")
