"""The core inside of PML: its files, moved to where they would be upstream, keep the contract.

A copy of the installed ``pytorch_metric_learning`` gets the files of ``pml_hierarchical/core``,
with their imports written as PML writes its own, and runs ``contract/`` in a process that cannot
import ``pml_hierarchical``.
"""

from __future__ import annotations

import ast
import os
import posixpath
import shutil
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest
import pytorch_metric_learning

import pml_hierarchical

CORE = Path(pml_hierarchical.__file__).parent / "core"
FILES = sorted(path for path in CORE.glob("*.py") if path.name != "__init__.py")
CONTRACT = Path(__file__).parent / "contract"
PML = "pytorch_metric_learning"

# Where a file of the core would be in PML; any other goes to utils/.
PLACES = {
    "hierarchical_proxy_loss": "losses",
    "hierarchical_tester": "testers",
}
# What the __init__.py of a folder exports.
EXPORTS = {
    "hierarchical_proxy_loss": "HierarchicalProxyLoss",
    "hierarchical_tester": "HierarchicalTester",
}
AT_IMPORT = {"torch", "numpy", PML, *sys.stdlib_module_names}
IN_FUNCTIONS = AT_IMPORT | {"faiss", "scipy", "sklearn"}


def folder_of(stem: str) -> str:
    return PLACES.get(stem, "utils")


# Run with the contract, in the same process.
PLACES_TEST = f"""
import importlib
from pathlib import Path

def test_every_file_is_imported_from_the_tree():
    for name in {[f"{PML}.{folder_of(path.stem)}.{path.stem}" for path in FILES]}:
        file = Path(importlib.import_module(name).__file__)
        assert file.is_relative_to(Path(__file__).parents[1])
"""


def relative(folder: str, module: str) -> str:
    """A module of PML (``"utils.hierarchy"``) as a file in ``folder`` names it."""
    path = posixpath.relpath(module.replace(".", "/") if module else ".", folder)
    ups = path.split("/").count("..")
    rest = [part for part in path.split("/") if part not in ("..", ".")]
    return "." * (ups + 1) + ".".join(rest)


def imported(module: str, name: str):
    """What ``from module import name`` imports."""
    found = import_module(module)
    return getattr(found, name) if hasattr(found, name) else import_module(f"{module}.{name}")


def rewritten(node: ast.ImportFrom, folder: str) -> str | None:
    """An import as it would be upstream; ``None`` if it stays as it is."""
    names = [f"{n.name} as {n.asname}" if n.asname else n.name for n in node.names]
    if node.level == 1 and node.module is None:  # files of the core
        pairs = [
            (folder_of(alias.name), text) for alias, text in zip(node.names, names, strict=True)
        ]
        return "\n".join(f"from {relative(folder, place)} import {text}" for place, text in pairs)
    if node.level == 1:  # of a file of the core
        stem = node.module.split(".")[0]
        return (
            f"from {relative(folder, f'{folder_of(stem)}.{node.module}')} import {', '.join(names)}"
        )
    if node.module == PML:  # folders of PML
        return f"from {relative(folder, '')} import {', '.join(names)}"
    if not (node.module or "").startswith(f"{PML}."):
        return None
    lines = []
    for alias, text in zip(node.names, names, strict=True):
        value = imported(node.module, alias.name)
        # a class of PML is imported from its own file, as PML does
        home = getattr(value, "__module__", node.module) if isinstance(value, type) else node.module
        lines.append(f"from {relative(folder, home.removeprefix(f'{PML}.'))} import {text}")
    return "\n".join(lines)


def as_upstream(path: Path) -> str:
    """The text of a file of the core with its imports as they would be upstream."""
    text = path.read_text()
    lines = text.splitlines()
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.ImportFrom) and (new := rewritten(node, folder_of(path.stem))):
            indent = " " * node.col_offset
            lines[node.lineno - 1 : node.end_lineno] = [
                "\n".join(indent + line for line in new.splitlines()),
                *[""] * (node.end_lineno - node.lineno),
            ]
    return "\n".join(lines) + "\n"


@pytest.fixture(scope="module")
def tree(tmp_path_factory) -> Path:
    """A folder that holds PML with the core inside of it."""
    folder = tmp_path_factory.mktemp("upstream")
    pml = folder / PML
    source = Path(pytorch_metric_learning.__file__).parent
    shutil.copytree(source, pml, ignore=shutil.ignore_patterns("__pycache__"))
    for path in FILES:
        target = pml / folder_of(path.stem) / path.name
        assert not target.exists(), f"PML has a {target.name} already"
        target.write_text(as_upstream(path))
        if path.stem in EXPORTS:
            with (target.parent / "__init__.py").open("a") as init:
                init.write(f"from .{path.stem} import {EXPORTS[path.stem]}\n")
    return folder


def run(tree: Path, *arguments: str) -> str:
    environment = {**os.environ, "PYTHONPATH": str(tree), "CONTRACT": "upstream"}
    command = [sys.executable, *arguments]
    done = subprocess.run(
        command, cwd=tree, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-3000:]
    return done.stdout


def test_contract_holds_inside_of_pml(tree):
    shutil.copytree(CONTRACT, tree / "tests", ignore=shutil.ignore_patterns("__pycache__"))
    (tree / "tests" / "test_places.py").write_text(PLACES_TEST)
    (tree / "pytest.ini").write_text("[pytest]\n")
    found = run(tree, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", "tests")
    assert "passed" in found
    assert "skipped" not in found


def test_nothing_upstream_names_the_plugin(tree):
    for path in FILES:
        text = (tree / PML / folder_of(path.stem) / path.name).read_text()
        assert "pml_hierarchical" not in text, path.name
        assert f"from {PML}" not in text, path.name


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_imports_are_torch_numpy_and_public_names_of_pml(path):
    module = ast.parse(path.read_text())
    inside = {
        node
        for function in ast.walk(module)
        if isinstance(function, (ast.FunctionDef, ast.AsyncFunctionDef))
        for node in ast.walk(function)
    }
    for node in ast.walk(module):
        allowed = IN_FUNCTIONS if node in inside else AT_IMPORT
        if isinstance(node, ast.Import):
            assert {alias.name.split(".")[0] for alias in node.names} <= allowed
        elif isinstance(node, ast.ImportFrom) and node.level:
            assert node.level == 1, "an import from outside of the core"
            modules = [node.module] if node.module else [alias.name for alias in node.names]
            assert all((CORE / f"{module}.py").exists() for module in modules)
        elif isinstance(node, ast.ImportFrom):
            root = node.module.split(".")[0]
            assert root in allowed, node.module
            if root == PML:
                parts = [*node.module.split("."), *(alias.name for alias in node.names)]
                assert not [part for part in parts if part.startswith("_")]
                for alias in node.names:
                    imported(node.module, alias.name)


def test_the_check_of_imports_can_fail(tmp_path):
    """What it is for: a file that imports scipy at the top, or a private name of PML."""
    for line in ("import scipy.sparse", f"from {PML}.utils import _private", "from ..x import y"):
        bad = tmp_path / "bad.py"
        bad.write_text(line + "\n")
        with pytest.raises(AssertionError):
            test_imports_are_torch_numpy_and_public_names_of_pml(bad)


@pytest.mark.parametrize(
    ("folder", "module", "name"),
    [
        ("losses", "utils.hierarchy", "..utils.hierarchy"),
        ("utils", "utils.hierarchy", ".hierarchy"),
        ("losses", "losses.proxy_anchor_loss", ".proxy_anchor_loss"),
        ("utils", "utils", "."),
        ("losses", "utils", "..utils"),
        ("losses", "", ".."),
    ],
)
def test_relative_names(folder, module, name):
    assert relative(folder, module) == name
