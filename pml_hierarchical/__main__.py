"""``python -m pml_hierarchical``: what the package does without a line of Python."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from . import evaluate


def main(argv: Sequence[str] | None = None) -> None:
    """Parse the command line and run the command; errors are one line and exit status 2."""
    parser = argparse.ArgumentParser(prog="python -m pml_hierarchical", description=__doc__)
    commands = parser.add_subparsers(required=True, metavar="command")
    command = commands.add_parser("evaluate", help="metrics of saved embeddings")
    evaluate.add_arguments(command)
    args = parser.parse_args(argv)
    try:
        evaluate.run(args)
    except (OSError, TypeError, ValueError) as error:
        command.error(str(error))


if __name__ == "__main__":
    main()
