"""A page of retrievals: queries, their nearest neighbours, and what is right at which level."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ..artifacts import read_retrievals
from ..files import DamagedFileError
from .colours import RIGHT, WRONG
from .loss_names import full_name

CAPTION_WIDTH = 26  # characters
BETWEEN_MARKS = 0.24  # widths of a picture; less where the marks of many levels would not fit
MARKS = {True: ("✓", RIGHT.light), False: ("✗", WRONG.light)}


def retrieval_page(files: dict[str, Path], class_names: Sequence[Sequence[str]]) -> Figure:
    """The same queries for each of a few losses, side by side.

    Below each neighbour stands one mark per level, finest first: a green tick where it is of the
    query's class, an orange cross where it is not.

    Arguments:
        files: for each loss the ``retrievals.npz`` of one of its runs; all of the same fold.
        class_names: of every level of the data set.

    Raises:
        DamagedFileError: if a file is damaged.
    """
    loaded = {loss: read_retrievals(path, class_names) for loss, path in files.items()}
    first = next(iter(loaded.values()))
    num_queries, neighbours = first["neighbours"].shape
    for loss, found in loaded.items():
        if found["neighbours"].shape != (num_queries, neighbours):
            raise DamagedFileError(files[loss], "it does not have as many retrievals as the others")
    widths = [1.8] + [w for _ in loaded for w in (0.3, *[1.0] * neighbours)]
    height = 1.3 * num_queries + 0.5
    figure = Figure(figsize=(0.95 * sum(widths), height))
    grid = figure.add_gridspec(
        num_queries,
        len(widths),
        width_ratios=widths,
        left=0.01,
        right=0.99,
        top=1 - 0.5 / height,
        bottom=0.4 / height,
        hspace=0.5,
        wspace=0.08,
    )
    for row in range(num_queries):
        axes = figure.add_subplot(grid[row, 0])
        _show(axes, first["pictures"][row, 0], title="query" if row == 0 else "")
        name = class_names[0][first["query_labels"][row, 0]]
        axes.set_xlabel(_wrapped(name), fontsize=7, labelpad=2)
        for block, (loss, found) in enumerate(loaded.items()):
            for rank in range(neighbours):
                axes = figure.add_subplot(grid[row, 2 + block * (neighbours + 1) + rank])
                title = full_name(loss) if row == 0 and rank == neighbours // 2 else ""
                _show(axes, found["pictures"][row, 1 + rank], title=title)
                _mark(axes, found["query_labels"][row] == found["neighbour_labels"][row, rank])
    return figure


def _show(axes: Axes, picture: np.ndarray, title: str) -> None:
    axes.imshow(picture)
    axes.set(xticks=[], yticks=[])
    axes.set_title(title, fontsize=9, fontweight="bold")
    axes.set_frame_on(False)


def _mark(axes: Axes, right: np.ndarray) -> None:
    between = min(BETWEEN_MARKS, 1 / len(right))
    for level, is_right in enumerate(right):
        mark, colour = MARKS[bool(is_right)]
        axes.text(
            0.5 + (level - (len(right) - 1) / 2) * between,
            -0.03,
            mark,
            color=colour,
            fontsize=min(9, 63 * between),
            fontweight="bold",
            ha="center",
            va="top",
            transform=axes.transAxes,
        )


def _wrapped(name: str) -> str:
    spaced = name.replace("_", " ").replace("/", " / ")  # textwrap breaks lines at blanks
    return "\n".join(textwrap.wrap(spaced, CAPTION_WIDTH, max_lines=2, placeholder=" …"))
