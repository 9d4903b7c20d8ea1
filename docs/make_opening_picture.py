"""Draw the README's first picture: the neighbours of the same queries by a flat and by HPL's loss.

From the repository's root, DIR being a clone of the Grocery Store data set::

    python -m benchmarks run --dataset grocery --data-root DIR --folds 0 --tuned \
        --losses proxy_anchor hpl_given:proxy_anchor
    python -m docs.make_opening_picture --data-root DIR

The queries are the first three of the eight that the suite draws at random from the test images
(``retrievals.npz`` of a run); the neighbours are those at the ranks 1, 10, 50, 100, 200, 300, 400.
"""

from __future__ import annotations

import argparse
import json
import textwrap
from pathlib import Path

import matplotlib
import numpy as np
from matplotlib import pyplot as plt
from PIL import Image, ImageOps

from benchmarks.datasets import look_at_dataset
from benchmarks.datasets.base import RetrievalData

matplotlib.use("Agg")
RUNS = {"flat": "proxy_anchor", "hierarchical": "hpl_given-proxy_anchor"}
TITLES = {"flat": "Proxy-Anchor", "hierarchical": "HPL"}
RANKS = (1, 10, 50, 100, 200, 300, 400)
NUM_QUERIES = 3
SIZE = 224  # pixels of a picture
#: colour and sign of a neighbour by the finest level at which it is right, and of a wrong one
MARKS = (("#1a7f37", "✓"), ("#2f6fb5", "≈"), ("#8a5ab5", "○"))
WRONG = ("#c62828", "✗")


def main() -> None:
    """Draw the picture of two finished runs of the same seed and fold."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data-root", type=Path, required=True)
    parser.add_argument("--runs", type=Path, default=Path("runs/grocery"))
    parser.add_argument("--run", default="seed0_fold0", help="default: seed0_fold0")
    parser.add_argument("--out", type=Path, default=Path("docs/figures/neighbours.png"))
    options = parser.parse_args()
    described = json.loads((options.runs / "dataset.json").read_text(encoding="utf-8"))
    data = look_at_dataset(described["name"], options.data_root, False)
    folders = {side: options.runs / loss / options.run for side, loss in RUNS.items()}
    figure = draw(data, folders, described["level_names"])
    options.out.parent.mkdir(parents=True, exist_ok=True)
    save(figure, options.out)


def neighbours(folder: Path) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Indices and labels of the test images of a run, and the neighbours of each, nearest first."""
    test = np.load(folder / "test.npz")
    embeddings = test["test_embeddings"]
    embeddings = embeddings / np.linalg.norm(embeddings, axis=1, keepdims=True)
    similarities = embeddings @ embeddings.T
    np.fill_diagonal(similarities, -np.inf)
    found = np.argsort(-similarities, axis=1, kind="stable")[:, :-1]
    return test["test_indices"], test["test_labels"], found


def draw(data: RetrievalData, folders: dict[str, Path], level_names: list[str]) -> plt.Figure:
    """A row per query and loss, a column per rank, and how often the rank is right at the end."""
    queries = np.load(folders["flat"] / "retrievals.npz")["queries"][:NUM_QUERIES]
    rows, columns = 2 * NUM_QUERIES, 1 + len(RANKS)
    figure, axes = plt.subplots(rows, columns, figsize=(10, 1.32 * rows + 1.15), dpi=110)
    figure.subplots_adjust(left=0.01, right=0.99, top=0.965, bottom=0.15, wspace=0.16, hspace=0.45)
    for axis in axes.flat:
        axis.axis("off")
    shares = []
    for side, folder in folders.items():
        indices, labels, found = neighbours(folder)
        same = labels[found[:, np.array(RANKS) - 1]] == labels[:, None]
        shares.append(100 * same.mean(axis=0))
        for number, query in enumerate(queries):
            line = axes[2 * number + (side == "hierarchical")]
            row = int(np.flatnonzero(indices == query)[0])
            if side == "flat":
                show(line[0], data, query, "black", "query")
            line[1].text(-0.12, 0.5, TITLES[side], transform=line[1].transAxes, rotation=90,
                         ha="center", va="center", fontsize=9)  # fmt: skip
            for axis, rank in zip(line[1:], RANKS, strict=True):
                neighbour = found[row, rank - 1]
                show(axis, data, indices[neighbour], *mark(labels[row], labels[neighbour]))
    for axis, rank in zip(axes[0, 1:], RANKS, strict=True):
        axis.set_title(f"rank {rank}", fontsize=9)
    write_shares(figure, axes, shares, level_names)
    return figure


def mark(query: np.ndarray, neighbour: np.ndarray) -> tuple[str, str]:
    """The colour and the sign of a neighbour."""
    right = np.flatnonzero(query == neighbour)
    return MARKS[right[0]] if len(right) else WRONG


def show(axis: plt.Axes, data: RetrievalData, index: int, colour: str, sign: str) -> None:
    """One image with a frame, and the name of its class below."""
    picture = ImageOps.fit(data.picture(int(index)).convert("RGB"), (SIZE, SIZE))
    axis.imshow(ImageOps.expand(picture, border=9, fill=colour))
    name = data.class_names[0][data.labels[index, 0]].replace("-", " ")
    lines = textwrap.wrap(name, 17)
    text = "\n".join(lines[:2]) + ("…" if len(lines) > 2 else "")
    axis.text(0.5, -0.04, f"{sign} {text}", transform=axis.transAxes, ha="center", va="top",
              fontsize=7.5, color=colour, linespacing=1.05)  # fmt: skip


def write_shares(figure: plt.Figure, axes: np.ndarray, shares: list, level_names: list) -> None:
    """What the colours mean, and how often a rank is right over all test images."""
    meanings = [*(f"right {name}" for name in level_names), f"wrong {level_names[-1]}"]
    for column, (meaning, (colour, sign)) in enumerate(
        zip(meanings, (*MARKS[: len(level_names)], WRONG), strict=True)
    ):
        figure.text(0.14 + 0.2 * column, 0.105, f"{sign} {meaning}", fontsize=9, color=colour)
    lines = [(level, side) for level in (0, len(level_names) - 1) for side in (0, 1)]
    for number, (level, side) in enumerate(lines):
        height = 0.078 - 0.0215 * number
        title = f"right {level_names[level]}, {list(TITLES.values())[side]}"
        figure.text(0.005, height, title, fontsize=8)
        for axis, value in zip(axes[-1, 1:], shares[side][:, level], strict=True):
            box = axis.get_position()
            figure.text((box.x0 + box.x1) / 2, height, f"{value:.0f}%", fontsize=8, ha="center")


def save(figure: plt.Figure, path: Path) -> None:
    """As PNG with a palette, which is a quarter of the size."""
    figure.canvas.draw()
    pixels = np.asarray(figure.canvas.buffer_rgba())[..., :3]
    Image.fromarray(pixels).quantize(256, dither=Image.Dither.FLOYDSTEINBERG).save(
        path, optimize=True
    )


if __name__ == "__main__":
    main()
