"""``pml-hierarchical list``: the data sets and the losses by their names."""

from __future__ import annotations

from rich.console import Console
from rich.table import Column, Table


def show_names() -> None:
    """Show the names of data sets and losses."""
    from ..datasets import DATASETS
    from ..losses import ALL_LOSSES, HPL_PREFIXES, hierarchical_bases

    console = Console()
    datasets = Table("data set", "what it is", "needs", title="Data sets", title_justify="left")
    for entry in DATASETS.values():
        download = " (--download fills it)" if entry.archives else ""
        needs = f"--data-root{download}" if entry.needs_root else "nothing"
        datasets.add_row(entry.name, entry.description, needs)
    name = Column("loss", no_wrap=True)  # people have to type it
    columns = [name, *(Column(text, overflow="fold") for text in ("settings", "source"))]
    losses = Table(*columns, title="Losses", title_justify="left")
    for spec in ALL_LOSSES.values():
        settings = ", ".join(f"{key}={value}" for key, value in spec.settings().items())
        losses.add_row(spec.name, settings, spec.source)
    bases = ", ".join(hierarchical_bases())
    for prefix, kind in HPL_PREFIXES.items():
        losses.add_row(f"{prefix}:LOSS", f"HPL with a {kind} hierarchy", f"LOSS is one of {bases}")
    console.print(datasets)
    console.print(losses)
