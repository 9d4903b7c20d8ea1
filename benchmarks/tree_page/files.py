"""Trees in files of other tools: what the command reads and writes besides pages."""

from __future__ import annotations

import io
import re
from collections.abc import Callable
from contextlib import redirect_stdout
from itertools import chain, product
from pathlib import Path
from typing import Any

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
        return readers[kind](path.read_text(encoding="utf-8-sig"))  # editors on Windows mark it
    except UnicodeDecodeError as error:
        raise ValueError(f"{path} is not in UTF-8 ({error}): save it as UTF-8") from error
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
    and the labels of its level differ. What is in subgraphs counts; ports and layout do not.

    Raises:
        ValueError: if the text is not one directed graph in DOT, or no tree of equal depth.

    Example:
        >>> from_dot('digraph { fruit -> {apple; pear} }').names
        (('apple', 'pear'),)
    """
    import pydot

    with redirect_stdout(io.StringIO()) as printed:  # where pydot says what is wrong
        graphs = pydot.graph_from_dot_data(text)
    if not graphs:
        reason = (printed.getvalue().strip().splitlines() or [""])[-1]
        raise ValueError(f"it is not in the DOT language: {reason}")
    if len(graphs) > 1:
        raise ValueError(f"it has {len(graphs)} graphs: give a file with one")
    if graphs[0].get_type() != "digraph":
        raise ValueError(
            "the graph is undirected, so that no edge says which end is the superclass: write "
            "digraph for graph, and superclass -> class for superclass -- class"
        )
    parents: dict[str, str | None] = {}
    labels: dict[str, str] = {}
    _read_graph(graphs[0], parents, labels)
    tree = Hierarchy.from_mapping(parents)
    names = []
    for own in tree.names or ():
        named = [labels.get(node, node) for node in own or ()]
        names.append(named if len(set(named)) == len(named) else own)
    return Hierarchy(tree.class_labels, names)


def _read_graph(graph: Any, parents: dict[str, str | None], labels: dict[str, str]) -> list[str]:
    """Add the nodes of a graph, with their parents and labels; returns their names."""
    import pydot

    found: list[str] = []
    parts = [*graph.get_nodes(), *graph.get_edges(), *graph.get_subgraphs()]
    for part in sorted(parts, key=lambda part: part.get_sequence()):
        if isinstance(part, pydot.Edge):
            ends = [
                _read_graph(pydot.Subgraph(obj_dict=end), parents, labels)
                if isinstance(end, dict)
                else [_node(str(end))]
                for end in (part.get_source(), part.get_destination())
            ]
            parents |= {node: parents.get(node) for end in ends for node in end}
            for parent, child in product(*ends):
                if parents[child] not in (None, parent):
                    both = f"{parents[child]!r} and {parent!r}"
                    raise ValueError(f"{child!r} has two parents: {both}")
                parents[child] = parent
            found += chain(*ends)
        elif isinstance(part, pydot.Subgraph):
            found += _read_graph(part, parents, labels)
        elif part.get_name() not in ("node", "edge", "graph"):  # these set defaults
            name, label = _node(part.get_name()), part.get("label")
            parents.setdefault(name)
            labels |= {name: _unquoted(label)} if label else {}
            found.append(name)
    return found


def _node(name: str) -> str:
    """The node that an edge names, without a port such as ``:s``."""
    whole = re.match(r'"(?:[^"\\]|\\.)*"|[^:]*', name)
    return _unquoted(whole[0] if whole else name)


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
