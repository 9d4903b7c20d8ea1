"""Trees in files of other tools: what the command reads and writes besides pages."""

from __future__ import annotations

import io
from collections.abc import Callable
from contextlib import redirect_stdout
from pathlib import Path

from pml_hierarchical import Hierarchy, trees

from .names import unique_names

SUFFIXES = {
    ".html": "html",
    ".json": "json",
    ".csv": "csv",
    ".nwk": "newick",
    ".newick": "newick",
    ".dot": "dot",
    ".gv": "dot",
    ".txt": "text",
}


def read_tree_file(path: Path) -> Hierarchy:
    """The tree in a JSON, CSV, Newick or DOT file, by its suffix.

    Raises:
        OSError: if the file cannot be read.
        ValueError: if it holds no tree.
    """
    kind = SUFFIXES[path.suffix.lower()]
    readers: dict[str, Callable[[str], Hierarchy]] = {
        "json": trees.from_json,
        "csv": trees.from_csv,
        "newick": trees.from_newick,
        "dot": from_dot,
    }
    try:
        return readers[kind](path.read_text(encoding="utf-8"))
    except (ValueError, TypeError, LookupError, RecursionError) as error:
        what = f"no {kind.upper() if kind != 'newick' else 'Newick'} tree"
        raise ValueError(f"{path} holds {what} ({error})") from error


def exported(tree: Hierarchy, kind: str) -> str:
    """The tree as text: ``json``, ``csv``, ``newick``, ``dot`` or ``text``.

    Names that occur at several levels are told apart where the format knows classes by their names.
    """
    if kind in ("csv", "newick"):
        tree = unique_names(tree)
    writers: dict[str, Callable[[Hierarchy], str]] = {
        "json": trees.to_json,
        "csv": trees.to_csv,
        "newick": trees.to_newick,
        "dot": trees.to_dot,
        "text": trees.to_text,
    }
    return writers[kind](tree).rstrip("\n") + "\n"


def from_dot(text: str) -> Hierarchy:
    r"""Read a tree in the DOT language of Graphviz, superclasses above their members.

    Fine classes are numbered in the order of the text. A node is named by its label, if it has one
    and the labels of its level differ.

    Raises:
        ValueError: if the text is not DOT, or no tree of equal depth.

    Example:
        >>> from_dot('digraph { fruit -> {apple; pear} }').names
        (('apple', 'pear'),)
    """
    import networkx as nx  # type: ignore[import-untyped]
    import pydot

    with redirect_stdout(io.StringIO()) as printed:  # where pydot says what is wrong
        graphs = pydot.graph_from_dot_data(text)
    if not graphs:
        reason = (printed.getvalue().strip().splitlines() or [""])[-1]
        raise ValueError(f"it is not in the DOT language: {reason}")
    graph = nx.nx_pydot.from_pydot(graphs[0])
    parents: dict[str, str | None] = dict.fromkeys(map(str, graph))
    for parent, child in graph.edges():
        if parents[child] not in (None, parent):
            raise ValueError(f"{child!r} has two parents: {parents[child]!r} and {parent!r}")
        parents[child] = parent
    tree = Hierarchy.from_mapping(parents)
    labels = {node: _unquoted(value) for node, value in graph.nodes(data="label") if value}
    names = []
    for own in tree.names or ():
        named = [labels.get(node, node) for node in own or ()]
        names.append(named if len(set(named)) == len(named) else own)
    return Hierarchy(tree.class_labels, names)


def _unquoted(label: str) -> str:
    if not label.startswith('"'):
        return label
    escapes = {"\\n": "\n", '\\"': '"', "\\\\": "\\"}
    parts, rest = [], label[1:-1]
    while rest:
        size = 2 if rest[:2] in escapes else 1
        parts.append(escapes.get(rest[:size], rest[:size]))
        rest = rest[size:]
    return "".join(parts)
