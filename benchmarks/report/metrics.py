"""What the columns of the tables mean, in words for people who meet them for the first time."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from .blocks import Explanation, Grid, Section

EXPLANATIONS = {
    "P@1": Explanation(
        "P@1: precision at 1",
        "The share of queries whose nearest neighbour is of the query's class at this level. In "
        "percent; higher is better.",
    ),
    "RP": Explanation(
        "RP: R-precision",
        "For a query whose class has R other images, the share of its R nearest neighbours that "
        "are of the class; the mean over all queries. In percent; higher is better.",
    ),
    "MAP@R": Explanation(
        "MAP@R: mean average precision at R",
        "Like RP, but the order counts, too: for every right neighbour among the R nearest, the "
        "share of right ones up to its rank; their sum divided by R, and the mean over all "
        "queries. In percent; higher is better. At the finest level this is the score by which "
        "models are selected and losses are ranked.",
    ),
    "H-AP": Explanation(
        "H-AP: hierarchical average precision",
        "Average precision over all levels at once: a neighbour counts the more the finer the "
        "level at which it is right, so that an image of the right superclass is better than one "
        "of another. In percent; higher is better.",
    ),
    "ASI": Explanation(
        "ASI: average set intersection",
        "How much the first k neighbours have in common with the ideal order, which has images of "
        "the query's class first, then those of its superclass and so on; the mean over k. In "
        "percent; higher is better.",
    ),
    "severity ↓": Explanation(
        "Severity of mistakes",
        "Over the queries whose nearest neighbour is of another class: how many levels up the two "
        "classes meet. 1 is a class of the same superclass. In levels; lower is better. A loss "
        "with fewer, harder mistakes can have a higher one: compare it at about the same P@1.",
    ),
    "s": Explanation("s: seconds", "Of training and validation of one run; the mean over runs."),
    "all levels": Explanation(
        "Average rank, all levels",
        "The rank of a loss in every metric at every level, 1 being the best; the mean over all.",
    ),
    "finest level": Explanation(
        "Average rank, finest level", "The same over the metrics of the finest level alone."
    ),
    "by mean": Explanation(
        "Best in, by mean", "In how many metrics and levels no other loss has a better mean."
    ),
    "counting ties": Explanation(
        "Best in, counting ties",
        "The same, counting those in which the loss ties with the best: the 95% interval of their "
        "paired difference includes 0.",
    ),
}


def used_in(sections: Iterable[Section]) -> dict[str, Explanation]:
    """The explanations of the columns that occur, in the order of this module."""
    columns = {name for grid in _grids(sections) for _, name in grid.columns}
    return {name: about for name, about in EXPLANATIONS.items() if name in columns}


def _grids(sections: Iterable[Section]) -> Sequence[Grid]:
    return [
        block
        for section in sections
        for block in section.blocks
        if isinstance(block, Grid) and block.explained
    ]
