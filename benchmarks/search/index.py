"""``index``: a gallery that can be searched, from embeddings."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer


def index(
    embeddings: Annotated[Path, typer.Argument(help="Folder that [bold]embed[/] wrote.")],
    out: Annotated[Path, typer.Option(help="Folder of the gallery.")] = Path("gallery"),
    kind: Annotated[
        Literal["auto", "exact", "ivf", "hnsw"],
        typer.Option(
            help="exact: every picture is compared. ivf, hnsw: approximate, for millions. auto: "
            "exact up to 200,000 pictures, ivf above."
        ),
    ] = "auto",
) -> None:
    """Make a gallery from embeddings: an index with the names, the classes and their tree."""
    from rich.console import Console

    from ..progress import print_written
    from .index_gallery import index_gallery

    console = Console()
    summary = index_gallery(embeddings, out, kind)
    console.print(summary, markup=False, highlight=False, soft_wrap=True)
    print_written([out / "index.faiss", out / "index.json"], console)
