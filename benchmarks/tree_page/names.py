"""Names for all classes of a tree: given ones, and those made from the members."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain, count
from pathlib import Path
from typing import Any

from pml_hierarchical import Hierarchy
from pml_hierarchical.trees import name_superclasses

from ..names import names_of, printable
from ..wording import counted


def named_tree(
    tree: Hierarchy, names: Sequence[str] | None = None, vectors: Any = None
) -> Hierarchy:
    """The tree with a name for every class.

    Arguments:
        tree: names that it has are kept.
        names: of the fine classes, in the order of their labels, instead of those of the tree.
            Without either, classes and superclasses are called by their numbers.
        vectors: ``(C, dimension)``: name superclasses after the member nearest to their mean
            instead of the commonest word, see
            :func:`~pml_hierarchical.trees.name_superclasses`.

    Raises:
        ValueError: if the names are not one for each fine class, or two are equal.
    """
    given = list(tree.names or [None] * tree.num_levels)
    if names is not None:
        if len(names) != tree.num_classes:
            raise ValueError(
                f"there {'is' if len(names) == 1 else 'are'} {counted(len(names), 'name')}, and "
                f"the tree has {counted(tree.num_classes, 'class', 'classes')}: give one name for "
                "each, in the order of their labels"
            )
        given[0] = tuple(names)
    if given[0] is not None:
        return name_superclasses(Hierarchy(tree.class_labels, given), vectors)
    return Hierarchy(tree.class_labels, names_of(Hierarchy(tree.class_labels, given)))


def unique_names(tree: Hierarchy) -> Hierarchy:
    """The same tree, where superclasses named like a class of a finer level are told apart.

    Formats that know classes by their names alone, a list of parents and Newick, need it.

    Example:
        >>> names = [["apple", "pear", "milk"], ["apple", "dairy"]]
        >>> tree = Hierarchy([[0, 0], [1, 0], [2, 1]], names)
        >>> unique_names(tree).names[1]
        ('apple (superclass)', 'dairy')
    """
    used: set[str] = set()
    levels = []
    for own in tree.names or ():
        assert own is not None
        taken = used | set(own)
        renamed = []
        for name in own:
            if name in used:
                word = f"{name} (superclass"
                others = chain([f"{word})"], (f"{word} {number})" for number in count(2)))
                name = next(other for other in others if other not in taken)
                taken.add(name)
            renamed.append(name)
        used |= set(renamed)
        levels.append(renamed)
    return Hierarchy(tree.class_labels, levels)


def read_names(path: Path) -> list[str]:
    """The names in a text file: one per line, in the order of the labels.

    Raises:
        OSError: if the file cannot be read.
        ValueError: if it is not UTF-8, or a name is empty or occurs twice.
    """
    try:
        names = path.read_text(encoding="utf-8-sig").splitlines()
    except UnicodeDecodeError as error:
        raise ValueError(
            f"{path} is not a text file in UTF-8: a names file has one name per line"
        ) from error
    lines: dict[str, int] = {}
    for number, name in enumerate(names, start=1):
        if not name.strip():
            raise ValueError(f"line {number} of {path} is empty: a names file has a name per line")
        if name in lines:
            raise ValueError(
                f"lines {lines[name]} and {number} of {path} both say {printable(name)!r}: names "
                "of classes must differ"
            )
        lines[name] = number
    return names
