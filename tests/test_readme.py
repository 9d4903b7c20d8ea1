"""What the README, the docs and the requirements say is so: code runs, names and links exist."""

import re
from pathlib import Path

import pytest

from benchmarks.tuning import tuned_file

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "pml_hierarchical"
FENCE = re.compile(r"^```python\n(.*?)^```", re.DOTALL | re.MULTILINE)
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]

without_a_search = pytest.mark.skipif(
    not tuned_file("glyphs").exists(), reason="the repository has no settings of a search"
)
BLOCKS = [
    pytest.param(
        code,
        id=f"{page.name}-{number}",
        marks=[without_a_search] if "apply_tuned" in code else [],
    )
    for page in PAGES
    for number, code in enumerate(FENCE.findall(page.read_text(encoding="utf-8")))
]


@pytest.mark.filterwarnings("ignore:Converting a tensor with requires_grad")
@pytest.mark.filterwarnings("ignore:a HierarchicalProxyLoss was trained for")
@pytest.mark.parametrize("code", BLOCKS)
def test_python_block(code):
    exec(compile(code, "documentation", "exec"), {"__name__": "__main__"})


def test_there_are_blocks():
    pages = {block.id.rpartition("-")[0] for block in BLOCKS}
    assert pages >= {"README.md", "loss.md", "trees.md", "evaluation.md", "speed.md", "tuning.md"}


# ---------------------------------------------------------------- CONTRIBUTING
def named_files() -> list[str]:
    """What looks like a file or a folder in the tables of CONTRIBUTING.md, and its links."""
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    text = re.sub(r"^```.*?^```", "", text, flags=re.DOTALL | re.MULTILINE)
    return re.findall(r"`([\w./]+(?:\.py|/))`", text) + re.findall(r"\]\(([^)#:]+)\)", text)


@pytest.mark.parametrize("name", sorted(set(named_files())))
def test_what_contributing_names_exists(name):
    folders = (ROOT, PACKAGE, PACKAGE / "core", *PACKAGE.iterdir(), ROOT / "benchmarks")
    assert any((folder / name).exists() for folder in folders)


def test_contributing_lists_every_file_of_the_core():
    names = {path.name for path in (PACKAGE / "core").glob("*.py")}
    assert names <= set(named_files())


def test_links_between_the_pages_lead_to_files():
    for page in PAGES[1:]:
        for target in re.findall(r"\]\((?!https?:|#)([^)#]+)", page.read_text(encoding="utf-8")):
            assert (page.parent / target).exists(), f"{page.name}: {target}"
    for target in re.findall(r"\]\((?!https?:|#)([^)#]+)", PAGES[0].read_text(encoding="utf-8")):
        assert (ROOT / target).exists(), f"README.md: {target}"


# ---------------------------------------------------------------- requirements
def test_the_constraints_of_the_lowest_versions_are_the_requirements():
    text = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    required = re.search(r"^dependencies = \[\n(.*?)^\]", text, re.DOTALL | re.MULTILINE)[1]
    lowest = dict(re.findall(r'"([\w-]+)>=([\d.]+)', required))
    pinned = dict(re.findall(r"^([\w-]+)==([\d.]+)$", (ROOT / "tests/floor.txt").read_text(), re.M))
    shortened = {name: re.sub(r"(\.0)+$", "", version) for name, version in pinned.items()}
    assert shortened == {name: re.sub(r"(\.0)+$", "", version) for name, version in lowest.items()}
