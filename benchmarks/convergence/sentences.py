"""What the numbers say: whether the training runs have converged, and how far proxy losses are."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

from ..report.loss_names import full_name
from .gains import (
    MOST_DISTANCE,
    MOST_GAIN,
    PAIR,
    PROXY,
    LossGains,
    best_of,
    have_converged,
    lead_of_proxies,
    still_gaining,
)
from .runs import Length


def sentences(gains: list[LossGains], lengths: Sequence[Length]) -> Iterator[str]:
    """For each longer length, whether the shorter one was enough; then the best of each kind."""
    for step in range(len(lengths) - 1):
        yield _about_gains(gains, step, lengths[step], lengths[step + 1])
    for number, length in enumerate(lengths):
        yield _about_kinds(gains, number, length)


def _about_gains(gains: list[LossGains], step: int, shorter: Length, longer: Length) -> str:
    is_twice = longer.times == 2 * shorter.times
    epochs = (
        f"twice the epochs ({longer.epochs})"
        if is_twice
        else f"{longer.epochs} instead of {shorter.epochs} epochs"
    )
    all_losses = f"the {len(gains)} losses" if len(gains) > 1 else "the losses"
    rising = still_gaining(gains, step)
    named = ", ".join(f"{full_name(one.loss)} ({one.gains[step][0]:+.2f})" for one in rising)
    verdict = "the" if have_converged(gains, step) else "not all"
    return (
        f"By this measure {verdict} training runs of {shorter.name} have converged: {epochs} raise "
        f"the validation MAP@R of {len(rising) or 'none'} of {all_losses} by more than "
        f"{MOST_GAIN:g} point{f': {named}' if named else ''}; {_range_of_gains(gains, step)}."
    )


def _range_of_gains(gains: list[LossGains], step: int) -> str:
    numbers = [one for one in gains if not math.isnan(one.gains[step][0])]
    missing = [full_name(one.loss) for one in gains if one not in numbers]
    said = []
    if numbers:
        low, high = (choose(numbers, key=lambda one: one.gains[step][0]) for choose in (min, max))
        smallest, largest = (
            f"{one.gains[step][0]:+.2f} ({full_name(one.loss)})" for one in (low, high)
        )
        said.append(
            f"the differences range from {smallest} to {largest} points"
            if low is not high
            else f"the difference is {largest} points"
        )
    if missing:
        said.append(f"no number was measured for {', '.join(missing)}")
    return "; ".join(said)


def _about_kinds(gains: list[LossGains], number: int, length: Length) -> str:
    proxy, pair = best_of(gains, PROXY, number), best_of(gains, PAIR, number)
    lead = lead_of_proxies(gains, number)
    after = f"After {length.name}"
    if proxy is None or pair is None or lead is None:
        absent = "proxy" if proxy is None else "pair"
        return f"{after} there is no {absent} loss in the table to compare the others with."
    names = [f"{full_name(one.loss)}, {one.scores[number][0]:.2f}%" for one in (proxy, pair)]
    text = (
        f"{after} the best proxy loss ({names[0]}) is {abs(lead):.2f} points "
        f"{'above' if lead >= 0 else 'below'} the best pair loss ({names[1]})"
    )
    if lead >= 0:
        return f"{text}."
    return (
        f"{text}, {'' if lead >= -MOST_DISTANCE else 'not '}within {MOST_DISTANCE:g} points of it."
    )
