"""Where the folders of new classes contradict one another, or the tree of a model."""

from __future__ import annotations

import warnings
from collections.abc import Collection, Mapping, Sequence

from pml_hierarchical import Hierarchy
from pml_hierarchical.search import RetrievalModel

from ..names import composed, last_part
from .embed_pictures import NAMED
from .same_classes import Parts, Place, places_of


def warn_of_namesakes(model: RetrievalModel, paths: Sequence[Parts], new: Collection[int]) -> None:
    """Warn of new classes that share their name with a class in another superclass.

    Arguments:
        model: before they are added.
        paths: the folders of all classes.
        new: the numbers of those that are added.
    """
    ours: dict[str, list[str]] = {}
    for number in new:
        ours.setdefault(composed(paths[number][-1]), []).append("/".join(paths[number]))
    theirs: dict[str, list[str]] = {}
    for place in places_of(model):
        theirs.setdefault(place.path[-1], []).append(f"the model's {_described(place)}")
    alike = [[*ours[name], *theirs.get(name, ())] for name in ours]
    told = [" and ".join(several) for several in alike if len(several) > 1]
    if told:
        more = f"; {len(told) - NAMED} more names" if len(told) > NAMED else ""
        warnings.warn(
            "these count as different classes, since their superclasses differ: "
            f"{'; '.join(told[:NAMED])}{more}. If they are the same, put the pictures into one "
            "folder and start again",
            stacklevel=3,
        )


def warn_of_other_places(tree: Hierarchy, placed: Mapping[str, tuple[int, Sequence[str]]]) -> None:
    """Warn of superclasses that the folders put in another superclass than the tree does.

    Arguments:
        tree: with names.
        placed: for each new class its superclass of level 1 in the tree, and the names of the
            folders above it, the finest first.
    """
    assert tree.names is not None
    names = [list(map(_last, own or ())) for own in tree.names]
    levels = range(1, tree.num_levels)
    known = {name for level in levels for name in names[level]}
    told = []
    for class_name, (parent, above) in placed.items():
        row = tree.class_labels[tree.members(1, parent)[0]]
        lineage = [names[level][row[level]] for level in levels]
        folders = list(map(_last, above))
        is_ours = [name in lineage for name in folders]
        coarser = folders[is_ours.index(True) :] if True in is_ours else []
        others = [name for name in coarser if name in known - set(lineage)]
        if others:
            told.append(
                f"the folder of {class_name} is in {others[0]}, but the model's {lineage[0]} is "
                f"not: {class_name} was placed in {'/'.join(reversed(lineage))}"
            )
    if told:
        more = f"; {len(told) - NAMED} more classes" if len(told) > NAMED else ""
        warnings.warn(
            f"{'; '.join(told[:NAMED])}{more}. If that is wrong, rename the folder and start again",
            stacklevel=4,
        )


def _described(place: Place) -> str:
    above = f" in {', '.join(sorted(place.superclasses))}" if place.superclasses else ""
    return "/".join(place.path) + above


def _last(name: str) -> str:
    return composed(last_part(name))
