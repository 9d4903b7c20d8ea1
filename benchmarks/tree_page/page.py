"""The page that shows a tree: one HTML file with everything in it."""

from __future__ import annotations

import base64
import json
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jinja2 import Environment, StrictUndefined
from markupsafe import Markup

from pml_hierarchical import Hierarchy

from ..files import write_whole
from ..names import printable
from ..wording import counted
from .found import FoundTree
from .names import named_tree
from .samples import encoded
from .stability import Stability, stability

MAX_BARS = 100  # of the chart of a superclass; more updates are averaged
_FILES = Path(__file__).parent / "templates"


def write_tree_page(
    path: Path | str,
    tree: Any,
    names: Sequence[str] | None = None,
    *,
    vectors: Any = None,
    pictures: Mapping[int, Any] | None = None,
    counts: Sequence[int] | None = None,
    history: Any = None,
    given: Collection[int] = (),
    title: str = "Tree of classes",
    note: str = "",
) -> Path:
    """Write a page to unfold and search a tree of up to 100,000 classes.

    Arguments:
        path: of the HTML file.
        tree: whatever :meth:`~pml_hierarchical.Hierarchy.of` takes, such as ``loss.hierarchy``.
        names: of the fine classes, if the tree has none.
        vectors: ``(C, dimension)``, such as ``loss.proxies``: name superclasses after the member
            nearest to their mean instead of the commonest word of their members.
        pictures: for some fine classes a picture or a list of them: ``PIL.Image``, ``uint8``
            arrays or paths of files. They become at most 96 x 96 pixels.
        counts: ``(C,)``, how many pictures each class has.
        history: the superclasses after each update of the loss, ``(updates, levels above the
            finest, C)``, see :func:`~.stability.stability`.
        given: the levels that were given, not discovered: no stability is shown for them.
        title: of the page.
        note: a sentence below it on where the tree comes from.

    Returns:
        The path.

    Raises:
        OSError: if the file cannot be written, or a picture cannot be read.
        ValueError: if an argument does not fit the tree.
    """
    whole = named_tree(Hierarchy.of(tree), names, vectors)
    if counts is not None and len(counts) != whole.num_classes:
        raise ValueError(
            f"counts has {len(counts)} numbers, and the tree has {whole.num_classes} classes"
        )
    if pictures and not 0 <= min(pictures) <= max(pictures) < whole.num_classes:
        raise ValueError(
            f"pictures are of the classes {min(pictures)}..{max(pictures)}, and the tree has "
            f"{whole.num_classes}, from 0"
        )
    found = None if history is None else stability(history, whole.sizes[1:])
    later = 0 if found is None else whole.num_classes - len(found.moves)  # were added since
    if later < 0:
        raise ValueError(
            f"the history has {whole.num_classes - later} classes, and the tree {whole.num_classes}"
        )
    levels = _levels(whole, found, given)
    content = {
        "levels": levels,
        "counts": None if counts is None else [int(count) for count in counts],
        "pictures": {int(label): _uris(some) for label, some in (pictures or {}).items()},
        "updates": found and found.num_updates,
        "moves": found and [*found.moves.tolist(), *[0] * later],
    }
    environment = Environment(autoescape=True, undefined=StrictUndefined)
    template = environment.from_string((_FILES / "tree.html").read_text(encoding="utf-8"))
    page = template.render(
        title=printable(title),
        note=printable(note),
        summary=_summary(whole, counts, levels, found),
        has_stability=any("stability" in level for level in levels),
        has_pictures=bool(pictures),
        style=_inline("tree.css"),
        scripts=[_inline("model.js"), _inline("view.js"), _inline("keys.js"), _inline("search.js")],
        content=_as_script(content),
    )
    write_whole(Path(path), page)
    return Path(path)


def write_found_tree(path: Path, found: FoundTree, title: str) -> Path:
    """Write the page of a tree with all that was found about it; see :func:`write_tree_page`."""
    return write_tree_page(
        path,
        found.tree,
        pictures=found.pictures,
        counts=found.counts,
        history=found.history,
        given=found.given,
        title=title,
        note=found.note,
    )


def _levels(tree: Hierarchy, found: Stability | None, given: Collection[int]) -> list[Any]:
    levels = []
    for level, names in enumerate(tree.names or ()):
        is_last = level + 1 == tree.num_levels
        one: dict[str, Any] = {
            "names": [printable(name) for name in names or ()],
            "parents": None if is_last else tree.parents(level).tolist(),
            "given": level in given,
        }
        if found is not None and level > 0 and level not in given:
            percent = 100 * found.overlaps[level - 1]
            bars = np.array_split(percent, min(MAX_BARS, len(percent)))
            one["stability"] = percent.mean(axis=0).round(1).tolist()
            one["bars"] = np.stack([part.mean(axis=0) for part in bars], 1).round().astype(int)
            one["bars"] = one["bars"].tolist()
        levels.append(one)
    return levels


def _uris(pictures: Any) -> list[str]:
    some = pictures if isinstance(pictures, (list, tuple)) else [pictures]
    return [base64.b64encode(encoded(picture)).decode() for picture in some]


def _summary(
    tree: Hierarchy, counts: Sequence[int] | None, levels: list[Any], found: Stability | None
) -> str:
    parts = [counted(tree.num_classes, "class", "classes")]
    for level, size in enumerate(tree.sizes[1:], start=1):
        where = f" of level {level}" if tree.num_levels > 2 else ""
        parts.append(counted(size, "superclass", "superclasses") + where)
    if counts is not None:
        parts.append(counted(int(sum(counts)), "picture"))
    values = [value for level in levels for value in level.get("stability", ())]
    if values and found is not None:
        updates = counted(found.num_updates, "update")
        parts.append(f"mean stability {sum(values) / len(values):.0f}% over {updates}")
    return ", ".join(parts)


def _inline(name: str) -> Markup:
    return Markup((_FILES / name).read_text(encoding="utf-8"))


def _as_script(content: Any) -> Markup:
    """JSON that cannot end the script element that it stands in."""
    return Markup(json.dumps(content, separators=(",", ":")).replace("<", "\\u003c"))
