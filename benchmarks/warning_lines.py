"""Warnings as a command prints them: one line each."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def short_warnings() -> Iterator[None]:
    """Print each warning on a line of its own, for as long as the context lasts."""
    usual = warnings.formatwarning
    quiet_warnings()
    try:
        yield
    finally:
        warnings.formatwarning = usual


def quiet_warnings() -> None:
    """Print each warning on a line of its own, except those of no use to the benchmark's users."""
    warnings.formatwarning = lambda message, *_: f"warning: {message}\n"
    logging.getLogger("PML").setLevel(logging.ERROR)
    # PML's trainer formats its loss for a bar that is not shown here.
    warnings.filterwarnings("ignore", message="Converting a tensor with requires_grad=True")
    # Pillow's about a picture that is read all the same, such as a large one or one whose EXIF data
    # are damaged: they do not name it.
    warnings.filterwarnings("ignore", module=r"PIL\.")
    # A trial of a search may be ended within the warm-up.
    warnings.filterwarnings("ignore", message="a HierarchicalProxyLoss was trained for")
