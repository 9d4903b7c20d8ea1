"""Equations as MathML, which browsers render themselves: no script, no other host.

A hook of mkdocs (``hooks:`` in mkdocs.yml). ``pymdownx.arithmatex`` finds the equations.
"""

from __future__ import annotations

import html
import re
from typing import Any

from latex2mathml.converter import convert

EQUATION = re.compile(
    r'<(?P<tag>span|div) class="arithmatex">\\[(\[](?P<latex>.*?)\\[)\]]</(?P=tag)>', re.DOTALL
)


def on_page_content(content: str, **_: Any) -> str:
    """Replace LaTeX in a page's HTML with MathML."""
    return EQUATION.sub(_mathml, content)


def _mathml(found: re.Match[str]) -> str:
    tag = found["tag"]
    latex = html.unescape(found["latex"]).strip()
    equation = convert(latex, display="block" if tag == "div" else "inline")
    return f'<{tag} class="equation">{equation}</{tag}>'
