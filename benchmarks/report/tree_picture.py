"""The tree of a hierarchical loss: its largest superclasses with pictures of their classes."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from sklearn.metrics import adjusted_mutual_info_score, normalized_mutual_info_score

from ..artifacts import read_tree

NAME_WIDTH = 26  # characters


@dataclass(frozen=True)
class Agreement:
    """How far the superclasses of a tree agree with a level of the data set.

    Attributes:
        level: of the data set, above the finest.
        nmi: normalised mutual information of the two groupings of the classes, 1 if they are equal.
        ami: the same minus what two groupings of this size share by chance.
    """

    level: int
    nmi: float
    ami: float


def agreements(superclasses: np.ndarray, class_labels: np.ndarray) -> list[Agreement]:
    """The agreement with every level of the data set above the finest that divides the classes.

    Arguments:
        superclasses: ``(C,)``, of each class.
        class_labels: ``(C, levels)``, the data set's own labels of the classes.
    """
    return [
        Agreement(
            level,
            float(normalized_mutual_info_score(class_labels[:, level], superclasses)),
            float(adjusted_mutual_info_score(class_labels[:, level], superclasses)),
        )
        for level in range(1, class_labels.shape[1])
        if len(np.unique(class_labels[:, level])) > 1
    ]


def tree_figure(
    path: Path, class_names: tuple[tuple[str, ...], ...]
) -> tuple[Figure, list[Agreement]]:
    """A row per superclass, the largest first; and how well they match the data set's own.

    Each has the number of its classes beside it, and the share of them in the superclass of the
    data set that is the most frequent among them, see :func:`level_of_shares`, followed by the
    share of all classes in brackets.

    Arguments:
        path: the ``tree.npz`` of a run.
        class_names: of every level of the data set.

    Returns:
        The figure, and what :func:`agreements` returns.

    Raises:
        DamagedFileError: if the file is damaged.
    """
    tree = read_tree(path, class_names)
    superclasses, own = tree["superclasses"][0], tree["class_labels"]
    found = agreements(superclasses, own)
    level = level_of_shares(found)
    shown_of = superclasses[tree["shown"]]
    rows = list(dict.fromkeys(shown_of.tolist()))
    labels = [_label(superclasses == row, own, level, class_names) for row in rows]
    pictures = [tree["pictures"][shown_of == row] for row in rows]
    return _drawn(labels, pictures), found


def _drawn(labels: Sequence[str], pictures: Sequence[np.ndarray]) -> Figure:
    widest = max(len(line) for line in pictures)
    figure = Figure(figsize=(2.6 + 0.9 * widest, 0.3 + 0.98 * len(labels)))
    grid = figure.add_gridspec(
        len(labels),
        widest + 1,
        width_ratios=[2.9, *[1.0] * widest],
        left=0.01,
        right=0.99,
        top=0.99,
        bottom=0.01,
        hspace=0.12,
        wspace=0.08,
    )
    for row, (label, line) in enumerate(zip(labels, pictures, strict=True)):
        axes = figure.add_subplot(grid[row, 0])
        axes.set_axis_off()
        axes.text(0, 0.5, label, va="center")
        for place, picture in enumerate(line):
            axes = figure.add_subplot(grid[row, 1 + place])
            axes.imshow(picture)
            axes.set(xticks=[], yticks=[])
            axes.set_frame_on(False)
    return figure


def level_of_shares(found: Sequence[Agreement]) -> int | None:
    """The coarsest level, or the level that the tree was taken from; ``None`` without levels."""
    given = [agreement for agreement in found if agreement.nmi > 1 - 1e-9]
    chosen = given or found[-1:]
    return chosen[0].level if chosen else None


def _label(
    inside: np.ndarray,
    own: np.ndarray,
    level: int | None,
    class_names: tuple[tuple[str, ...], ...],
) -> str:
    size = int(inside.sum())
    text = f"{size} class{'es' if size > 1 else ''}"
    if level is None:
        return text
    labels, counts = np.unique(own[inside, level], return_counts=True)
    name = class_names[level][labels[counts.argmax()]]
    of_all = np.mean(own[:, level] == labels[counts.argmax()])
    share = f"{100 * counts.max() / size:.0f}% {name} ({100 * of_all:.0f}%)"
    return "\n".join([text, *textwrap.wrap(share, NAME_WIDTH, max_lines=2, placeholder=" …")])
