"""Class trees in other tools' formats, as text, with names, and compared with known ones."""

from __future__ import annotations

import csv
import io
import json
import re
from collections import Counter
from collections.abc import Callable, Sequence
from itertools import chain, count, pairwise
from typing import Any

import numpy as np
import torch

from .hierarchy import Hierarchy

# comments and branch lengths are not captured; quoted names, signs and names are
_NEWICK = re.compile(r"\[[^\]]*\]|:\s*[^\s(),:;'\[\]]+|('(?:[^']|'')*'|[(),;]|[^\s(),:;'\[\]]+|\S)")


def to_json(tree: Hierarchy) -> str:
    """The tree as JSON, an object with ``class_labels`` and ``names``."""
    return json.dumps(tree.to_dict(), ensure_ascii=False)


def from_json(text: str) -> Hierarchy:
    """Read the text of :func:`to_json`, or a mapping, paths or labels as :meth:`Hierarchy.of`."""
    return Hierarchy.of(json.loads(text))


def to_csv(tree: Hierarchy) -> str:
    """The tree as a list of parents, ``name,parent``; no parent at the coarsest level.

    Raises ``ValueError`` if a name occurs at two levels, which would be ambiguous.
    """
    names = _names(tree)
    rows: list[tuple[str, str]] = []
    for level, own in enumerate(names[:-1]):
        rows += zip(own, (names[level + 1][node] for node in tree.parents(level)), strict=True)
    rows += [(name, "") for name in names[-1]]
    if twice := [name for name, n in Counter(name for name, _ in rows).items() if n > 1]:
        raise ValueError(f"a list of parents needs unique names, but {twice[0]!r} is used twice")
    out = io.StringIO()
    csv.writer(out, lineterminator="\n").writerows([("name", "parent"), *rows])
    return out.getvalue()


def from_csv(text: str) -> Hierarchy:
    """Read a list of parents with the columns ``name`` and ``parent``.

    Fine classes are numbered in the order of their rows, superclasses as they appear above them.

    Raises ``ValueError`` if a column is missing, a class has two parents, or the depths differ.
    """
    rows = csv.DictReader(io.StringIO(text.removeprefix("\ufeff"), newline=""))
    if not {"name", "parent"} <= set(rows.fieldnames or ()):
        raise ValueError(f"the columns must be name and parent, got {rows.fieldnames}")
    parent_of: dict[str, str | None] = {}
    for row in rows:
        if None in row:
            raise ValueError(f"quote names that hold a comma: too many columns in {row}")
        name, parent = row["name"], row["parent"] or None
        if parent_of.setdefault(name, parent) != parent:
            raise ValueError(f"class {name!r} has two parents: {parent_of[name]!r} and {parent!r}")
    return Hierarchy.from_mapping(parent_of)


def to_newick(tree: Hierarchy) -> str:
    """The tree in Newick format, below a root without a name."""

    def text(name: str, below: list[str]) -> str:
        quoted = name if re.fullmatch(r"[\w.-]+", name) else "'" + name.replace("'", "''") + "'"
        return f"({','.join(below)}){quoted}" if below else quoted

    return f"({','.join(_fold(tree, text))});"


def from_newick(text: str) -> Hierarchy:
    """Read a tree in Newick format; branch lengths and comments are ignored.

    Fine classes are numbered in the order of the text. A node without a name is named after its
    number, and nodes with the same name get their numbers added.

    Raises ``ValueError`` if the text is not a Newick tree, or fine classes have different depths.
    """
    parent_of, names, open_nodes, node = dict[int, int](), dict[int, str](), list[int](), 0
    last = "("
    for token in filter(None, _NEWICK.findall(text)):
        if token == ";":
            break
        if (token == "(" and last in ("(", ",")) or (token == "," and open_nodes):
            open_nodes += [node] if token == "(" else []
            node = len(parent_of) + 1
            parent_of[node] = open_nodes[-1]
        elif token == ")" and open_nodes:
            node = open_nodes.pop()
        elif node in names or token in list("(,)[]':"):
            raise ValueError(f"not a Newick tree: {token!r} is not expected in {text[:60]!r}")
        else:
            names[node] = token[1:-1].replace("''", "'") if token[0] == "'" else token
        last = token
    if open_nodes or not parent_of:
        raise ValueError(f"not a Newick tree: brackets are missing in {text[:60]!r}")
    keys = [names.get(n, f"node {n}") for n in range(len(parent_of) + 1)]
    uses = Counter(keys)
    keys = [f"{key} (node {n})" if uses[key] > 1 else key for n, key in enumerate(keys)]
    return Hierarchy.from_mapping({keys[n]: keys[above] for n, above in parent_of.items()})


def to_dot(tree: Hierarchy) -> str:
    """The tree in the DOT language of Graphviz, superclasses above their members."""
    lines, edges = [], []
    for level, names in enumerate(_names(tree)):
        for node, name in enumerate(names):
            escaped = name.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
            lines.append(f'  "{level}.{node}" [label="{escaped}"];')
        for node, parent in enumerate(tree.parents(level) if level + 1 < tree.num_levels else ()):
            edges.append(f'  "{level + 1}.{parent}" -> "{level}.{node}";')
    return "\n".join(["digraph {", *lines, *edges, "}"])


def to_text(tree: Hierarchy, max_children: int | None = None) -> str:
    """The tree as indented lines to print. If ``max_children`` is given and not negative, each
    superclass shows at most that many classes, and how many more there are.

    Example:
        >>> print(to_text(Hierarchy([[0, 0], [1, 0]], [["apple", "pear"], ["fruit"]])))
        fruit
        ├── apple
        └── pear
    """

    def lines(name: str, below: list[list[str]]) -> list[str]:
        if max_children is not None and 0 <= max_children < len(below):
            below = [*below[:max_children], [f"... {len(below) - max_children} more"]]
        shown = [name]
        for number, (first, *others) in enumerate(below, start=1):
            branch, indent = ("└── ", "    ") if number == len(below) else ("├── ", "│   ")
            shown += [branch + first, *(indent + line for line in others)]
        return shown

    return "\n".join(line for block in _fold(tree, lines) for line in block)


def from_linkage(linkage: Any, num_superclasses: int | Sequence[int]) -> Hierarchy:
    """Cut a linkage matrix of scipy into one level for each entry of ``num_superclasses``.

    Arguments:
        linkage: of shape ``(num_classes - 1, 4)``, as scipy returns it.
        num_superclasses: the size of the coarse level, or the decreasing sizes of several.

    Raises ``ValueError`` unless the sizes decrease and are below the number of classes, or if
    merges at the same distance leave no cut of that size.
    """
    from scipy.cluster.hierarchy import fcluster

    columns = [np.arange(len(linkage) + 1)]
    for below, size in pairwise([len(columns[0]), *np.atleast_1d(num_superclasses).tolist()]):
        if type(size) is not int or not 1 <= size < below:
            rule = f"decreasing integers below the {len(columns[0])} classes"
            raise ValueError(f"num_superclasses must be {rule}, got {num_superclasses!r}")
        numbers = np.unique(fcluster(linkage, size, criterion="maxclust"), return_inverse=True)
        if len(numbers[0]) != size:
            wrong = f"the linkage cannot be cut into {size} superclasses"
            raise ValueError(f"{wrong}: merges at the same distance leave {len(numbers[0])}")
        columns.append(numbers[1].reshape(-1))
    return Hierarchy(np.stack(columns, axis=1))


def name_superclasses(tree: Hierarchy, vectors: Any = None) -> Hierarchy:
    """Name superclasses after their members at levels without names; given names stay.

    Arguments:
        tree: with names of the fine classes, such as that of a loss with a given tree.
        vectors: one for each fine class, ``(num_classes, dimension)``: a superclass is named after
            the member nearest to its mean. ``None`` names it after the word that is common among
            its members and rare elsewhere, or else after its first member.

    Raises ``ValueError`` if fine classes have no names, or ``vectors`` do not match them.

    Example:
        >>> names = ["red apple", "green apple", "soy milk", "oat milk"]
        >>> tree = Hierarchy([[0, 0], [1, 0], [2, 1], [3, 1]], [names, None])
        >>> name_superclasses(tree).names[1]
        ('apple', 'milk')
    """
    if tree.names is None or tree.names[0] is None:
        raise ValueError("superclasses are named after their members, but those have no names")
    fine, named = tree.names[0], list(tree.names)
    points = None if vectors is None else torch.as_tensor(vectors).detach().double().cpu()
    if points is not None and (points.ndim != 2 or len(points) != len(fine)):
        raise ValueError(f"vectors need a row for each of {len(fine)} classes, got {points.shape}")
    words = [set(re.findall(r"[^\W_]+", name.casefold())) for name in fine]
    everywhere = Counter(word for some in words for word in some)
    for level in [level for level, names in enumerate(named) if names is None]:
        found: dict[str, int] = {}
        for node in range(tree.sizes[level]):
            members = tree.members(level, node).tolist()
            if points is None:
                name = _common_word([words[c] for c in members], everywhere, len(fine))
                name = name or fine[members[0]]
            else:
                apart = points[members] - points[members].mean(dim=0)
                name = fine[members[int(apart.norm(dim=1).argmin())]]
            again = (f"{name} {number}" for number in count(2))  # apple, apple 2, apple 3
            found[next(x for x in chain([name], again) if x not in found)] = node
        named[level] = tuple(found)
    return Hierarchy(tree.class_labels, named)


def _common_word(members: list[set[str]], everywhere: Counter[str], num_classes: int) -> str:
    """The word whose share of the members exceeds its share of the other classes the most."""
    inside = Counter(word for words in members for word in words)
    others = max(1, num_classes - len(members))
    excess = {
        word: n / len(members) - (everywhere[word] - n) / others
        for word, n in sorted(inside.items())
        if n > 1 or len(members) == 1
    }
    return max(excess, key=excess.__getitem__, default="")


def agreement(found: Any, known: Any) -> dict[int, float]:
    """The normalised mutual information of each coarse level with the known level of the same
    number, or with the coarsest known level.

    Arguments:
        found: a tree, as :meth:`~pml_hierarchical.Hierarchy.of` takes it; ``loss_func.hierarchy``.
        known: likewise. Its fine classes are the first ones of ``found``, which may have newer
            ones; if ``found`` has all of their names, they are matched by name, in any order.

    Returns ``{level: NMI}``, each in 0..1: 1 for the same superclasses, whatever their numbers.
    Raises ``ValueError`` if ``known`` has a single level, or more fine classes than ``found``.

    Example:
        >>> known = Hierarchy.from_parents([[0, 0, 1, 1]])
        >>> agreement(Hierarchy.from_parents([[1, 1, 0, 0]]), known)
        {1: 1.0}
    """
    from sklearn.metrics import normalized_mutual_info_score

    found, known = Hierarchy.of(found), Hierarchy.of(known)
    if known.num_levels == 1:
        raise ValueError("the known tree has one level: there are no superclasses to compare with")
    if known.num_classes > found.num_classes:
        wrong = f"the known tree has {known.num_classes} fine classes"
        raise ValueError(f"{wrong}, but the tree to compare has only {found.num_classes}")
    ours, theirs = ((tree.names and tree.names[0]) or () for tree in (found, known))
    is_named = theirs and {*theirs} <= {*ours}
    rows = found.encode(theirs).numpy() if is_named else np.arange(known.num_classes)
    labels, truth = found.class_labels[rows].T, known.class_labels.T
    pairs = {n: (truth[min(n, len(truth) - 1)], labels[n]) for n in range(1, found.num_levels)}
    return {n: float(normalized_mutual_info_score(*pair)) for n, pair in pairs.items()}


def _names(tree: Hierarchy) -> list[Sequence[str]]:
    """The names of all classes; where there are none, their level and number."""
    given = tree.names or (None,) * tree.num_levels
    numbers = [[f"{level}.{node}" for node in range(n)] for level, n in enumerate(tree.sizes)]
    return [own or other for own, other in zip(given, numbers, strict=True)]


def _fold(tree: Hierarchy, combine: Callable[[str, list[Any]], Any]) -> list[Any]:
    """``combine(name, results of the classes below)`` of each class at the coarsest level."""
    results: list[Any] = []
    for level, names in enumerate(_names(tree)):
        below: list[list[Any]] = [[] for _ in names]
        for child, parent in enumerate(tree.parents(level - 1) if level else ()):
            below[parent].append(results[child])
        results = [combine(name, some) for name, some in zip(names, below, strict=True)]
    return results
