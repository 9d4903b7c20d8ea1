"""Warnings as a command prints them: a line each."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def short_warnings() -> Iterator[None]:
    """Say warnings in a line each, for as long as the context lasts."""
    usual = warnings.formatwarning
    quiet_warnings()
    try:
        yield
    finally:
        warnings.formatwarning = usual


def quiet_warnings() -> None:
    """Say warnings in a line each, but for those that tell a user of the benchmark nothing."""
    warnings.formatwarning = lambda message, *_: f"warning: {message}\n"
    logging.getLogger("PML").setLevel(logging.ERROR)
    # PML's trainer formats its loss for a bar that is not shown here.
    warnings.filterwarnings("ignore", message="Converting a tensor with requires_grad=True")
    # Pillow's of a picture that is read all the same, such as a large one or one whose EXIF data
    # are damaged: they do not name it.
    warnings.filterwarnings("ignore", module=r"PIL\.")
    # A trial of a search may be ended within the warm-up.
    warnings.filterwarnings("ignore", message="a HierarchicalProxyLoss was trained for")
