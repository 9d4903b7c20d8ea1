"""``pml-hierarchical`` and ``python -m pml_hierarchical``: the command line of the suite."""

import sys
from importlib import import_module
from pathlib import Path


def main() -> int:
    """Run a command and return the exit code."""
    package = Path(__file__).parent
    if (package / "benchmarks").is_dir():
        name = "pml_hierarchical.benchmarks"
    else:  # a clone, where the suite lies beside the package
        name = "benchmarks"
        sys.path.insert(0, str(package.parent))
    code: int = import_module(f"{name}.command_line").main()
    return code


if __name__ == "__main__":
    sys.exit(main())
