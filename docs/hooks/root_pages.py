"""Pages of the site that are files in the repository's root, and links that lead out of the site.

A hook of mkdocs (``hooks:`` in mkdocs.yml).
"""

from __future__ import annotations

import posixpath
import re
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
#: the site's page -> the file that is shown there
PAGES = {
    "index.md": "README.md",
    "changelog.md": "CHANGELOG.md",
    "contributing.md": "CONTRIBUTING.md",
}
PAGE_OF = {source: name for name, source in PAGES.items()}
LINK = re.compile(r"(?<!!)\[([^\]]*)\]\((?!\w+:|#)([^)#\s]+)(#[^)\s]*)?\)")
#: badges are pictures from another host, and pages of the site load nothing from other hosts
BADGES = re.compile(r"<!-- badges -->.*?<!-- end of badges -->\n", re.DOTALL)


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """Show a file of the root, and name what is not on the site instead of linking to it."""
    here = page.file.src_uri
    if here in PAGES:
        text = BADGES.sub("", (ROOT / PAGES[here]).read_text(encoding="utf-8"))
        # where the file is shown as a page, its links are relative to docs/
        markdown = LINK.sub(_from_root, text)
        markdown = markdown.replace('src="docs/', 'src="').replace('srcset="docs/', 'srcset="')
        markdown = markdown.replace("](docs/", "](")
    return LINK.sub(lambda found: _inside(found, posixpath.dirname(here)), markdown)


def _from_root(found: re.Match[str]) -> str:
    text, target, anchor = found[1], found[2], found[3] or ""
    if target in PAGE_OF:
        return f"[{text}]({PAGE_OF[target]}{anchor})"
    if target.startswith("docs/"):
        return f"[{text}]({target.removeprefix('docs/')}{anchor})"
    return f"[{text}](../{target}{anchor})"


def _inside(found: re.Match[str], folder: str) -> str:
    target = posixpath.normpath(posixpath.join(folder, found[2]))
    if not target.startswith("../") and not target.endswith(".py"):
        return found[0]
    path = target.removeprefix("../") if target.startswith("../") else f"docs/{target}"
    if path in PAGE_OF:
        return f"[{found[1]}]({posixpath.relpath(PAGE_OF[path], folder or '.')}{found[3] or ''})"
    return found[1] if found[1].strip("`") == path else f"{found[1]} (`{path}`)"
