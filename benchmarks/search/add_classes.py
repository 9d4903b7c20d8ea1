"""``add-classes``: the new classes of a catalogue in a model that is not trained again."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from typer import Argument, Option

SHOWN = 20


def add_classes(
    model: Annotated[Path, Argument(help="Folder of a model.")],
    folder: Annotated[
        Path,
        Argument(help="Pictures of the new classes, as superclass/.../class/picture or class/..."),
    ],
    out: Annotated[Path, Option(help="Folder of the new model.")] = Path("model2"),
    skip_broken: Annotated[bool, Option("--skip-broken", help="Leave out broken images.")] = False,
    device: Annotated[str, Option(help="cpu, cuda, cuda:1, ...")] = "cpu",
) -> None:
    """Add the classes of a folder that a model does not have yet; its network stays as it is.

    Embeddings that were made with the model stay valid. A new class is placed in the superclass
    that its folder names, or in the nearest.
    """
    from rich.console import Console

    from pml_hierarchical.search import RetrievalModel

    from ..device import checked_device
    from .new_classes import with_classes_of
    from .saving import check_new, save_model

    check_new(out)
    loaded = RetrievalModel.load(model, checked_device(device))
    grown, added = with_classes_of(loaded, folder, skip_broken)
    save_model(grown, out)
    console = Console(highlight=False, soft_wrap=True)
    for one in added[:SHOWN]:
        where = "" if one.superclass is None else f" in {one.superclass}"
        if where and one.named != one.superclass:
            within = "" if one.named is None else f" within {one.named}"
            where += f" (the nearest{within})"
        console.print(f"added {one.name}{where}", markup=False)
    if len(added) > SHOWN:
        console.print(f"added {len(added) - SHOWN} more")
