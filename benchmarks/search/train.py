"""``train``: a model for all classes of a folder."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from typer import Argument, Option

from ..option_groups import with_groups
from ..options import (
    DATA,
    TRAINING,
    GivenOptions,
    NetworkOptions,
    SourceOptions,
    TrainingOptions,
    make_request,
)


@with_groups
def train(
    given: GivenOptions,
    network: NetworkOptions,
    folder: Annotated[
        Path | None,
        Argument(
            help="Pictures as superclass/.../class/picture, or the root of another --dataset.",
            show_default=False,
        ),
    ] = None,
    out: Annotated[Path, Option(help="Folder of the model.")] = Path("model"),
    loss: Annotated[
        str, Option(help="One that the command [bold]list[/] shows.")
    ] = "hpl:proxy_anchor",
    compare_flat: Annotated[
        bool,
        Option(
            "--compare-flat",
            help="Train the loss without its hierarchy too, into OUT-flat, to compare answers.",
        ),
    ] = False,
    dataset: Annotated[
        str, Option(help="One that the command [bold]list[/] shows.", rich_help_panel=DATA)
    ] = "folder",
    skip_broken: Annotated[
        bool,
        Option("--skip-broken", help="Leave out missing and broken images.", rich_help_panel=DATA),
    ] = False,
    epochs: Annotated[
        int | None,
        Option(
            help="Another number of epochs than the data set's.",
            rich_help_panel=TRAINING,
            show_default=False,
        ),
    ] = None,
    seed: Annotated[int, Option(help="Random seed.", rich_help_panel=TRAINING)] = 0,
    device: Annotated[str, Option(help="cpu, cuda, cuda:1, ...", rich_help_panel=TRAINING)] = "cpu",
) -> None:
    """Train on all classes of a folder and write a model that searches.

    No class is held out, so no score is shown: [bold]run[/] measures how good a loss is on classes
    that it has not seen. The same command continues a training run that was interrupted.
    """
    from rich.console import Console

    from ..datasets import DATASETS
    from ..settings import FULL
    from .training import train_models

    if folder is None and dataset in DATASETS and DATASETS[dataset].needs_root:
        raise ValueError(
            f"the data set {dataset} needs its folder: name it after the command, as in "
            "`train photos`"
        )
    outs = {loss: out}
    if compare_flat:
        base = loss.rpartition(":")[2]
        if base == loss:
            raise ValueError(f"--compare-flat: {loss} has no hierarchy to leave out")
        outs[base] = _beside(out)
    request = make_request(
        dataset,
        SourceOptions(folder, skip_broken=skip_broken),
        TrainingOptions(epochs=epochs, device=device),
        network,
        tuple(outs),
        seeds=(seed,),
        folds=None,
        regime=FULL,
        given=given,
    )
    train_models(request, outs, Console())


def _beside(out: Path) -> Path:
    """The folder of the flat loss; paths such as ``.`` and ``..`` contain no name."""
    named = out.resolve() if out.name in ("", "..") else out
    return named.parent / f"{named.name}-flat"
