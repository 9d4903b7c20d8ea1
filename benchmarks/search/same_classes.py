"""Which classes of a folder a model already has, judged by the folders that they were in."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from pml_hierarchical import Hierarchy
from pml_hierarchical.search import RetrievalModel
from pml_hierarchical.trees import name_superclasses

from ..datasets.photographs import Photographs
from ..names import composed, last_part
from .training_records import added, of_training

Parts = tuple[str, ...]  # the coarsest superclass first, the class last


@dataclass(frozen=True)
class Place:
    """What is known about the folders of a class of a model; all names are ``composed``.

    Attributes:
        path: the folders; the last alone if the others are not known.
        superclasses: the names of its superclasses that were given rather than discovered.
    """

    path: Parts
    superclasses: frozenset[str]


def class_paths(photographs: Photographs) -> list[Parts]:
    """The folders of each fine class; names of classes may be preceded by those of parents."""
    rows = {row[0]: row for row in photographs.labels.tolist()}
    return [
        tuple(
            last_part(names[node])
            for names, node in zip(photographs.class_names, rows[number], strict=True)
        )[::-1]
        for number in sorted(rows)
    ]


def new_names(model: RetrievalModel, paths: Sequence[Parts]) -> dict[int, str]:
    """The classes that a model does not have: their numbers, and the names that they get.

    A class is the model's if the last folder and the superclass are the same. A name is that of
    the last folder, or of all folders where another class has that name.

    Arguments:
        model: tells the superclass of a class by its name, such as ``fruit/apple``, by the folders
            that were recorded when it was added, or by the tree. If it does not, the name decides.
        paths: the folders of each class.

    Raises:
        ValueError: if several classes have the name of one whose superclass is not known.
    """
    places = places_of(model)
    superclasses = frozenset[str]().union(*(place.superclasses for place in places))
    namesakes: dict[str, list[Place]] = {}
    for place in places:
        namesakes.setdefault(place.path[-1], []).append(place)

    def found(path: Parts, are_folders: bool) -> list[bool | None]:
        path = tuple(map(composed, path))
        own = namesakes.get(path[-1], [])
        return [_is_same(path, place, superclasses, are_folders) for place in own]

    are_folders = _has_given_superclasses(model) or any(
        True in found(path, False) for path in paths
    )
    matches = [found(path, are_folders) for path in paths]
    new = [number for number, own in enumerate(matches) if True not in own and None not in own]
    by_name = [paths[n] for n, own in enumerate(matches) if True not in own and None in own]
    _check_one_each(by_name)
    last = {number: composed(paths[number][-1]) for number in new}
    uses = Counter([*namesakes, *last.values()])
    return {n: paths[n][-1] if uses[last[n]] == 1 else "/".join(paths[n]) for n in new}


def _is_same(
    path: Parts, place: Place, superclasses: frozenset[str], are_folders: bool
) -> bool | None:
    """Whether a class is the model's class of this name; ``None`` if that is unclear.

    Arguments:
        path: of the class.
        place: of the model's.
        superclasses: the names of all that the model was given.
        are_folders: whether they are known to be names of folders; other trees have other names.
    """
    if len(place.path) > 1:
        shared = min(len(path), len(place.path))
        return shared > 1 and path[-shared:] == place.path[-shared:]
    above = frozenset(path[:-1])
    if not above or not place.superclasses:
        return None
    if path[-2] in place.superclasses and above & superclasses <= place.superclasses:
        return True
    return False if are_folders or path[-2] in superclasses else None


def _check_one_each(paths: Sequence[Parts]) -> None:
    uses = Counter(composed(path[-1]) for path in paths)
    for name, number in uses.items():
        if number > 1:
            alike = [path for path in paths if composed(path[-1]) == name]
            several = " and ".join(map("/".join, alike))
            raise ValueError(
                f"the model has a class {name!r} whose folder it does not know, so that "
                f"{several} cannot be told apart: rename the folder of the new class"
            )


def places_of(model: RetrievalModel) -> list[Place]:
    """What is known about the folders of a model's classes, in their order."""
    new = _added_folders(model)
    num_trained = len(model.class_names) - len(new)
    above = _given_superclasses(model, num_trained)
    trained = zip(model.class_names[:num_trained], above, strict=True)
    known = [*trained, *((folder, frozenset[str]()) for folder in new)]
    return [Place(tuple(composed(name).split("/")), given) for name, given in known]


def _added_folders(model: RetrievalModel) -> list[str]:
    """The folders of the classes that were added, which are the last."""
    names, folders = added(model.training_record)
    is_whole = len(names) == len(folders) and model.class_names[-len(names) :] == tuple(names)
    return folders if names and is_whole else []


def _has_given_superclasses(model: RetrievalModel) -> bool:
    """Whether the suite trained it with given superclasses, which are named like the folders."""
    record = of_training(model.training_record)
    if not isinstance(record, dict) or "dataset" not in record:
        return False
    return str(record.get("loss", "hpl")).partition(":")[0] != "hpl"  # hpl discovers them


def _given_superclasses(model: RetrievalModel, num_trained: int) -> list[frozenset[str]]:
    """The names of the superclasses of each class, without levels named after their members."""
    tree = model.hierarchy
    if tree is None or tree.names is None or not num_trained:
        return [frozenset()] * num_trained
    labels = tree.class_labels[:num_trained]
    nameless = [None] * (tree.num_levels - 1)
    made = name_superclasses(Hierarchy(labels, [model.class_names[:num_trained], *nameless])).names
    assert made is not None
    given = [
        (column, own)
        for column, own, derived in zip(
            labels.T[1:].tolist(), tree.names[1:], made[1:], strict=True
        )
        if own is not None and own != derived
    ]
    return [
        frozenset(composed(last_part(own[column[c]])) for column, own in given)
        for c in range(num_trained)
    ]
