"""The command ``tree``: the tree of a checkpoint as a page, or as a file for other tools."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from typer import Argument, Option

if TYPE_CHECKING:
    from .found import FoundTree


Format = Literal["html", "json", "csv", "newick", "dot", "text"]
NameBy = Literal["word", "member"]  # what superclasses are named after


def tree(
    checkpoint: Annotated[
        Path,
        Argument(
            metavar="CHECKPOINT",
            help="A checkpoint of the loss (.pt, .safetensors), a run's folder, a model's folder, "
            "proxies (.npy, .npz, .pt) or a tree (.json, .csv, .nwk, .dot).",
        ),
    ],
    out: Annotated[
        Path | None,
        Option(
            metavar="FILE", help="File to write. By default tree.html; other formats are printed."
        ),
    ] = None,
    format: Annotated[
        Format | None,
        Option(
            metavar="FORMAT",
            help="html, json, csv, newick, dot or text. By default that of the suffix of --out, "
            "else html.",
        ),
    ] = None,
    names: Annotated[
        Path | None,
        Option(metavar="FILE", help="A text file with the names of the classes, one per line."),
    ] = None,
    num_superclasses: Annotated[
        str | None,
        Option(
            metavar="K[,K2...]",
            help="How many superclasses to cluster proxies into; several levels with commas, the "
            "finest first. By default a quarter of the number of classes, 2 to 1,000.",
        ),
    ] = None,
    name_by: Annotated[
        NameBy,
        Option(
            help="Name superclasses after the word that is commonest among their members, or after "
            "the member nearest to their mean."
        ),
    ] = "word",
    pictures: Annotated[
        Path | None,
        Option(help="A folder with a folder of pictures for each class, shown on the page."),
    ] = None,
    history: Annotated[
        Path | None,
        Option(
            metavar="FILE",
            help="The superclasses after each update (.npy, updates x levels x classes), to show "
            "how stable they were. Runs of the suite have their own.",
        ),
    ] = None,
) -> None:
    """Show the tree of a loss as a page, or export it (JSON, CSV, Newick, DOT, text)."""
    from rich.console import Console

    from ..files import linked, refuse_inputs, write_whole
    from ..progress import print_written
    from .files import exported
    from .page import write_found_tree
    from .sources import pictures_of_classes, read_array, read_source

    kind = _kind(out, format)
    if out is not None and not out.parent.is_dir():
        raise FileNotFoundError(f"--out {out}: there is no folder {out.parent}: make it first")
    read = [one for one in (checkpoint, names, history) if one is not None]
    refuse_inputs("--out", out or Path("tree.html"), read)
    found = read_source(checkpoint)
    named = _named(found, checkpoint, names, num_superclasses, name_by)
    if kind == "html":
        out = out or Path("tree.html")
        shown = replace(found, tree=named)
        if history is not None:
            shown = replace(shown, history=read_array(history))
        if pictures is not None:
            some, counts = pictures_of_classes(pictures, named.names[0])
            shown = replace(shown, pictures=some, counts=counts)
        title = f"Tree of {found.title or checkpoint.resolve().name}"
        write_found_tree(linked(out), shown, title)
    elif pictures is not None or history is not None:
        option = "--pictures" if pictures is not None else "--history"
        raise ValueError(f"{option} is shown only on the page, and the format is {kind}")
    elif out is None:
        print(exported(named, kind), end="")
    else:
        write_whole(linked(out), exported(named, kind))
    if out is not None and out.is_file():  # and not /dev/stdout
        print_written([out], Console())


def _kind(out: Path | None, chosen: str | None) -> str:
    from .files import SUFFIXES

    if chosen is not None:
        return chosen
    if out is None:
        return "html"
    kind = SUFFIXES.get(out.suffix.lower())
    if kind is None:
        raise ValueError(
            f"--out {out} has no suffix that says the format: give --format, or one of "
            f"{', '.join(SUFFIXES)}"
        )
    return kind


def _named(
    found: FoundTree,
    checkpoint: Path,
    names: Path | None,
    num_superclasses: str | None,
    name_by: NameBy,
) -> Any:
    """The tree with a name for every class, clustered if there are only proxies."""
    from .found import clustered
    from .names import named_tree, read_names

    vectors, tree = found.vectors, found.tree
    if tree is None:
        assert vectors is not None
        tree = clustered(vectors, _numbers(num_superclasses))
    elif num_superclasses is not None:
        raise ValueError(
            f"{checkpoint} holds a tree already: --num-superclasses is for proxies without one"
        )
    if name_by == "member" and vectors is None:
        raise ValueError(f"--name-by member needs proxies, and {checkpoint} has none")
    given = found.names if names is None else read_names(names)
    return named_tree(tree, given, vectors if name_by == "member" else None)


def _numbers(text: str | None) -> Any:
    if text is None:
        return "auto"
    try:
        return [int(part) for part in text.split(",")]
    except ValueError as error:
        raise ValueError(
            f"--num-superclasses takes integers such as 20 or 100,10; got {text!r}"
        ) from error
