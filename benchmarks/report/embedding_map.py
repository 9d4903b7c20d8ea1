"""Maps of the test embeddings of a base loss and of HPL on it, coloured by superclass."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from ..artifacts import read_test
from ..files import DamagedFileError, read_arrays, write_arrays
from ..thumbnails import MAX_PICTURES, sample
from .colours import OTHERS, PALETTE, Colour
from .loss_names import full_name
from .style import legend_below

MAP_FILE = "map.npz"
EPOCHS = 200  # UMAP's number for many points; its 500 for few take twice as long
NEIGHBOURS = 15
SEED = 0
NAME_WIDTH = 34  # characters
HINT = "pip install umap-learn"


class NoMapError(Exception):
    """There can be no map; the message says why, for people."""


@dataclass(frozen=True)
class EmbeddingMaps:
    """The same test images for each of a few losses.

    Attributes:
        places: for each loss, the positions of the images, ``(n, 2)``.
        labels: ``(n, levels)``, of the images.
        indices: ``(n,)``, of the images in the data set.
    """

    places: Mapping[str, np.ndarray]
    labels: np.ndarray
    indices: np.ndarray

    @cached_property
    def level(self) -> int:
        """The level by which the images are coloured: the coarsest in which they differ."""
        several = [
            level for level, column in enumerate(self.labels.T) if len(np.unique(column)) > 1
        ]
        return max(several, default=self.labels.shape[1] - 1)

    @cached_property
    def colours(self) -> dict[int, Colour]:
        """Colours of the largest superclasses of :attr:`level`, largest first; others have none."""
        found, counts = np.unique(self.labels[:, self.level], return_counts=True)
        largest = found[np.argsort(-counts, kind="stable")][: len(PALETTE)]
        return {int(label): colour for label, colour in zip(largest, PALETTE, strict=False)}

    def entries(self, class_names: Sequence[Sequence[str]]) -> list[tuple[str, Colour]]:
        """The entries of the legend."""
        names = class_names[self.level]
        shown = [(_cut(names[label]), colour) for label, colour in self.colours.items()]
        if len(self.colours) < len(np.unique(self.labels[:, self.level])):
            shown.append(("others", OTHERS))
        return shown

    @property
    def colour_of_images(self) -> list[Colour]:
        """The colour of each image."""
        return [self.colours.get(label, OTHERS) for label in self.labels[:, self.level].tolist()]


def read_maps(files: Mapping[str, Path], class_names: Sequence[Sequence[str]]) -> EmbeddingMaps:
    """The positions of the test images, by UMAP.

    Arguments:
        files: for each loss the ``test.npz`` of one of its runs; all of the same fold.
        class_names: of every level of the data set.

    Raises:
        NoMapError: if umap-learn is not installed, a file is missing or holds too few images.
        DamagedFileError: if a file is damaged.
    """
    missing = [path for path in files.values() if not path.exists()]
    if missing:
        raise NoMapError(f"{missing[0]} is missing")
    loaded = {loss: read_test(path, class_names) for loss, path in files.items()}
    first, *others = loaded.values()
    labels, indices = first["test_labels"], first["test_indices"]
    if not all(np.array_equal(labels, other["test_labels"]) for other in others):
        raise NoMapError("the losses were tested on different images")
    if len(labels) < 3:
        raise NoMapError(f"{len(labels)} test images make no map")
    rows = sample(len(labels))
    return EmbeddingMaps(
        {
            loss: kept_places(files[loss], arrays["test_embeddings"][rows])
            for loss, arrays in loaded.items()
        },
        labels[rows],
        indices[rows],
    )


def map_figure(maps: EmbeddingMaps, class_names: Sequence[Sequence[str]]) -> Figure:
    """The maps side by side."""
    figure = Figure(figsize=(11, 5), layout="constrained")
    panels = figure.subplots(1, len(maps.places), squeeze=False)[0]
    ink = [colour.light for colour in maps.colour_of_images]
    for axes, (loss, places) in zip(panels, maps.places.items(), strict=True):
        axes.scatter(*places.T, c=ink, s=5, linewidths=0, alpha=0.8)
        axes.set(title=full_name(loss), xticks=[], yticks=[])
        axes.set_aspect("equal", adjustable="datalim")
        axes.set_frame_on(False)
    entries = maps.entries(class_names)
    handles = [
        Line2D([], [], color=colour.light, marker="o", linestyle="", markersize=6)
        for _, colour in entries
    ]
    legend_below(figure, handles, [name for name, _ in entries])
    return figure


def kept_places(path: Path, embeddings: np.ndarray) -> np.ndarray:
    """The coordinates, kept beside the file: UMAP takes as long as a small training run.

    A run that is done again empties its folder, and what was kept with it.
    """
    kept = path.with_name(MAP_FILE)
    made_by = [len(embeddings), MAX_PICTURES, NEIGHBOURS, EPOCHS, SEED]
    with contextlib.suppress(FileNotFoundError, DamagedFileError):  # it is made again
        content = read_arrays(kept, {"made_by": ("iu", 1), "places": ("f", 2)})
        places: np.ndarray = content["places"]
        if content["made_by"].tolist() == made_by and places.shape == (len(embeddings), 2):
            return places
    places = project(embeddings)
    with contextlib.suppress(OSError):  # the runs may be on a read-only disk
        write_arrays(kept, {"places": places, "made_by": np.array(made_by)})
    return places


def project(embeddings: np.ndarray) -> np.ndarray:
    """Two coordinates for each embedding by UMAP, the same every time.

    Raises:
        NoMapError: if umap-learn is not installed.
    """
    try:
        import umap  # takes seconds, and is not needed for anything else
    except ImportError as error:
        raise NoMapError(f"umap-learn is not installed ({HINT})") from error
    reducer = umap.UMAP(
        n_neighbors=min(NEIGHBOURS, len(embeddings) - 1),
        metric="cosine",
        random_state=SEED,
        n_jobs=1,
        n_epochs=EPOCHS,
        init="random" if len(embeddings) < 2 * NEIGHBOURS else "spectral",
    )
    places: np.ndarray = reducer.fit_transform(embeddings)
    return places


def _cut(name: str) -> str:
    return name if len(name) <= NAME_WIDTH else f"{name[: NAME_WIDTH - 1]}…"
