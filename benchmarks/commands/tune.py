"""``pml-hierarchical tune``: the same search for every loss, on validation classes."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from rich.console import Console
from typer import Option

from ..option_groups import with_groups
from ..options import (
    TRAINING,
    DataOptions,
    NetworkOptions,
    TrainingOptions,
    make_request,
)


@with_groups
def tune(
    data: DataOptions,
    training: TrainingOptions,
    network: NetworkOptions,
    losses: Annotated[
        list[str] | None,
        Option(
            metavar="LOSS...",
            help="Names that the command [bold]list[/] shows. By default the nine baselines; HPL "
            "has the settings of its base, unless it is named here.",
            show_default=False,
        ),
    ] = None,
    trials: Annotated[
        int, Option(help="Trials of each loss, including the one with untuned settings.")
    ] = 20,
    folds: Annotated[
        list[int],
        Option(
            metavar="FOLD...",
            help="Folds whose validation classes decide.",
            rich_help_panel=TRAINING,
        ),
    ] = [0],  # noqa: B006  # typer copies it
    seed: Annotated[
        int, Option(help="Random seed of the search and of training.", rich_help_panel=TRAINING)
    ] = 0,
    settings: Annotated[
        Path | None,
        Option(metavar="FILE", help="The YAML file to write. By default that of the data set."),
    ] = None,
) -> None:
    """Search for the best settings, with the same budget for every loss.

    The best settings go into a YAML file that [bold]run --tuned[/] reads; a table and a plot show
    all trials. Finished trials are kept.
    """
    from ..losses import BASELINES
    from ..progress import print_written
    from ..settings import FULL
    from ..tuning.plan import plan_tuning, run_tuning
    from ..tuning.report import write_trials

    console = Console()
    dataset = data.chosen()
    request = make_request(
        dataset, data, training, network, losses or tuple(BASELINES), [seed], folds, FULL
    )
    tuning = plan_tuning(request, trials, settings)
    data.fetch(dataset)
    run_tuning(tuning, console)
    print_written([tuning.settings, *write_trials(tuning.folder)], console)
