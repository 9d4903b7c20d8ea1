"""``embed``: the embeddings of many pictures, in a file that is continued and kept up to date."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def embed(
    model: Annotated[
        Path, typer.Argument(help="Folder that [bold]train[/] or [bold]export[/] wrote.")
    ],
    pictures: Annotated[
        list[Path],
        typer.Argument(
            help="Folders, picture files, or text files with the path of a picture "
            "per line, relative to the text file."
        ),
    ],
    out: Annotated[
        Path,
        typer.Option(
            help="Folder of the embeddings. Those of pictures that are not given again are removed."
        ),
    ] = Path("embeddings"),
    skip_broken: Annotated[
        bool, typer.Option("--skip-broken", help="Leave out files that cannot be read.")
    ] = False,
    batch_size: Annotated[int, typer.Option(min=1, help="Pictures at a time.")] = 32,
    workers: Annotated[int, typer.Option(min=1, max=256, help="Threads that read pictures.")] = 2,
    device: Annotated[str, typer.Option(help="cpu, cuda, cuda:1, ...")] = "cpu",
) -> None:
    """Embed pictures for a gallery, batch by batch to disk.

    After Ctrl-C the same command continues. Run it again when pictures were added, changed or
    removed, or when the model has new classes: only what is new or changed is embedded.
    """
    from rich.console import Console

    from pml_hierarchical.search import RetrievalModel

    from ..device import checked_device
    from ..locking import only_one_in
    from ..progress import print_written
    from .embed_folder import check_apart, check_no_model, embed_into
    from .embed_pictures import BrokenFilesError, find_pictures

    check_no_model(out)
    loaded = RetrievalModel.load(model, checked_device(device))
    try:
        found = find_pictures(pictures, skip_broken)
    except BrokenFilesError as error:
        raise ValueError(f"{error}. Leave such files out with --skip-broken") from error
    check_apart(out, found)
    console = Console()
    with only_one_in(out, below=False):
        summary = embed_into(
            out,
            model,
            loaded,
            found,
            skip_broken=skip_broken,
            batch_size=batch_size,
            workers=workers,
        )
    console.print(summary, markup=False, highlight=False, soft_wrap=True)
    print_written([out / "embeddings.npy", out / "pictures.json"], console)
