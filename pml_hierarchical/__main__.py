"""``pml-hierarchical`` and ``python -m pml_hierarchical``: the command line of the suite."""

import sys

from pml_hierarchical.suite import import_suite


def main() -> int:
    """Run a command and return the exit code."""
    return int(import_suite("command_line").main())


if __name__ == "__main__":
    sys.exit(main())
