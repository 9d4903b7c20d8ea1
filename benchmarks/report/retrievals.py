"""A page of retrievals: queries, their nearest neighbours, and what is right at which level."""

from __future__ import annotations

import textwrap
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from ..datasets.base import RetrievalData

NUM_QUERIES = 8
CAPTION_WIDTH = 26  # characters
RIGHT, WRONG = "#009E73", "#D55E00"
MARKS = {True: ("✓", RIGHT), False: ("✗", WRONG)}


def retrieval_page(data: RetrievalData, files: dict[str, Path]) -> Figure:
    """The same queries for each of a few losses, one loss beside the other.

    Below each neighbour stands one mark per level, finest first: a green tick where it is of the
    query's class, an orange cross where it is not.

    Arguments:
        data: the data set.
        files: for each loss the ``retrievals.npz`` of one of its runs; all of the same fold.
    """
    loaded = {loss: dict(np.load(path)) for loss, path in files.items()}
    queries = next(iter(loaded.values()))["queries"]
    chosen = np.random.default_rng(0).choice(len(queries), NUM_QUERIES, replace=False)
    neighbours = next(iter(loaded.values()))["neighbours"].shape[1]
    widths = [1.8] + [w for _ in loaded for w in (0.3, *[1.0] * neighbours)]
    height = 1.3 * NUM_QUERIES + 0.5
    figure = Figure(figsize=(0.95 * sum(widths), height))
    grid = figure.add_gridspec(
        NUM_QUERIES,
        len(widths),
        width_ratios=widths,
        left=0.01,
        right=0.99,
        top=1 - 0.5 / height,
        bottom=0.4 / height,
        hspace=0.5,
        wspace=0.08,
    )
    for row, position in enumerate(chosen):
        query = int(queries[position])
        axes = figure.add_subplot(grid[row, 0])
        _show(axes, data, query, title="query" if row == 0 else "")
        name = data.class_names[0][data.labels[query, 0]]
        axes.set_xlabel(_wrapped(name), fontsize=7, labelpad=2)
        for block, (loss, found) in enumerate(loaded.items()):
            for rank, index in enumerate(found["neighbours"][position]):
                axes = figure.add_subplot(grid[row, 2 + block * (neighbours + 1) + rank])
                title = loss if row == 0 and rank == neighbours // 2 else ""
                _show(axes, data, int(index), title=title)
                _mark(axes, data.labels[query] == data.labels[index])
    return figure


def _show(axes: object, data: RetrievalData, index: int, title: str) -> None:
    picture = np.asarray(data.picture(index))
    axes.imshow(picture, cmap="gray" if picture.ndim == 2 else None)  # type: ignore[attr-defined]
    axes.set(xticks=[], yticks=[])  # type: ignore[attr-defined]
    axes.set_title(title, fontsize=9, fontweight="bold")  # type: ignore[attr-defined]
    axes.set_frame_on(False)  # type: ignore[attr-defined]


def _mark(axes: object, right: np.ndarray) -> None:
    for level, is_right in enumerate(right):
        mark, colour = MARKS[bool(is_right)]
        axes.text(  # type: ignore[attr-defined]
            0.5 + (level - (len(right) - 1) / 2) * 0.24,
            -0.03,
            mark,
            color=colour,
            fontsize=9,
            fontweight="bold",
            ha="center",
            va="top",
            transform=axes.transAxes,  # type: ignore[attr-defined]
        )


def _wrapped(name: str) -> str:
    return "\n".join(textwrap.wrap(name, CAPTION_WIDTH, max_lines=2, placeholder=" …"))
