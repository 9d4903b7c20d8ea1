"""New classes for a model whose network stays as it is, so that old embeddings stay valid."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from tqdm import tqdm

from pml_hierarchical import Hierarchy
from pml_hierarchical.losses.growth import grown_table
from pml_hierarchical.search import RetrievalModel

from ..datasets.classes import keep_images
from ..datasets.folder import list_folder
from ..datasets.photographs import Photographs, usable
from ..names import composed
from .all_classes import means_of_classes
from .contradictions import warn_of_namesakes, warn_of_other_places
from .same_classes import class_paths, new_names
from .training_records import with_added

PICTURES_AT_A_TIME = 64


@dataclass(frozen=True)
class NewClass:
    """A class that was added.

    Attributes:
        name: of the class.
        superclass: the name of its superclass at the finest level; ``None`` without a tree.
        named: the superclass that its folders name and that the model has: this one, or a coarser
            one within which it is the nearest; ``None`` if there is none, and it is the nearest.
    """

    name: str
    superclass: str | None
    named: str | None


def with_classes_of(
    model: RetrievalModel, folder: Path, skip_broken: bool = False
) -> tuple[RetrievalModel, list[NewClass]]:
    """A model with the classes of a folder that it does not have yet.

    The proxy of a new class is the mean direction of the embeddings of its pictures. Its
    superclass is the one that the folder names, if the model has it, or else the nearest by
    cosine similarity, within the coarser superclass that the folder names if the model has that.

    Arguments:
        model: is not changed.
        folder: ``superclass/.../class/picture``; classes that the model has are not looked at.
        skip_broken: leave out broken pictures.

    Raises:
        OSError: if there are no pictures, or one is broken.
        ValueError: if there is no new class, or it is unclear which classes are new, see
            :func:`.same_classes.new_names`.
    """
    photographs = list_folder(folder)
    paths = class_paths(photographs)
    new = new_names(model, paths)
    if not new:
        raise ValueError(f"the model has all classes of {folder} ({len(paths)}): nothing to add")
    warn_of_namesakes(model, paths, new)
    photographs = usable(_only(photographs, new), skip_broken)
    names = photographs.class_names[0]
    folder_of = {name: "/".join(paths[number]) for number, name in new.items()}
    embeddings = _embedded(model, photographs.files)
    means = means_of_classes(embeddings, torch.from_numpy(photographs.labels[:, 0]))
    old, tree, added = model.proxies.cpu(), None, [NewClass(name, None, None) for name in names]
    if model.hierarchy is not None and model.hierarchy.num_levels > 1:
        tree, added = _grown(model.hierarchy, old, means, photographs)
    grown = RetrievalModel(
        model.description["architecture"],
        model.description["transform"],
        [*model.class_names, *names],
        torch.cat([old, means]),
        tree,
        model.network.state_dict(),
        with_added(model.training_record, names, [folder_of[name] for name in names]),
    )
    return grown, added


def _only(photographs: Photographs, classes: Mapping[int, str]) -> Photographs:
    """The photographs of some of the fine classes, which get these names."""
    kept = np.isin(photographs.labels[:, 0], list(classes))
    files = tuple(file for file, keep in zip(photographs.files, kept, strict=True) if keep)
    fine = tuple(classes.get(n, name) for n, name in enumerate(photographs.class_names[0]))
    given = (fine, *photographs.class_names[1:])
    labels, class_names = keep_images(kept, photographs.labels, given)
    return replace(photographs, files=files, labels=labels, class_names=class_names)


def _embedded(model: RetrievalModel, files: Sequence[Path]) -> torch.Tensor:
    parts = []
    with tqdm(desc="new classes", total=len(files), unit="picture") as bar:
        for start in range(0, len(files), PICTURES_AT_A_TIME):
            some = files[start : start + PICTURES_AT_A_TIME]
            parts.append(model.embed(some))
            bar.update(len(some))
    return torch.from_numpy(np.concatenate(parts))


def _grown(
    tree: Hierarchy, proxies: torch.Tensor, means: torch.Tensor, photographs: Photographs
) -> tuple[Hierarchy, list[NewClass]]:
    """The tree with the new classes, and where each of them is."""
    assert tree.names is not None
    nodes = means_of_classes(proxies, torch.from_numpy(tree.class_labels[:, 1].copy()))
    similarities = means @ nodes.T
    paths = {row[0]: row[1:] for row in photographs.labels.tolist()}
    parents, named, folders = [], [], []
    for number in range(len(means)):
        above = [
            photographs.class_names[level][node]
            for level, node in enumerate(paths[number], start=1)
        ]
        folders.append(above)
        known, candidates = _named_superclass(tree, above)
        parents.append(max(candidates, key=similarities[number].__getitem__))
        named.append(known)
    given = range(1, tree.num_levels)
    table = grown_table(tree.class_labels, len(means), np.array(parents), list(given))
    names = photographs.class_names[0]
    placed = zip(parents, folders, strict=True)
    warn_of_other_places(tree, dict(zip(names, placed, strict=True)))
    grown = Hierarchy(table, [[*(tree.names[0] or ()), *names], *tree.names[1:]])
    superclasses = tree.names[1] or ()
    return grown, [
        NewClass(name, superclasses[parent], known)
        for name, parent, known in zip(names, parents, named, strict=True)
    ]


def _named_superclass(tree: Hierarchy, above: Sequence[str]) -> tuple[str | None, list[int]]:
    """The finest superclass that has one of the names, and those of level 1 within it.

    Superclasses of the same name are told apart by the folders above them, as in ``food/fruit``.
    """
    assert tree.names is not None
    ends = [(i, end) for i in range(len(above)) for end in range(len(above), i, -1)]
    paths = [composed("/".join(reversed(above[i:end]))) for i, end in ends]
    for level in range(1, tree.num_levels):
        own = tree.names[level] or ()
        names = list(map(composed, own))
        for name in paths:
            if name in names:
                node = names.index(name)
                members = tree.members(level, node)
                return own[node], np.unique(tree.class_labels[members, 1]).tolist()
    return None, list(range(tree.sizes[1]))
