"""Plain text as Markdown shows it, not as it would read it."""

from __future__ import annotations

import re

# ``$`` begins a formula on GitHub; an underscore within a word begins nothing
_ANYWHERE = r"[\\`*\[\]<>&|~$\r\n]|(?<![^\W_])_|_(?![^\W_])"
_AT_THE_START = r"^[#=]|^[-+](?=[-\s]|$)|^\d+[.)](?=\s|$)"  # a heading, a rule, a list
_SPECIAL = re.compile(f"{_ANYWHERE}|{_AT_THE_START}")


def escaped(text: str) -> str:
    """A text for the middle of a line, special characters as HTML entities.

    Entities work everywhere, even in tables and for characters that a backslash does not escape.

    Example:
        >>> escaped("a_b <i> $_$")
        'a_b &lt;i&gt; &#36;&#95;&#36;'
    """
    return _SPECIAL.sub(lambda found: "".join(map(_entity, found[0])), text.strip())


def code(text: str) -> str:
    """A text as code, between as many backticks as it does not hold."""
    fence = "`" * (1 + max(map(len, re.findall("`+", text)), default=0))
    space = " " if "`" in text else ""
    return f"{fence}{space}{text}{space}{fence}"


def _entity(character: str) -> str:
    named = {"<": "&lt;", ">": "&gt;", "&": "&amp;"}
    if character.isdigit():
        return character
    return named.get(character, f"&#{ord(character)};")
