"""The pictures of a data set, drawn from what its runs left in their folders."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from ..artifacts import RETRIEVALS_FILE, TEST_FILE, TREE_FILE
from ..files import DamagedFileError
from ..results import Summary
from ..stored import StoredRuns
from ..thumbnails import MAX_PICTURES, THUMBNAILS_FILE, read_thumbnails
from ..tree_page.run_folder import page_name
from .bars import accuracy_by_level
from .blocks import Picture, Text
from .curves import curves_of, training_curves
from .differences import differences_by_level
from .embedding_map import NoMapError, map_figure, read_maps
from .fonts import legible
from .loss_names import full_name
from .plots import curve_panels, map_panels
from .retrievals import retrieval_page
from .style import as_pngs
from .tables import number
from .tree_picture import Agreement, level_of_shares, tree_figure

NUM_SIDES = 2
OF_THE_PAPER = "proxy_anchor"
INTERVAL = "The lines are 95% Student-t intervals"
NO_FONT = (
    "Names of classes have characters that no installed font has; the pictures show their code "
    "points. Install a font with them, e.g. Noto Sans CJK for Chinese, Japanese and Korean."
)
NO_INTERVAL = "One run has no interval: take it as a single draw."


def pictures(stored: StoredRuns, summary: Summary) -> list[Picture | Text]:
    """All pictures of a data set, or a sentence on why one is missing."""
    names = stored.class_names
    shown = tuple(tuple(map(legible, level)) for level in names)
    note = [] if shown == names else [Text((NO_FONT,))]
    stored = replace(stored, class_names=shown)
    return [
        *note,
        training_picture(stored, summary.common()),
        levels_picture(summary.common()),
        *gain_picture(summary),
        *map_block(stored, summary, names),
        *tree_block(stored, summary),
        *retrievals_block(stored, summary),
    ]


def training_picture(stored: StoredRuns, summary: Summary) -> Picture:
    """Validation accuracy by epoch and by second, and the training loss, of the summary's runs."""
    counted = set(summary.runs[["seed", "fold"]].itertuples(index=False, name=None))
    results = [
        result
        for result in stored.results
        if (result["config"]["seed"], result["config"]["fold"]) in counted
    ]
    caption = (
        "Validation accuracy by epoch and by second, and training loss by epoch; means over the "
        "runs of a loss, in which a run that ended early keeps its last value. A hierarchical "
        "loss has the colour of its base loss and a thick line, dotted where its tree is given."
    )
    png, dark = as_pngs(training_curves(results, summary))
    panels, legend = curve_panels(curves_of(results, summary), summary.level_names[0])
    return Picture("training", "Training", caption, png, dark, panels, legend)


def levels_picture(summary: Summary) -> Picture:
    """Accuracy by level."""
    caption = "MAP@R on the test classes, the best loss on top; hierarchical losses have stripes."
    caption += f" {INTERVAL}." if summary.repetitions > 1 else ""
    return Picture("levels", "Accuracy by level", caption, *as_pngs(accuracy_by_level(summary)))


def gain_picture(summary: Summary) -> list[Picture]:
    """The paired differences from the base losses, if there are any."""
    figure = differences_by_level(summary)
    if figure is None:
        return []
    caption = (
        "The paired difference of each hierarchical loss to its base loss, over the same seeds "
        "and folds. "
    ) + (f"{INTERVAL}; right of 0 the hierarchy helps." if summary.repetitions > 1 else NO_INTERVAL)
    return [Picture("gain", "What the hierarchy changes", caption, *as_pngs(figure))]


def map_block(
    stored: StoredRuns, summary: Summary, names: tuple[tuple[str, ...], ...]
) -> list[Picture | Text]:
    """Maps of the test embeddings of a base loss and its HPL, or why there are none.

    Those on the page show the ``names`` of the classes as they are, whatever fonts are installed.
    """
    folders = folders_of(stored, compared_losses(summary))
    try:
        maps = read_maps(
            {loss: folder / TEST_FILE for loss, folder in folders.items()}, stored.class_names
        )
        png, dark = as_pngs(map_figure(maps, stored.class_names))
    except (NoMapError, DamagedFileError) as error:
        return [Text((f"No maps of the embeddings: {error}.",))]
    caption = (
        f"UMAP (cosine distance) of the embeddings of at most {MAX_PICTURES} test images of "
        f"classes that were not trained, coloured by {stored.level_names[maps.level]}. Distances "
        "between far groups mean little in such a map."
    )
    damaged: list[Picture | Text] = []
    thumbnails: dict[int, str] = {}
    try:
        thumbnails = read_thumbnails(stored.folder / THUMBNAILS_FILE)
    except (OSError, DamagedFileError) as error:
        damaged = [Text((f"The map has no pictures: {error}.",))]
    panels, legend = map_panels(maps, names, stored.level_names, thumbnails)
    picture = Picture("embeddings", "Maps of the embeddings", caption, png, dark, panels, legend)
    return [picture, *damaged]


def tree_block(stored: StoredRuns, summary: Summary) -> list[Picture | Text]:
    """The tree of the first run that has one, preferably a discovered one.

    It is preceded by a sentence on each whose file is damaged.
    """
    damaged: list[Picture | Text] = []
    order = sorted(summary.losses, key=lambda loss: not loss.startswith("hpl:"))
    for loss in order:
        for result in stored.results:
            config, path = result["config"], result["folder"] / TREE_FILE
            if config["loss"] != loss or not path.exists():
                continue
            try:
                figure, found = tree_figure(path, stored.class_names)
            except DamagedFileError as error:
                damaged.append(Text((f"A tree is left out: {error}.",)))
                continue
            caption = (
                f"The largest superclasses of {full_name(loss)} (seed {config['seed']}, fold "
                f"{config['fold']}) in the epoch that was selected, with a picture of each of up "
                f"to 8 of their training classes.{_agreement(found, stored.level_names)}"
            )
            extras: dict[str, Any] = {"photographs": True, "page": page_name(loss)}
            return [*damaged, Picture("tree", "The tree", caption, *as_pngs(figure), **extras)]
    return damaged


def retrievals_block(stored: StoredRuns, summary: Summary) -> list[Picture | Text]:
    """What a base loss and its HPL find, side by side."""
    folders = folders_of(stored, compared_losses(summary))
    files = {loss: folder / RETRIEVALS_FILE for loss, folder in folders.items()}
    if not all(path.exists() for path in files.values()):
        return []
    caption = (
        "Queries of unseen classes and their five nearest neighbours. The marks below a "
        f"neighbour say at which level it is right: {', '.join(stored.level_names)}."
    )
    try:
        figure = retrieval_page(files, stored.class_names)
    except DamagedFileError as error:
        return [Text((f"No retrievals: {error}.",))]
    return [Picture("retrievals", "Retrievals", caption, *as_pngs(figure), photographs=True)]


def compared_losses(summary: Summary) -> list[str]:
    """A base loss and HPL on it, preferably as in the paper, or whatever two losses there are."""
    pairs = summary.hierarchical()
    if not pairs:
        return summary.losses[-NUM_SIDES:]

    def preference(pair: tuple[str, str]) -> tuple[bool, bool]:
        return pair[0].startswith("hpl:"), pair[1] == OF_THE_PAPER

    loss, base = max(pairs, key=preference)
    return [base, loss]


def folders_of(stored: StoredRuns, losses: Sequence[str]) -> dict[str, Path]:
    """For each loss the folder of a run, all of the same seed and fold if possible."""
    folders: dict[str, dict[tuple[int, int], Path]] = {loss: {} for loss in losses}
    for result in stored.results:
        config = result["config"]
        if config["loss"] in folders:
            folders[config["loss"]][config["seed"], config["fold"]] = result["folder"]
    common = set.intersection(*(set(found) for found in folders.values()))
    return {
        loss: found[min(common)] if common else found[min(found)] for loss, found in folders.items()
    }


def _agreement(found: Sequence[Agreement], level_names: Sequence[str]) -> str:
    """A sentence on how the superclasses match the data set's own, if it has any."""
    level = level_of_shares(found)
    if level is None:
        return ""
    values = "; ".join(
        f"{level_names[a.level]}: NMI {number(a.nmi, digits=2)}, AMI {number(a.ami, digits=2)}"
        for a in found
    )
    return (
        f" The share is of the classes with the most frequent {level_names[level]} among them, in "
        "brackets that of all classes with it. Agreement of all superclasses with those of the "
        f"data set: {values} (mutual information, normalised and adjusted for chance; 1 is the "
        "same grouping)."
    )
