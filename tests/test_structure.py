"""The shape of the package: its size, its imports, what refers to what, how deep a call is."""

from __future__ import annotations

import ast
import gc
import re
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

import pml_hierarchical
from pml_hierarchical.losses import HierarchicalProxyLoss

MAX_CORE_FILES, MAX_CORE_LINES = 8, 1000
MAX_LOSS_LINES = 250
MAX_FILES, MAX_LINES = 50, 6500
MAX_FRAMES = 5

PACKAGE = Path(pml_hierarchical.__file__).parent
FILES = sorted(PACKAGE.rglob("*.py"))
CORE = sorted((PACKAGE / "core").glob("*.py"))


def lines_of(paths) -> int:
    return sum(len(path.read_text().splitlines()) for path in paths)


# ---------------------------------------------------------------- size
def test_size_of_the_core():
    lines = lines_of(CORE)
    assert (len(CORE) <= MAX_CORE_FILES, lines <= MAX_CORE_LINES) == (True, True), (
        f"core: {len(CORE)} files, {lines} lines"
    )


def test_size_of_the_loss():
    assert lines_of([PACKAGE / "core/hierarchical_proxy_loss.py"]) <= MAX_LOSS_LINES


def test_size_of_the_package():
    lines = lines_of(FILES)
    assert (len(FILES) <= MAX_FILES, lines <= MAX_LINES) == (True, True), (
        f"package: {len(FILES)} files, {lines} lines"
    )


# ---------------------------------------------------------------- imports
def module_of(path: Path, root: Path) -> str:
    parts = path.relative_to(root.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imports_of(tree: ast.AST) -> list[ast.Import | ast.ImportFrom]:
    """What runs when the module is imported: not inside functions, nor for type checkers alone."""
    found: list[ast.Import | ast.ImportFrom] = []
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, (ast.Import, ast.ImportFrom)):
            found.append(node)
        elif isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            found += imports_of(ast.Module(node.orelse, []))
        elif not isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)):
            found += imports_of(node)
    return found


def import_graph(root: Path) -> dict[str, set[str]]:
    """The modules of a package that each of them imports, by name.

    ``from .x import y`` imports ``x.y`` if that is a module, else ``x``; that the packages around
    a module are imported with it does not count, but what their ``__init__`` imports by name does.
    """
    paths = {module_of(path, root): path for path in root.rglob("*.py")}
    graph: dict[str, set[str]] = {name: set() for name in paths}
    for name, path in paths.items():
        package = name if path.name == "__init__.py" else name.rpartition(".")[0]
        for node in imports_of(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                wanted = [alias.name for alias in node.names]
            else:
                above = package.split(".")[: len(package.split(".")) + 1 - node.level]
                base = ".".join([*(above if node.level else []), *filter(None, [node.module])])
                names = [f"{base}.{alias.name}" for alias in node.names]
                wanted = [one if one in paths else base for one in names]
            graph[name] |= {one for one in wanted if one in paths}
    return graph


def circle(graph: dict[str, set[str]]) -> list[str]:
    """The modules of a circle, in order; empty if there is none."""
    done: set[str] = set()

    def search(name: str, path: list[str]) -> list[str]:
        if name in path:
            return [*path[path.index(name) :], name]
        if name in done:
            return []
        found = next((c for one in sorted(graph[name]) if (c := search(one, [*path, name]))), [])
        done.add(name)
        return found

    return next((found for name in sorted(graph) if (found := search(name, []))), [])


def test_imports_go_in_no_circle():
    graph = import_graph(PACKAGE)
    assert sum(map(len, graph.values())) > len(graph) / 2  # the graph has found the imports
    assert circle(graph) == []


def test_a_circle_of_imports_is_found(tmp_path):
    root = tmp_path / "package"
    (root / "sub").mkdir(parents=True)
    (root / "__init__.py").write_text("from .a import x\n")
    (root / "a.py").write_text("from .sub import y\nx = 1\n")
    (root / "sub/__init__.py").write_text("from .b import y\n")
    (root / "sub/b.py").write_text("from __future__ import annotations\ny = 1\n")
    assert circle(import_graph(root)) == []
    for text in ("from ..a import x", "import package.a", "try:\n    from .. import a\nfinally: 0"):
        (root / "sub/b.py").write_text(text + "\ny = 1\n")
        names = ["package.a", "package.sub", "package.sub.b", "package.a"]
        assert circle(import_graph(root)) == names
    later = (
        "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from ..a import x\n"
        "def y():\n    from ..a import x\n"
    )
    (root / "sub/b.py").write_text(later)
    assert circle(import_graph(root)) == []


def test_the_core_knows_nothing_of_the_plugin():
    graph = import_graph(PACKAGE)
    inside = {name for name in graph if name.startswith("pml_hierarchical.core.")}
    assert inside
    assert [(a, b) for a in inside for b in graph[a] if b not in inside] == []


# ---------------------------------------------------------------- who reaches into whom
def private_reads(tree: ast.AST) -> list[str]:
    """Private attributes of whole losses that functions read from an argument."""
    found = []
    for function in ast.walk(tree):
        if not isinstance(function, (ast.FunctionDef, ast.AsyncFunctionDef)):
            continue
        arguments = [*function.args.posonlyargs, *function.args.args, *function.args.kwonlyargs]
        losses = {
            one.arg
            for one in arguments
            if re.fullmatch(r"loss|loss_func\w*|\w+_loss|losses", one.arg)
            or (one.annotation and "ProxyLoss" in ast.unparse(one.annotation))
        }
        for node in ast.walk(function):
            if (
                isinstance(node, ast.Attribute)
                and isinstance(node.value, ast.Name)
                and node.value.id in losses
                and node.attr.startswith("_")
                and not node.attr.endswith("__")
            ):
                found.append(f"{function.name}: {node.value.id}.{node.attr}")
    return found


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_no_function_reaches_into_a_loss(path):
    assert private_reads(ast.parse(path.read_text())) == []


def test_reaching_into_a_loss_is_found():
    code = "def f(loss_func: Any, n):\n    return loss_func._step + n._size + loss_func.step"
    assert private_reads(ast.parse(code)) == ["f: loss_func._step"]


def parents_in(root: torch.nn.Module) -> list[str]:
    """Where a module inside of ``root`` refers back to a module that contains it."""
    containers: dict[int, set[int]] = {id(module): set() for module in root.modules()}
    for outer in root.modules():
        for inner in outer.modules():
            if inner is not outer:
                containers[id(inner)].add(id(outer))
    return [
        f"{name} -> {type(seen).__name__}"
        for name, module in root.named_modules()
        for seen in reachable(module)
        if id(seen) in containers[id(module)]
    ]


def reachable(module: torch.nn.Module) -> list[Any]:
    """The modules that an object's attributes lead to, through containers, closures and objects."""
    seen: dict[int, Any] = {}
    queue = [vars(module)]
    while queue:
        one = queue.pop()
        if id(one) in seen or isinstance(one, (type, type(sys), torch.Tensor, str, int, float)):
            continue
        seen[id(one)] = one
        queue += [
            other
            for other in gc.get_referents(one)
            if not (callable(one) and isinstance(other, dict) and "__builtins__" in other)
        ]
    return [one for one in seen.values() if isinstance(one, torch.nn.Module)]


def make(**kwargs: Any) -> HierarchicalProxyLoss:
    torch.manual_seed(0)
    loss_func = HierarchicalProxyLoss(200, 16, num_superclasses=(40, 8), warmup=0, **kwargs)
    loss_func.recluster()
    return loss_func


@pytest.mark.parametrize("coarse_proxies", ["fixed", "live", "learned"])
def test_no_module_refers_to_its_parent(coarse_proxies):
    loss_func = make(coarse_proxies=coarse_proxies)
    loss_func(torch.randn(32, 16, requires_grad=True), torch.arange(32)).backward()
    assert parents_in(loss_func) == []


def test_a_module_that_refers_to_its_parent_is_found():
    loss_func = make()
    for spoil in (lambda inner: {"owner": [loss_func]}, lambda inner: {"f": lambda: loss_func}):
        inner = loss_func.level_loss(1)
        attributes = spoil(inner)
        inner.__dict__.update(attributes)
        assert any("HierarchicalProxyLoss" in line for line in parents_in(loss_func))
        for name in attributes:
            del inner.__dict__[name]
    assert parents_in(loss_func) == []


def test_a_loss_is_freed_without_the_garbage_collector():
    """The object graph has no circles: a count of references is enough."""
    import weakref

    loss_func = make()
    loss_func(torch.randn(32, 16, requires_grad=True), torch.arange(32)).backward()
    gc.collect()
    gc.disable()
    try:
        reference = weakref.ref(loss_func)
        del loss_func
        assert reference() is None
    finally:
        gc.enable()


# ---------------------------------------------------------------- frames to the arithmetic
MOVES = {"detach", "alias", "t", "transpose", "view", "_unsafe_view", "clone", "_to_copy", "copy_",
         "expand", "permute", "slice", "select", "empty_like", "new_empty", "new_zeros",
         "zeros_like", "is_same_size", "lift_fresh"}  # fmt: skip


class FirstArithmetic(TorchDispatchMode):
    """The Python stack at the first operation on the values of some tensors.

    Views and copies are followed. What the checks of the batch compute does not count.
    """

    def __init__(self, tensors: list[torch.Tensor]) -> None:
        super().__init__()
        self.storages = {one.untyped_storage().data_ptr() for one in tensors}
        self.stack: list[str] = []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        flat = [
            one for one in torch.utils._pytree.tree_leaves((args, kwargs)) if torch.is_tensor(one)
        ]
        ours = any(one.untyped_storage().data_ptr() in self.storages for one in flat)
        result = func(*args, **(kwargs or {}))
        if ours and func.overloadpacket.__name__ in MOVES and torch.is_tensor(result):
            self.storages.add(result.untyped_storage().data_ptr())
        elif ours and not self.stack:
            stack = stack_of_the_package()
            if not any(frame.startswith(("check", "_check")) for frame in stack):
                self.stack = [*stack, str(func)]
        return result


def stack_of_the_package() -> list[str]:
    """The functions of this package and of PML that are running, from the loss's ``forward``."""
    names, frame = [], sys._getframe()
    while frame is not None:
        path = frame.f_code.co_filename
        if "/pml_hierarchical/" in path or "/pytorch_metric_learning/" in path:
            names.append(frame.f_code.co_name)
        frame = frame.f_back
    names.reverse()
    return names[names.index("forward") :] if "forward" in names else names


@pytest.mark.parametrize("num_classes", [200, 20_000])
@pytest.mark.parametrize("base", ["ProxyAnchorLoss", "NormalizedSoftmaxLoss"])
def test_frames_from_forward_to_the_first_arithmetic(base, num_classes):
    from pml_hierarchical import losses

    loss_func = HierarchicalProxyLoss(
        num_classes, 16, getattr(losses, base), num_superclasses=(40, 8), warmup=0
    )
    loss_func.recluster()
    embeddings, labels = torch.randn(32, 16, requires_grad=True), torch.arange(32)
    loss_func(embeddings, labels)  # what is made in the first step is there
    proxies = loss_func.proxies_in_use(3)
    with FirstArithmetic([embeddings, *proxies]) as seen:
        loss_func(embeddings, labels)
    *frames, operation = seen.stack
    assert frames[0] == "forward"
    assert len(frames) <= MAX_FRAMES, f"{' > '.join(frames)} > {operation}"


# ---------------------------------------------------------------- what is touched of PML
def names_of_pml(tree: ast.AST) -> set[str]:
    """The names that a file imports from PML, and those it takes of a module of PML."""
    names: dict[str, str] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("pytorch_metric"):
            names |= {alias.asname or alias.name: alias.name for alias in node.names}
    taken = {
        node.attr
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute)
        and isinstance(node.value, ast.Name)
        and names.get(node.value.id) in ("common_functions", "loss_and_miner_utils", "losses")
        and node.attr != "__name__"
    }
    return {name for name in names.values() if name != "*"} | taken


def test_every_name_of_pml_is_listed_in_the_docs():
    root = Path(__file__).parents[1]
    text = (root / "docs/pml_versions.md").read_text()
    paths = [*FILES, *(root / "benchmarks").rglob("*.py"), *(root / "examples").glob("*.py")]
    names = set().union(*(names_of_pml(ast.parse(path.read_text())) for path in paths))
    assert "BaseMetricLossFunction" in names
    assert sorted(name for name in names if not re.search(rf"\b{name}\b", text)) == []
