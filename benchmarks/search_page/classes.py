"""The classes of a gallery's pictures, by names that people read, and the pictures by name."""

from __future__ import annotations

from collections import Counter

import numpy as np

from ..names import folded, meant_by

UNKNOWN = -1


class ClassNames:
    """What the pictures of a gallery show, at each level of the tree.

    Arguments:
        labels: of shape ``(num_classes, num_levels)``, ``int64``: the tree of the gallery.
        names: for each level the names of its classes.
        classes: the fine class of each picture, of shape ``(num_pictures,)``; -1 is unknown.
        known: ``bool (num_pictures,)``: whether it is the true class, rather than that of the
            nearest proxy. Others are shown, but nothing is called right or wrong by them.
    """

    def __init__(
        self, labels: np.ndarray, names: list[list[str]], classes: np.ndarray, known: np.ndarray
    ) -> None:
        self.labels = labels
        self.names = names
        self.classes = classes
        self.known = known & (classes >= 0)
        self._shown = [
            list(map(_without_parent, own, self._parents(level))) for level, own in enumerate(names)
        ]
        self._offered = list(map(_told_apart, self._shown, names))
        self._folded = [[folded(name) for name in own] for own in names]

    @property
    def num_levels(self) -> int:
        """1 if there are no superclasses."""
        return self.labels.shape[1]

    @property
    def has_names(self) -> bool:
        """Whether the class of any picture is known."""
        return bool(self.known.any())

    def true_class(self, row: int) -> int:
        """The class of a picture, or -1 if it is not known."""
        return int(self.classes[row]) if self.known[row] else UNKNOWN

    def shown(self, class_: int) -> list[str | None]:
        """The name of a fine class and of its superclasses, the finest first.

        Those of superclasses are whole where several of a level are shown alike: the page groups
        and colours by them.
        """
        if class_ < 0:
            return [None] * self.num_levels
        levels = [self._shown[0], *self._offered[1:]]
        return [own[node] for own, node in zip(levels, self.labels[class_], strict=True)]

    def find(self, name: str) -> int:
        """The fine class that a name means, as given or as shown.

        Raises:
            ValueError: if there is none, or there are several.
        """
        found = meant_by(name, self.names[0])
        if len(found) > 1:
            full = " or ".join(self.names[0][number] for number in found)
            raise ValueError(f"Several classes are called {name!r}: give {full}.")
        if not found:
            raise ValueError(f"No class is called {name!r}.")
        return found[0]

    def suggestions(self, text: str, limit: int, fine_only: bool = False) -> list[str]:
        """Names of classes and superclasses that contain a text, the coarsest first.

        They are as shown, but whole where several classes of a level are shown alike.
        """
        wanted = folded(text)
        levels = range(1) if fine_only else reversed(range(self.num_levels))
        found = (
            self._offered[level][node]
            for level in levels
            for node, name in enumerate(self._folded[level])
            if wanted in name
        )
        return list(dict.fromkeys(filter(None, found)))[:limit]  # without classes the name is ""

    def rows(self, text: str) -> np.ndarray:
        """The rows of the pictures whose class or a superclass contains a text, ascending."""
        wanted = folded(text)
        if not wanted:
            return np.arange(len(self.classes))
        matches = np.zeros(len(self.labels) + 1, dtype=bool)  # the last is for unknown classes
        for level, own in enumerate(self._folded):
            hits = np.array([wanted in name for name in own])
            matches[:-1] |= hits[self.labels[:, level]]
        return np.flatnonzero(matches[self.classes])

    def shared_level(self, a: int, b: int) -> int | None:
        """The finest level at which two fine classes are the same.

        ``num_levels`` if they share none, ``None`` if one is unknown.
        """
        if a < 0 or b < 0:
            return None
        return int((self.labels[a] != self.labels[b]).sum())

    def _parents(self, level: int) -> list[str]:
        """The name of the superclass of each class of a level; "" at the coarsest."""
        if level + 1 == self.num_levels:
            return [""] * len(self.names[level])
        first = np.unique(self.labels[:, level], return_index=True)[1]
        return [self.names[level + 1][node] for node in self.labels[first, level + 1]]


def _without_parent(name: str, parent: str) -> str:
    """``fruit/apple`` below ``fruit`` is shown as ``apple``."""
    return name.removeprefix(parent + "/") if parent else name


def _told_apart(shown: list[str], names: list[str]) -> list[str]:
    """The names of a level as shown, but whole where several are shown alike."""
    uses = Counter(shown)
    mixed = [short if uses[short] == 1 else own for short, own in zip(shown, names, strict=True)]
    # a whole name can be what another class is shown as
    return mixed if len(set(mixed)) == len(mixed) else names
