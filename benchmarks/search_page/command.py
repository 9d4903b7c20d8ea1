"""The command ``serve``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

LOOPBACK = "127.0.0.1"


def serve(
    gallery: Annotated[
        Path, typer.Argument(help="Folder of a gallery, as `index` wrote it.", show_default=False)
    ],
    compare: Annotated[
        Path | None,
        typer.Option(
            help="A second gallery over the same pictures, whose answers are shown beside those "
            "of the first: usually that of a model trained with the flat loss."
        ),
    ] = None,
    model: Annotated[
        Path | None,
        typer.Option(
            help="Folder of the model that made the gallery, if it was moved since the pictures "
            "were embedded. If it is not found, you can search only with pictures of the gallery."
        ),
    ] = None,
    compare_model: Annotated[
        Path | None, typer.Option(help="The same for the model that made the second gallery.")
    ] = None,
    pictures: Annotated[
        Path | None,
        typer.Option(help="Folder of the pictures, if it was moved since they were embedded."),
    ] = None,
    follow_links: Annotated[
        bool,
        typer.Option(
            "--follow-links", help="Show pictures that are links to files outside their folder."
        ),
    ] = False,
    port: Annotated[
        int, typer.Option(min=0, max=65535, help="Port of the page; 0 is any free one.")
    ] = 8000,
    host: Annotated[
        str,
        typer.Option(
            help="Address or name of this machine that the page is served at. With one that is "
            "not loopback, others on the network can see the pictures."
        ),
    ] = LOOPBACK,
) -> None:
    """Search a gallery in the browser: by a picture of your own or by one of its pictures.

    The page is served until Ctrl-C, and on this machine only unless --host says otherwise. Uploaded
    pictures are not stored.
    """
    from ..wording import counted
    from .app import create_app
    from .loading import check_files, load
    from .server import address_of, bind, is_loopback, serve_forever

    with bind(host, port) as listening:  # first: loading takes seconds
        found = load(gallery, compare, model, compare_model, pictures, follow_links)
        if warning := check_files(found, gallery):
            typer.echo(f"warning: {warning}", err=True)
        if not is_loopback(listening):
            typer.echo("warning: others on the network can open this page", err=True)
        typer.echo(
            f"{counted(len(found), 'picture')} at {address_of(listening, host)} (Ctrl-C ends it)"
        )
        serve_forever(create_app(found, host), listening, host)
    typer.echo("\nended")
