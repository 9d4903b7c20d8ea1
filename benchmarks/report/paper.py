"""The numbers of the paper that proposed HPL, for the data sets that it has in common with us.

Z. Yang, M. Bastan, X. Zhu, D. Gray, D. Samaras, "Hierarchical Proxy-based Loss for Deep Metric
Learning", WACV 2022: BN-Inception, four folds, concatenated embeddings of 512 dimensions, in
percent. As transcribed in secondary sources.
"""

from __future__ import annotations

from ..results import (
    METRIC_NAMES,
    Summary,
    base_of,
    in_registry_order,
    mean_and_interval,
    metric_keys,
)
from .blocks import Cell, Grid, Row
from .loss_names import difference_name, full_name
from .order import highest_first, score_of
from .tables import MISSING, difference_cells, numeric_cell

Numbers = tuple[float, float, float]  # P@1, RP, MAP@R

PAPER: dict[str, dict[str, Numbers]] = {
    "sop": {
        "contrastive": (73.27, 47.45, 44.51),
        "cosface": (75.79, 49.77, 46.92),
        "arcface": (76.20, 50.27, 47.41),
        "proxy_nca": (75.10, 49.50, 46.56),
        "proxy_anchor": (76.12, 50.82, 47.88),
        "hpl:proxy_anchor": (76.97, 51.97, 49.07),
    },
    "cars196": {
        "contrastive": (81.57, 35.72, 25.49),
        "cosface": (85.27, 36.72, 26.86),
        "arcface": (85.44, 37.02, 27.22),
        "contrastive_xbm": (83.67, 36.10, 26.04),
        "proxy_nca": (82.09, 36.31, 26.02),
        "proxy_anchor": (86.38, 37.53, 27.77),
        "hpl:proxy_anchor": (86.84, 38.36, 28.67),
    },
    "cub": {
        "contrastive": (67.21, 36.92, 26.19),
        "cosface": (67.19, 37.36, 26.53),
        "arcface": (67.50, 37.31, 26.45),
        "contrastive_xbm": (68.43, 37.66, 26.85),
        "proxy_nca": (64.69, 34.37, 23.53),
        "proxy_anchor": (67.64, 37.29, 26.47),
        "hpl:proxy_anchor": (68.25, 37.57, 26.72),
    },
}
NOTE = (
    "The paper: Hierarchical Proxy-based Loss for Deep Metric Learning (WACV 2022), with "
    "BN-Inception, four folds and concatenated embeddings of 512 dimensions; its numbers are as "
    "transcribed in secondary sources, and its Proxy-NCA is Proxy-NCA++. Our backbone and "
    "protocol differ, so compare the differences within each half and not the halves."
)


def paper_grid(dataset: str, concatenated: Summary | None) -> Grid | None:
    """Our concatenated results at the finest level beside the paper's, and HPL's gain in both.

    ``None`` for a data set that the paper does not have.
    """
    paper = PAPER.get(dataset)
    if paper is None:
        return None
    ours = concatenated.losses if concatenated is not None else []
    losses = highest_first(
        (loss, score_of(concatenated, loss) if concatenated and loss in ours else paper[loss][2])
        for loss in in_registry_order(dict.fromkeys([*ours, *paper]), lambda loss: loss)
    )
    rows = [
        Row(
            full_name(loss),
            (*_ours(concatenated, loss), *_cells(paper.get(loss), sign=False)),
            loss,
        )
        for loss in losses
    ]
    for loss in losses:
        base = base_of(loss)
        if base not in losses:
            continue
        theirs = None
        if loss in paper and base in paper:
            theirs = tuple(a - b for a, b in zip(paper[loss], paper[base], strict=True))
        cells = (*_our_differences(concatenated, loss, base), *_cells(theirs, sign=True))
        rows.append(Row(difference_name(loss, base), cells, f"{loss} − {base}"))
    columns = [(source, name) for source in ("ours", "paper") for name in METRIC_NAMES.values()]
    title = "Beside the paper"
    return Grid(title, tuple(columns), tuple(rows), NOTE, in_latex=True, explained=True)


def _ours(summary: Summary | None, loss: str) -> list[Cell]:
    keys = metric_keys(1)
    if summary is None:
        return [Cell(MISSING)] * len(keys)
    return [numeric_cell(*mean_and_interval(summary.values(loss, key)), key) for key in keys]


def _our_differences(summary: Summary | None, loss: str, base: str) -> list[Cell]:
    keys = metric_keys(1)
    if summary is None:
        return [Cell(MISSING)] * len(keys)
    return list(difference_cells(summary, loss, base, keys))


def _cells(numbers: tuple[float, ...] | None, sign: bool) -> list[Cell]:
    if numbers is None:
        return [Cell(MISSING)] * len(METRIC_NAMES)
    return [
        Cell(
            f"{value:+.2f}" if sign else f"{value:.2f}",
            value=value,
            trend=((value > 0) - (value < 0)) * sign,
        )
        for value in numbers
    ]
