"""``search``: the pictures of a gallery that are most like others."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer


def search(
    gallery: Annotated[Path, typer.Argument(help="Folder that [bold]index[/] wrote.")],
    pictures: Annotated[
        list[Path], typer.Argument(help="Picture files, folders, or text files that list pictures.")
    ],
    k: Annotated[int, typer.Option("-k", min=1, help="Answers for each picture.")] = 10,
    level: Annotated[
        int | None,
        typer.Option(
            min=0,
            help="Group the answers by the classes of this level of the tree, 0 for the finest; "
            "by default 1, the superclasses, if there are any.",
        ),
    ] = None,
    only: Annotated[
        list[str] | None,
        typer.Option(
            metavar="CLASS...",
            help="Names of classes of the level, such as apple for fruit/apple; all others are not "
            "searched.",
        ),
    ] = None,
    output_format: Annotated[
        Literal["table", "json", "csv", "page"] | None,
        typer.Option(
            "--format",
            metavar="FORMAT",
            help="table, json, csv or page: one HTML file with the pictures in it. By default "
            "that of the suffix of --out (.json, .csv, .html), else a table.",
        ),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="File to write. By default answers are printed, but a page is written to "
            "answers.html.",
        ),
    ] = None,
    model: Annotated[
        Path | None,
        typer.Option(
            help="Folder of the model that made the gallery; by default the one that embed noted."
        ),
    ] = None,
    skip_broken: Annotated[
        bool, typer.Option("--skip-broken", help="Leave out pictures that cannot be read.")
    ] = False,
    check: Annotated[
        bool, typer.Option(help="Warn if pictures of the gallery were changed since it was made.")
    ] = True,
    device: Annotated[str, typer.Option(help="cpu, cuda, cuda:1, ...")] = "cpu",
) -> None:
    """Find the pictures of a gallery that are most like the given ones."""
    import warnings

    from ..device import checked_device
    from .answers import find_answers
    from .answers_output import check_out, form_of, write_answers
    from .embed_pictures import BrokenFilesError, find_pictures
    from .gallery_index import Index
    from .index_age import age_warning
    from .search_model import load_model

    form = output_format or form_of(out)
    check_out(form, out, pictures, gallery)
    index = Index.load(gallery)
    loaded = load_model(index, gallery, model, checked_device(device))
    try:
        queries = find_pictures(pictures, skip_broken)
    except BrokenFilesError as error:
        raise ValueError(f"{error}. Leave such files out with --skip-broken") from error
    found = find_answers(index, loaded, queries, k, level, only or (), skip_broken)
    if check and (warning := age_warning(index, gallery, model)):
        warnings.warn(warning, stacklevel=2)
    write_answers(found, form, out)
