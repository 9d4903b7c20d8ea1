"""What the README, the docs and the requirements say is so: code runs, names and links exist."""

import gc
import importlib.util
import re
import shutil
import sys
import warnings

import pytest
import yaml
from doc_pages import ONE_PROGRAM, PAGES, ROOT, blocks, name_of
from search_workspace import make_workspace

import benchmarks
import pml_hierarchical
from benchmarks.tuning import tuned_file

README, PACKAGE = ROOT / "README.md", ROOT / "pml_hierarchical"
OPTIONAL = ("accelerate", "lightning", "mlflow", "safetensors", "transformers", "wandb")
#: what PML's own trainer does
OF_PML = "Converting a tensor with requires_grad"


def marks(code: str) -> list:
    """A block is left out where it needs what is not here."""
    missing = [
        name
        for name in OPTIONAL
        if re.search(rf"^import {name}", code, re.MULTILINE) and not importlib.util.find_spec(name)
    ]
    if "apply_tuned" in code and not tuned_file("glyphs").exists():
        missing.append("settings of a search")
    return [pytest.mark.skip(reason=f"needs {', '.join(missing)}")] if missing else []


def programs():
    """Every Python block of every other page; those of a page that is one program together."""
    for page in PAGES[1:]:
        found = blocks(page, "python")
        if ONE_PROGRAM in page.read_text(encoding="utf-8"):
            found = ["\n".join(found)]
        for number, code in enumerate(found):
            yield pytest.param(code, id=f"{name_of(page)}-{number}", marks=marks(code))


PROGRAMS = list(programs())


@pytest.fixture(scope="module")
def searched(tmp_path_factory):
    folder = tmp_path_factory.mktemp("searched")
    make_workspace(folder)
    return folder


@pytest.mark.filterwarnings(f"ignore:{OF_PML}")
@pytest.mark.filterwarnings("ignore:a HierarchicalProxyLoss was trained for")
@pytest.mark.parametrize("code", PROGRAMS)
def test_python_block(code, request, monkeypatch, tmp_path):
    if "pml_hierarchical.search" in code or "search_page" in code:
        shutil.copytree(request.getfixturevalue("searched"), tmp_path, dirs_exist_ok=True)
        monkeypatch.chdir(tmp_path)
        # where the suite is in an installed package
        monkeypatch.setitem(sys.modules, "pml_hierarchical.benchmarks", benchmarks)
    exec(compile(code, "documentation", "exec"), {"__name__": "__main__"})


@pytest.mark.parametrize("code", blocks(README, "python"))
def test_python_block_of_the_readme_gives_no_warning(code):
    """Also none when a loss is deleted whose training ended in its warm-up."""
    with warnings.catch_warnings(record=True) as given:
        warnings.simplefilter("always")
        exec(compile(code, "README.md", "exec"), {"__name__": "__main__"})
        gc.collect()
    others = (DeprecationWarning, ResourceWarning)
    messages = [str(one.message) for one in given if not issubclass(one.category, others)]
    assert [message for message in messages if OF_PML not in message] == []


def test_there_are_programs():
    pages = {program.id.rpartition("-")[0] for program in PROGRAMS}
    named = (
        "own_pictures",
        "loss",
        "trees",
        "evaluation",
        "speed",
        "tuning",
        "training_loops",
        "tracking",
    )
    assert pages >= {f"docs/{name}.md" for name in (*named, "ten_minutes")}


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


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_links_between_the_pages_lead_to_files(page):
    text = re.sub(r"^ *```.*?^ *```", "", page.read_text(encoding="utf-8"), flags=re.S | re.M)
    for target in re.findall(r"\]\((?!https?:|#)([^)#]+)", text):
        found = page.parent / target
        assert found.exists(), target
        # docs/index.md and the like, which only the site fills
        assert found.suffix != ".md" or "is shown here" not in found.read_text("utf-8"), target


# ---------------------------------------------------------------- requirements
def test_the_constraints_of_the_lowest_versions_are_the_requirements():
    text = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    required = re.search(r"^dependencies = \[\n(.*?)^\]", text, re.DOTALL | re.MULTILINE)[1]
    lowest = dict(re.findall(r'"([\w-]+)>=([\d.]+)', required))
    pinned = dict(re.findall(r"^([\w-]+)==([\d.]+)$", (ROOT / "tests/floor.txt").read_text(), re.M))
    shortened = {name: re.sub(r"(\.0)+$", "", version) for name, version in pinned.items()}
    assert shortened == {name: re.sub(r"(\.0)+$", "", version) for name, version in lowest.items()}


# ---------------------------------------------------------------- how to cite
def test_the_citation_is_that_of_the_paper_and_of_this_version():
    cited = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert cited["version"] == pml_hierarchical.__version__
    paper = cited["preferred-citation"]
    text = " ".join(README.read_text(encoding="utf-8").split())
    assert f"{{{paper['title']}}}" in text
    authors = [f"{one['family-names']}, {one['given-names']}" for one in paper["authors"]]
    assert " and ".join(authors) in text
