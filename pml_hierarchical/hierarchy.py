"""The class tree as users build it: from names, paths, parents, dictionaries and labels."""

from __future__ import annotations

import difflib
from collections import Counter
from collections.abc import Hashable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import torch

from .core import hierarchy as core


class Hierarchy(core.Hierarchy):
    """An immutable tree of classes: each has one parent in the level above; there is no root.

    Levels are counted as in PML: 0 is the finest. The ``C`` classes of a level are ``0..C-1``.

    Arguments:
        class_labels: integers of shape ``(num_classes, num_levels)``: row ``c`` holds the classes
            that fine class ``c`` belongs to, from the finest level (``c`` itself) to the coarsest.
        names: for every level, the names of its classes (all different), or ``None``.

    Raises ``TypeError`` if the labels are not integers, and ``ValueError`` if a class has two
    parents, a number is missing or the names do not fit.

    Example:
        >>> tree = Hierarchy.from_paths(["fruit/apple", "fruit/pear", "dairy/milk"])
        >>> tree.sizes, tree.ancestors([0, 1, 2], level=1).tolist(), tree.encode(["fruit/pear"])
        ((3, 2), [0, 0, 1], tensor([1]))
    """

    def __init__(self, class_labels: Any, names: Sequence[Any] | None = None) -> None:
        super().__init__(class_labels, names)
        given = (None,) * self.num_levels if self.names is None else self.names
        if len(given) != self.num_levels:
            raise ValueError(f"names must be given for {self.num_levels} levels, got {len(given)}")
        for level, (own, size) in enumerate(zip(given, self.sizes, strict=True)):
            bad = [x for x, n in Counter(own or ()).items() if n > 1 or not isinstance(x, str)]
            if own is not None and (bad or len(own) != size):
                wrong = f"{bad[0]!r} is repeated or no string" if bad else f"it has {len(own)}"
                raise ValueError(f"level {level} needs {size} different strings as names: {wrong}")

    @classmethod
    def of(cls, value: Any) -> Hierarchy:
        """A ``Hierarchy`` unchanged, or one from a mapping, paths, ``to_dict()`` or 2-D labels."""
        if isinstance(value, core.Hierarchy):
            return value if isinstance(value, cls) else cls(value.class_labels, value.names)
        index = value.index if hasattr(value, "to_numpy") and value.ndim == 1 else ()
        if isinstance(next(iter(index), None), str):  # a pandas Series, {name: parent}
            value = dict(value)
        if isinstance(value, Mapping):
            is_state = not isinstance(value.get("class_labels", ""), str)
            return cls.from_dict(value) if is_state else cls.from_mapping(value)
        value = value.to_numpy() if hasattr(value, "to_numpy") else value  # from pandas
        if isinstance(value, (str, bytes, set, frozenset)) or not hasattr(value, "__len__"):
            kinds = "a Hierarchy, {name: parent}, paths ('fruit/apple'), to_dict() or 2-D labels"
            raise TypeError(f"a hierarchy must be {kinds}; got {value!r}")
        is_paths = len(value) > 0 and all(isinstance(path, str) for path in value)
        return cls.from_paths(value) if is_paths else cls.from_labels(value)

    @classmethod
    def flat(cls, num_classes: int) -> Hierarchy:
        """``num_classes`` classes and nothing above them."""
        return cls(np.arange(num_classes)[:, None])

    @classmethod
    def from_labels(cls, labels: Any, names: Sequence[Any] | None = None) -> Hierarchy:
        """From the labels of samples, ``(num_samples, num_levels)``, the finest in column 0."""
        return cls(core.as_integers(labels, "labels", ndim=2), names)

    @classmethod
    def from_parents(cls, parents: Sequence[Any], names: Sequence[Any] | None = None) -> Hierarchy:
        """From ``parents[l][c]``, the class of level ``l + 1`` above class ``c`` of level ``l``."""
        if len(parents) == 0:
            raise ValueError("parents is empty: use Hierarchy.flat for a single level")
        columns = [np.arange(len(core.as_integers(parents[0], "parents[0]", ndim=1)))]
        for level, values in enumerate(parents):
            vector = core.as_integers(values, f"parents[{level}]", ndim=1)
            if len(vector) != (size := columns[-1].max() + 1):
                wrong = f"parents[{level}] has {len(vector)} entries, but level {level} has {size}"
                raise ValueError(f"{wrong} classes: every class needs exactly one parent")
            columns.append(vector[columns[-1]])
        return cls(np.stack(columns, axis=1), names)

    @classmethod
    def from_paths(cls, paths: Sequence[str], separator: str | None = None) -> Hierarchy:
        """From one path per fine class, the coarsest name first; nodes are named by their paths.

        A prefix that all paths share is not a level. By default the separator is ``/``.
        """
        sep, above = separator or "/", dict[str, str | None]()
        for path in paths:
            if isinstance(paths, str) or not isinstance(path, str):
                raise TypeError(f"paths must be a list of 'fruit/apple', ..., got {paths!r:.200}")
            parts = path.removeprefix(sep).removesuffix(sep).split(sep)
            if "" in parts or ("\\" in path and separator is None):
                raise ValueError(f"{path!r} has an empty name, or a backslash (pass separator=)")
            nodes = [sep.join(parts[:depth]) for depth in range(len(parts), 0, -1)]
            above.update(zip(nodes, [*nodes[1:], None], strict=True))
        tree = cls.from_mapping(above)
        if tree.num_classes != len(paths):
            lost = Counter(path.strip(sep) for path in paths) - Counter((tree.names or [()])[0])
            raise ValueError(f"{min(lost)!r} is given twice, or is the beginning of a longer path")
        return cls(tree.class_labels, [paths, *(tree.names or ())[1:]])

    @classmethod
    def from_mapping(cls, parent_of: Mapping[str, str | None]) -> Hierarchy:
        """From ``{name: name of its parent}``; fine classes are the names that are not parents.

        ``None``, NaN or pandas' ``NA`` means no parent. A root that all share is not a level.
        """
        above = {name: up for name, up in parent_of.items() if up is not None and not _is_nan(up)}
        if bad := [name for name, up in above.items() if not isinstance(up, Hashable)]:
            raise ValueError(f"the parent of {bad[0]!r} must be a name, got {above[bad[0]]!r}")
        is_parent = set(above.values())
        chains: list[list[str]] = []
        for name in parent_of:
            chain = [name]
            while chain[-1] in above:
                if len(chain) > len(above):
                    raise ValueError(f"the mapping has a cycle above {name!r}")
                chain.append(above[chain[-1]])
            if name not in is_parent:
                chains.append(chain)
        depths = {len(chain): chain[0] for chain in chains}
        if len(depths) != 1:
            got = f"{{depth: name}} {depths}" if depths else "no class"
            raise ValueError(f"fine classes need the same depth, got {got}")
        levels = [list(dict.fromkeys(level)) for level in zip(*chains, strict=True)]
        names = [level for i, level in enumerate(levels) if i == 0 or len(level) > 1]
        codes = [{name: code for code, name in enumerate(level)} for level in names]
        table = [[code[name] for code, name in zip(codes, chain, strict=False)] for chain in chains]
        return cls(table, names)

    @classmethod
    def from_dict(cls, state: Mapping[str, Any]) -> Hierarchy:
        """Rebuild what :meth:`to_dict` wrote."""
        return cls(state["class_labels"], state.get("names"))

    def to_dict(self) -> dict[str, Any]:
        """Plain lists that JSON can hold; the inverse of :meth:`from_dict`."""
        names = self.names and [level and list(level) for level in self.names]
        return {"class_labels": self.class_labels.tolist(), "names": names}

    def parents(self, level: int) -> np.ndarray:
        """The class above each class of ``level`` (not the coarsest), ``(sizes[level],)``."""
        first = np.unique(self._column(level), return_index=True)[1]
        return self._column(level, above=1)[first]

    def members(self, level: int, node: int) -> np.ndarray:
        """The fine classes below class ``node`` of ``level``, ascending."""
        found = np.flatnonzero(self._column(level) == node)
        if not len(found):
            raise ValueError(f"level {level} has classes 0..{self.sizes[level] - 1}, got {node}")
        return found

    def ancestors(self, labels: Any, level: int) -> Any:
        """The classes of ``level`` above fine ``labels``; a tensor for a tensor, else an array."""
        found = self._column(level)[self._checked(labels)]
        return torch.as_tensor(found, device=labels.device) if torch.is_tensor(labels) else found

    def lca_height(self, a: Any, b: Any) -> np.ndarray:
        """Height of the lowest common ancestor of fine labels ``a`` and ``b``, which broadcast.

        0 for the same class, 1 below the same parent, ..., ``num_levels`` where nothing is shared.
        """
        first, second = self.class_labels[self._checked(a)], self.class_labels[self._checked(b)]
        return (first != second).sum(axis=-1)

    def encode(self, names: Iterable[str]) -> torch.Tensor:
        """The fine labels of class names, ``int64``: how string labels become integers."""
        known = {name: c for c, name in enumerate((self.names and self.names[0]) or ())}
        names = [names] if isinstance(names, str) else list(names)
        if unknown := [name for name in names if name not in known]:
            near = difflib.get_close_matches(str(unknown[0]), known, n=1, cutoff=0.0)
            hint = f"; the nearest is {near[0]!r}" if near else ": level 0 has no names"
            raise ValueError(f"no fine class is called {unknown[0]!r}{hint}")
        return torch.tensor([known[name] for name in names], dtype=torch.int64)

    def _column(self, level: int, above: int = 0) -> np.ndarray:
        if level not in (known := range(self.num_levels - above)):
            raise ValueError(f"level must be one of {[*known]}, got {level}")
        return self.class_labels[:, level + above]

    def _checked(self, labels: Any) -> np.ndarray:
        array = core.as_integers(labels, "labels")
        if array.size and not 0 <= array.min() <= array.max() < self.num_classes:
            got = f"{array.min()}..{array.max()}"
            raise ValueError(f"labels must be in 0..{self.num_classes - 1}, got {got}")
        return array


def _is_nan(value: Any) -> bool:
    """Whether it is NaN or pandas' ``NA``, for which ``NA == NA`` is neither true nor false."""
    return type(value).__name__ == "NAType" or bool(value != value)
