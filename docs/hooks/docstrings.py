"""Docstrings as Markdown for the reference: an extension of griffe, which mkdocstrings uses.

The docstrings have roles and directives of Sphinx, such as ``:class:`Hierarchy``` and
``.. math::``, and sections called "Example", where griffe knows "Examples".
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from griffe import Class, Extension, Module, Object

MATH = re.compile(r":math:`([^`]+)`")
ROLE = re.compile(r":(?:attr|class|func|meth|mod|obj):`~?([^`]+)`")
DISPLAY = re.compile(r"^( *)\.\. math::\s+(.+)$", re.MULTILINE)
LITERAL = re.compile(r"::$", re.MULTILINE)  # before a block of code, which is indented
SESSION = re.compile(r"^( *)>>> .*(?:\n *\S.*)*", re.MULTILINE)
EXAMPLE = re.compile(r"^(\s*)Example:$", re.MULTILINE)


class MarkdownDocstrings(Extension):
    """Rewrites every docstring before it is parsed, and shows signatures as Python shows them."""

    def on_object(self, *, obj: Object, **_: Any) -> None:
        """Called by griffe for each module, class, function and attribute."""
        if obj.docstring:
            obj.docstring.value = as_markdown(obj.docstring.value)

    def on_package(self, *, pkg: Module, **_: Any) -> None:
        """Called by griffe once the whole package is read."""
        for module in (pkg, *_modules_below(pkg)):
            for one in module.classes.values():
                if not one.is_alias:
                    _follow_wraps(one)


def _modules_below(module: Module) -> Iterator[Module]:
    for inner in module.modules.values():
        if not inner.is_alias:
            yield inner
            yield from _modules_below(inner)


def _follow_wraps(one: Class) -> None:
    """Give a constructor that wraps its base's (``functools.wraps``) the base's signature."""
    constructor = one.functions.get("__init__") if "__init__" in one.members else None
    if constructor and any("wraps" in str(d.value) for d in constructor.decorators):
        constructor.parameters = one.resolved_bases[0].functions["__init__"].parameters


def as_markdown(text: str) -> str:
    """Text with Sphinx's markup as Markdown."""
    text = DISPLAY.sub(r"\1$$\2$$", text)
    text = LITERAL.sub(":", text)
    text = MATH.sub(r"$\1$", text)
    text = ROLE.sub(lambda found: f"`{found[1].removeprefix('pml_hierarchical.')}`", text)
    if not EXAMPLE.search(text):  # an example that is not in a section of its own
        text = SESSION.sub(r"\1```pycon\n\g<0>\n\1```", text)
    return EXAMPLE.sub(r"\1Examples:", text)
