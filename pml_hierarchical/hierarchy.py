"""Who is whose parent, level by level: the one concept that every other room speaks in."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, overload

import numpy as np
import torch
from scipy.cluster.hierarchy import fcluster


class Hierarchy:
    """An immutable tree of classes with levels counted as in PML: 0 is the finest.

    Every class of a level has exactly one parent in the level above it, and the classes of a
    level of size ``C`` are numbered ``0..C-1``. There is no explicit root: the classes of the
    coarsest level have none, so a flat hierarchy is one of a single level.

    Arguments:
        class_labels: integers of shape ``(num_classes, num_levels)``. Row ``c`` holds the classes
            that fine class ``c`` belongs to, from the finest level (``c`` itself) to the coarsest.
        names: optionally, for every level a sequence of the names of its classes, no two of them
            equal.

    Raises:
        TypeError: if the labels are not integers.
        ValueError: if a class has two parents or none, a level is not numbered without gaps, or
            the names do not fit or repeat within a level.

    Example:
        >>> tree = Hierarchy.from_paths(["fruit/apple", "fruit/pear", "dairy/milk"])
        >>> tree.sizes
        (3, 2)
        >>> tree.ancestors([0, 1, 2], level=1).tolist()
        [0, 0, 1]
        >>> tree.lca_height([0, 0, 0], [0, 1, 2]).tolist()
        [0, 1, 2]
    """

    __slots__ = ("_names", "_table")

    def __init__(self, class_labels: Any, names: Sequence[Sequence[str]] | None = None) -> None:
        table = _integer_array(class_labels, "class_labels", ndim=2).copy()
        if table.size == 0:
            raise ValueError(
                "a hierarchy needs at least one class and one level, got class_labels of shape "
                f"{table.shape}"
            )
        expected = np.arange(len(table))
        if not np.array_equal(table[:, 0], expected):
            raise ValueError(
                "column 0 of class_labels must number the fine classes 0..num_classes-1 in order; "
                f"row {int(np.argmax(table[:, 0] != expected))} does not hold its own number. "
                "Use Hierarchy.from_labels for the labels of samples."
            )
        _check_levels(table)
        table.setflags(write=False)
        self._table = table
        self._names = _checked_names(names, self.sizes)

    # ------------------------------------------------------------------ construction
    @classmethod
    def flat(cls, num_classes: int) -> Hierarchy:
        """``num_classes`` classes and nothing above them."""
        return cls(np.arange(num_classes)[:, None])

    @classmethod
    def from_labels(cls, labels: Any, names: Sequence[Sequence[str]] | None = None) -> Hierarchy:
        """Build from the 2-D labels of samples, as PML's ``HierarchicalSampler`` takes them.

        Arguments:
            labels: integers of shape ``(num_samples, num_levels)``, column 0 the finest. Every
                fine class ``0..num_classes-1`` must occur, any number of times.
            names: as in the constructor.

        Raises:
            ValueError: if a class has two parents (named in the message), or a class is missing.
        """
        labels = _integer_array(labels, "labels", ndim=2)
        if labels.size == 0:
            raise ValueError(
                "a hierarchy needs at least one class and one level, got labels of shape "
                f"{labels.shape}"
            )
        for level in range(labels.shape[1]):
            _check_numbering(labels[:, level], level)
        _, first = np.unique(labels[:, 0], return_index=True)
        table = labels[first]
        different = (table[labels[:, 0]] != labels).any(axis=0)
        if different.any():
            level = int(np.argmax(different))
            sample = int(np.argmax(table[labels[:, 0], level] != labels[:, level]))
            fine = int(labels[sample, 0])
            raise ValueError(
                f"class {fine} of level 0 has two parents at level {level}: {table[fine, level]} "
                f"and {labels[sample, level]} (sample {sample}). Every class needs exactly one."
            )
        return cls(table, names)

    @classmethod
    def from_parents(
        cls, parents: Sequence[Any], names: Sequence[Sequence[str]] | None = None
    ) -> Hierarchy:
        """Build from one parent vector per level but the coarsest.

        Arguments:
            parents: ``parents[l][c]`` is the class of level ``l + 1`` above class ``c`` of level
                ``l``. One vector makes two levels.
            names: as in the constructor.

        Raises:
            TypeError: if the parents are not integers.
            ValueError: if a class has no parent (named in the message), or a level has gaps.
        """
        if len(parents) == 0:
            raise ValueError("parents is empty: use Hierarchy.flat(num_classes) for a single level")
        vectors = [_integer_array(p, f"parents[{i}]", ndim=1) for i, p in enumerate(parents)]
        if len(vectors[0]) == 0:
            raise ValueError("parents[0] has no entries: a hierarchy needs at least one class")
        columns = [np.arange(len(vectors[0]))]
        for level, vector in enumerate(vectors):
            _check_parents(vector, level, num_classes=int(columns[-1].max()) + 1)
            columns.append(vector[columns[-1]])
        return cls(np.stack(columns, axis=1), names)

    @classmethod
    def from_paths(cls, paths: Sequence[str], separator: str = "/") -> Hierarchy:
        """Build from one path per fine class, coarsest name first: ``"fruit/apple"``.

        Fine class ``c`` is ``paths[c]``; coarser classes are numbered in order of appearance, and
        two nodes of the same name under different parents are different classes. The names of
        the hierarchy are the paths down to each node.
        """
        split = [tuple(path.split(separator)) for path in paths]
        if not split:
            raise ValueError("paths is empty: a hierarchy needs at least one class")
        shortest, longest = (f(split, key=len) for f in (min, max))
        if len(shortest) != len(longest):
            raise ValueError(
                f"all paths need the same depth, got {separator.join(shortest)!r} (depth "
                f"{len(shortest)}) and {separator.join(longest)!r} (depth {len(longest)})"
            )
        repeated = _first_repeated(paths)
        if repeated is not None:
            raise ValueError(f"paths must be unique, got {repeated!r} more than once")
        table, nodes = _number_nodes(split)
        return cls(table, [[separator.join(node) for node in level] for level in nodes])

    @classmethod
    def from_mapping(cls, parent_of: Mapping[str, str]) -> Hierarchy:
        """Build from ``{name: name of its parent}``, for as many levels as the mapping spells out.

        The fine classes are the names that are nobody's parent, numbered in order of appearance.

        Raises:
            ValueError: for a cycle, or fine classes that do not all have the same depth.
        """
        if not parent_of:
            raise ValueError("the mapping is empty: a hierarchy needs at least one class")
        parents = set(parent_of.values())
        paths = [_walk_up(name, parent_of) for name in parent_of if name not in parents]
        reached = {name for path in paths for name in path}
        in_cycle = [name for name in parent_of if name not in reached]
        if in_cycle:
            raise ValueError(f"the mapping has a cycle through {in_cycle[0]!r}")
        shortest, longest = (f(paths, key=len) for f in (min, max))
        if len(shortest) != len(longest):
            raise ValueError(
                "all fine classes need the same depth, got "
                f"{shortest[-1]!r} with {len(shortest) - 1} ancestors and "
                f"{longest[-1]!r} with {len(longest) - 1}"
            )
        table, nodes = _number_nodes(paths)
        return cls(table, [[node[-1] for node in level] for level in nodes])

    @classmethod
    def from_linkage(cls, linkage: Any, num_superclasses: int | Sequence[int]) -> Hierarchy:
        """Cut a linkage matrix of ``scipy.cluster.hierarchy`` into one level per entry.

        Arguments:
            linkage: of shape ``(num_classes - 1, 4)``, as ``scipy`` returns it.
            num_superclasses: the size of the coarse level, or the decreasing sizes of several.
        """
        wanted = np.atleast_1d(np.asarray(num_superclasses)).tolist()
        columns = [np.arange(len(linkage) + 1)]
        for size in wanted:
            flat = fcluster(linkage, size, criterion="maxclust")
            found = len(np.unique(flat))
            if found != size:
                raise ValueError(
                    f"the linkage cannot be cut into {size} superclasses (it gives {found}: "
                    "some merges happen at the same distance)"
                )
            columns.append(np.unique(flat, return_inverse=True)[1].reshape(-1))
        return cls(np.stack(columns, axis=1))

    @classmethod
    def from_dict(cls, state: Mapping[str, Any]) -> Hierarchy:
        """Rebuild what :meth:`to_dict` wrote."""
        return cls(state["class_labels"], state.get("names"))

    def to_dict(self) -> dict[str, Any]:
        """Plain lists that JSON can hold; the inverse of :meth:`from_dict`."""
        names = None if self._names is None else [list(level) for level in self._names]
        return {"class_labels": self._table.tolist(), "names": names}

    # ------------------------------------------------------------------ what it answers
    @property
    def sizes(self) -> tuple[int, ...]:
        """The number of classes of each level, finest first."""
        return tuple(int(size) for size in self._table.max(axis=0) + 1)

    @property
    def num_levels(self) -> int:
        """How many levels there are, the finest included."""
        return int(self._table.shape[1])

    @property
    def num_classes(self) -> int:
        """How many fine classes there are."""
        return len(self._table)

    @property
    def class_labels(self) -> np.ndarray:
        """Read-only ``int64`` of shape ``(num_classes, num_levels)``; see the constructor."""
        return self._table

    @property
    def names(self) -> tuple[tuple[str, ...], ...] | None:
        """The names of the classes of each level, or ``None``."""
        return self._names

    def parents(self, level: int) -> np.ndarray:
        """For every class of ``level`` the class above it, of shape ``(sizes[level],)``."""
        self._check_level(level + 1)
        parents = np.empty(self.sizes[level], dtype=np.int64)
        parents[self._table[:, level]] = self._table[:, level + 1]
        return parents

    def members(self, level: int, node: int) -> np.ndarray:
        """The fine classes below class ``node`` of ``level``, ascending."""
        self._check_level(level)
        if not 0 <= node < self.sizes[level]:
            raise ValueError(
                f"level {level} has the classes 0..{self.sizes[level] - 1}, got {node}"
            )
        return np.flatnonzero(self._table[:, level] == node)

    @overload
    def ancestors(self, labels: torch.Tensor, level: int) -> torch.Tensor: ...
    @overload
    def ancestors(self, labels: Any, level: int) -> np.ndarray: ...
    def ancestors(self, labels: Any, level: int) -> np.ndarray | torch.Tensor:
        """The classes of ``level`` that fine ``labels`` (any shape, array or tensor) belong to."""
        self._check_level(level)
        column = self._table[:, level]
        if isinstance(labels, torch.Tensor):
            if labels.is_floating_point() or labels.dtype == torch.bool:
                raise TypeError(f"labels must be integers, got dtype {labels.dtype}")
            self._check_labels(labels)
            return torch.tensor(column, device=labels.device)[labels.long()]
        labels = _integer_array(labels, "labels")
        self._check_labels(labels)
        return column[labels]

    def lca_height(self, a: Any, b: Any) -> np.ndarray:
        """Height of the lowest common ancestor of fine labels ``a`` and ``b``, which broadcast.

        0 for the same class, 1 for classes of the same parent, ..., ``num_levels`` for classes
        that share nothing: the height of the root that all levels hang from.
        """
        a, b = (_integer_array(x, name) for x, name in ((a, "a"), (b, "b")))
        self._check_labels(a)
        self._check_labels(b)
        return (self._table[a] != self._table[b]).sum(axis=-1)

    def _check_level(self, level: int) -> None:
        if not 0 <= level < self.num_levels:
            raise ValueError(
                f"level must be in 0..{self.num_levels - 1} (0 is the finest), got {level}"
            )

    def _check_labels(self, labels: np.ndarray | torch.Tensor) -> None:
        if len(labels.reshape(-1)) and not (
            int(labels.min()) >= 0 and int(labels.max()) < self.num_classes
        ):
            raise ValueError(
                f"labels must be in 0..{self.num_classes - 1}, the fine classes of the hierarchy; "
                f"got {int(labels.min())}..{int(labels.max())}"
            )

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Hierarchy):
            return NotImplemented
        return np.array_equal(self._table, other._table) and self._names == other._names

    def __hash__(self) -> int:
        return hash((self._table.tobytes(), self._table.shape, self._names))

    def __repr__(self) -> str:
        return f"Hierarchy(sizes={self.sizes})"

    def __reduce__(self) -> tuple[Any, ...]:
        return (Hierarchy, (np.array(self._table), self._names))


def _integer_array(values: Any, name: str, ndim: int | None = None) -> np.ndarray:
    if isinstance(values, torch.Tensor):
        values = values.detach().cpu().numpy()
    array = np.asarray(values)
    if array.size == 0 and not np.issubdtype(array.dtype, np.integer):
        array = array.astype(np.int64)  # an empty list has no dtype of its own
    if not np.issubdtype(array.dtype, np.integer):
        raise TypeError(f"{name} must be integers, got dtype {array.dtype}")
    if ndim is not None and array.ndim != ndim:
        raise ValueError(f"{name} must be {ndim}-D, got shape {array.shape}")
    return array.astype(np.int64)


def _walk_up(name: str, parent_of: Mapping[str, str]) -> tuple[str, ...]:
    """The names from the coarsest ancestor of ``name`` down to itself."""
    path = [name]
    passed = {name}
    while path[-1] in parent_of:
        parent = parent_of[path[-1]]
        if parent in passed:
            raise ValueError(
                f"the mapping has a cycle through {parent!r}, met on the way up from {name!r}"
            )
        path.append(parent)
        passed.add(parent)
    return tuple(reversed(path))


def _number_nodes(
    paths: Sequence[tuple[str, ...]],
) -> tuple[np.ndarray, list[list[tuple[str, ...]]]]:
    """The class labels of paths of equal depth, and for every level its nodes in order."""
    columns, nodes = [], []
    for depth in range(len(paths[0]), 0, -1):
        numbers: dict[tuple[str, ...], int] = {}
        columns.append([numbers.setdefault(path[:depth], len(numbers)) for path in paths])
        nodes.append(list(numbers))
    return np.array(columns).T, nodes


def _check_parents(vector: np.ndarray, level: int, num_classes: int) -> None:
    if len(vector) != num_classes:
        named = f"; class {len(vector)} has none" if len(vector) < num_classes else ""
        raise ValueError(
            f"parents[{level}] has {len(vector)} entries, but level {level} has {num_classes} "
            f"classes: every class needs exactly one parent{named}"
        )
    if vector.min() < 0:
        orphan = int(np.argmax(vector < 0))
        raise ValueError(
            f"class {orphan} of level {level} has no parent: parents[{level}][{orphan}] is "
            f"{vector[orphan]}, but every class needs exactly one, numbered from 0"
        )


def _check_numbering(column: np.ndarray, level: int) -> None:
    # Counting is all that most tables need; the sort below finds out what is wrong with the rest.
    if column.min() >= 0 and column.max() < len(column) and np.bincount(column).all():
        return
    present = np.unique(column)
    if present[0] < 0:
        raise ValueError(
            f"level {level} has the negative class {present[0]} (row {int(np.argmin(column))}): "
            "every class needs a parent, numbered from 0"
        )
    if len(present) != present[-1] + 1:
        missing = int(np.argmax(present != np.arange(len(present))))
        raise ValueError(
            f"the classes of level {level} must be numbered 0..{present[-1]} without gaps, but "
            f"class {missing} is missing; np.unique(labels, return_inverse=True) renumbers"
        )


def _check_levels(table: np.ndarray) -> None:
    for level in range(table.shape[1]):
        _check_numbering(table[:, level], level)
    for level in range(table.shape[1] - 1):
        child, parent = table[:, level], table[:, level + 1]
        parent_of = np.empty(child.max() + 1, dtype=np.int64)
        parent_of[child] = parent
        if np.array_equal(parent_of[child], parent):
            continue
        pairs = np.unique(table[:, level : level + 2], axis=0)
        repeated = np.flatnonzero(pairs[1:, 0] == pairs[:-1, 0])
        if len(repeated):
            node, first = pairs[repeated[0]]
            raise ValueError(
                f"class {node} of level {level} has two parents at level {level + 1}: {first} and "
                f"{pairs[repeated[0] + 1, 1]}. Every class needs exactly one."
            )


def _checked_names(
    names: Sequence[Sequence[str]] | None, sizes: tuple[int, ...]
) -> tuple[tuple[str, ...], ...] | None:
    if names is None:
        return None
    given = tuple(len(level) for level in names)
    if given != sizes:
        raise ValueError(f"names must hold one name per class: {sizes} a level, got {given}")
    checked = tuple(tuple(str(name) for name in level) for level in names)
    for level, level_names in enumerate(checked):
        repeated = _first_repeated(level_names)
        if repeated is not None:
            first, second = [c for c, name in enumerate(level_names) if name == repeated][:2]
            raise ValueError(
                f"the names of a level must differ, but classes {first} and {second} of level "
                f"{level} are both called {repeated!r}"
            )
    return checked


def _first_repeated(values: Sequence[str]) -> str | None:
    seen: set[str] = set()
    for value in values:
        if value in seen:
            return value
        seen.add(value)
    return None
