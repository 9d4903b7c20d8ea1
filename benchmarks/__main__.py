"""``python -m benchmarks`` in a clone: the same as ``pml-hierarchical``."""

import sys

from .command_line import main

if __name__ == "__main__":
    sys.exit(main())
