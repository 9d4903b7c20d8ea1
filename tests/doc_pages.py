"""The pages whose code and commands are tested: those that are written by hand."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parent.parent
#: the reports below docs/results/ are written by the suite
PAGES = [
    ROOT / "README.md",
    ROOT / "CONTRIBUTING.md",
    *sorted((ROOT / "docs").glob("*.md")),
    *sorted((ROOT / "docs/reference").glob("*.md")),
    ROOT / "docs/results/index.md",
]
ONE_PROGRAM = "<!-- one program:"
FENCE = re.compile(r"^ *```(\w*)[^\n]*\n(.*?)^ *```", re.DOTALL | re.MULTILINE)


def blocks(page: Path, language: str) -> list[str]:
    """The fenced blocks of a page in a language; ``""`` for those without one."""
    text = page.read_text(encoding="utf-8")
    return [code for name, code in FENCE.findall(text) if name == language]


def name_of(page: Path) -> str:
    """A page in the name of a test."""
    return page.relative_to(ROOT).as_posix()
