"""``pml-hierarchical describe``: what a data set holds, in numbers and in samples."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from PIL import Image
from rich.console import Console
from rich.table import Table

from .datasets.base import NUM_FOLDS, LabelledImages, TooFewClassesError, left_out_files
from .files import write_whole
from .report.fonts import legible
from .report.style import as_png
from .wording import counted

SHEET_ROWS = 8
SHEET_COLUMNS = 8


def describe(data: LabelledImages, console: Console) -> None:
    """Print levels, classes, images, the sizes of the splits, and why `run` would refuse them."""
    images = f"{data.name}: {counted(len(data.labels), 'image')}"
    if data.left_out:
        images += f", {left_out_files(len(data.left_out))} (first {data.left_out[0]})"
    console.print(images, highlight=False, soft_wrap=True, markup=False)
    console.print(_levels(data))
    try:
        splits = _splits(data)
    except TooFewClassesError as error:
        few = f"too few classes for `run`, which holds some out; `train` needs none: {error}"
        console.print(few, highlight=False, soft_wrap=True, markup=False)
        return
    console.print("images and, in brackets, classes of each fold:", highlight=False)
    console.print(splits)
    if refused := _refused_folds(data):
        folds = " ".join(map(str, refused))
        why = f"`run` refuses --folds {folds}; `train` needs none: {next(iter(refused.values()))}"
        console.print(why, highlight=False, soft_wrap=True, markup=False)


def _refused_folds(data: LabelledImages) -> dict[int, str]:
    """The folds that cannot be validated or tested on, with the reasons."""
    refused: dict[int, str] = {}
    for fold in range(NUM_FOLDS):
        try:
            data.check_accuracy(fold)
        except ValueError as error:
            refused[fold] = str(error)
    return refused


def _levels(data: LabelledImages) -> Table:
    table = Table("level", "what it is")
    for title in ("classes", "images per class: min", "median", "max"):
        table.add_column(title, justify="right")
    for level, (name, column) in enumerate(zip(data.level_names, data.labels.T, strict=True)):
        sizes = np.bincount(column)
        table.add_row(
            str(level),
            name,
            f"{len(sizes):,}",
            f"{sizes.min():,}",
            f"{np.median(sizes):,g}",
            f"{sizes.max():,}",
        )
    return table


def _splits(data: LabelledImages) -> Table:
    halves = "shuffled by class" if data.test_half is None else "the data set's own halves"
    table = Table(f"fold ({halves})")
    splits = [data.split(fold) for fold in range(NUM_FOLDS)]
    parts = (
        ["train", "val", "test"] if data.gallery is None else ["train", "val", "test", "gallery"]
    )
    for part in parts:
        table.add_column("queries" if part == "test" and len(parts) == 4 else part, justify="right")
    for fold, split in enumerate(splits):
        indices = [getattr(split, part) for part in parts]
        cells = [f"{len(i):,} ({len(np.unique(data.labels[i, 0])):,})" for i in indices]
        table.add_row(str(fold), *cells)
    return table


def sample_rows(data: LabelledImages, seed: int = 0) -> list[tuple[str, np.ndarray]]:
    """Superclasses and the images that show them: of as many of their classes as fit.

    The superclasses are of the coarsest level that has at least two, evenly spread over it.

    Returns:
        At most 8 pairs of a superclass's name and at most 8 indices of images.
    """
    level = max(i for i, column in enumerate(data.labels.T) if i == 0 or column.max() > 0)
    number = int(data.labels[:, level].max()) + 1
    chosen = np.linspace(0, number - 1, min(SHEET_ROWS, number)).round().astype(int)
    random = np.random.default_rng(seed)
    rows = []
    for superclass in chosen.tolist():
        members = random.permutation(np.flatnonzero(data.labels[:, level] == superclass))
        _, first = np.unique(data.labels[members, 0], return_index=True)
        others = np.setdiff1d(np.arange(len(members)), first)
        order = np.concatenate([random.permutation(first), others])[:SHEET_COLUMNS]
        rows.append((data.class_names[level][superclass], members[order]))
    return rows


def write_sample_sheet(data: LabelledImages, path: Path) -> None:
    """Write a PNG with a row per superclass, each picture under the name of its fine class."""
    rows = sample_rows(data)
    size = (1.45 * SHEET_COLUMNS, 1.7 * len(rows) + 0.4)
    figure = Figure(figsize=size, layout="constrained")
    grid = figure.subplots(len(rows), SHEET_COLUMNS, squeeze=False)
    for axes, (superclass, images) in zip(grid, rows, strict=True):
        for cell in axes:
            cell.axis("off")
        for cell, image in zip(axes, images.tolist(), strict=False):
            name = data.class_names[0][data.labels[image, 0]]
            _show(cell, data.picture(image), name.removeprefix(f"{superclass}/"))
        axes[0].text(
            -0.08,
            0.5,
            _short(superclass, 22),
            transform=axes[0].transAxes,
            rotation=90,
            ha="right",
            va="center",
            fontsize=9,
            fontweight="bold",
        )
    path.parent.mkdir(parents=True, exist_ok=True)
    write_whole(path, as_png(figure))


def _show(cell: Axes, image: Image.Image, title: str) -> None:
    picture = np.asarray(image)
    cell.imshow(picture, cmap="gray" if picture.ndim == 2 else None)
    cell.set_title(_short(title, 24), fontsize=6)


def _short(name: str, length: int) -> str:
    """The end of a name: classes of one superclass differ there."""
    name = legible(name)
    return name if len(name) <= length else f"…{name[1 - length :]}"
