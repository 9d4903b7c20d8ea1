"""The README as the site's first page: mkdocs calls this before it renders a page."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

README = Path(__file__).parents[1] / "README.md"


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """Links of the README are relative to the repository, those of the site to ``docs/``."""
    if page.file.src_uri != "index.md":
        return markdown
    text = README.read_text(encoding="utf-8").replace("](docs/", "](")
    # what is not a page of the site is named, not linked
    elsewhere = r"\[([^\]]*)\]\(((?:examples/|benchmarks/|CONTRIBUTING)[^)]*)\)"
    return re.sub(elsewhere, r"\1 (`\2`)", text)
