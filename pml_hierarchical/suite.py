"""Where the suite is: inside the installed package, or beside the package in a clone."""

import sys
from importlib import import_module
from pathlib import Path
from typing import Any


def import_suite(module: str) -> Any:
    """Import a module of the suite, such as ``"command_line"``."""
    package = Path(__file__).parent
    if (package / "benchmarks").is_dir():
        return import_module(f"pml_hierarchical.benchmarks.{module}")
    if sys.path[0] != str(package.parent):  # before another package called benchmarks
        sys.path.insert(0, str(package.parent))
    return import_module(f"benchmarks.{module}")
