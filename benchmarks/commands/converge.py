"""``pml-hierarchical converge``: whether longer training helps, on validation classes."""

from __future__ import annotations

from typing import Annotated

from rich.console import Console
from typer import Option

from ..option_groups import with_groups
from ..options import (
    TRAINING,
    DataOptions,
    GivenOptions,
    Losses,
    NetworkOptions,
    Seeds,
    TrainingOptions,
    TunedFile,
    make_request,
)


@with_groups
def converge(
    data: DataOptions,
    training: TrainingOptions,
    given: GivenOptions,
    network: NetworkOptions,
    losses: Losses = None,
    times: Annotated[
        list[int],
        Option(
            metavar="NUMBER...",
            help="The lengths that are compared, as multiples of the data set's epochs or of "
            "--epochs.",
            rich_help_panel=TRAINING,
        ),
    ] = [1, 2],  # noqa: B006  # typer copies it
    seeds: Seeds = [0],  # noqa: B006
    folds: Annotated[
        list[int],
        Option(
            metavar="FOLD...",
            help="Quarters of the training classes to validate on, one training run for each.",
            rich_help_panel=TRAINING,
        ),
    ] = [0],  # noqa: B006
    tuned: TunedFile = None,
) -> None:
    """Show whether longer training helps, on validation classes.

    Trains every loss for each of the lengths, by default 1 and 2 times the data set's epochs, and
    writes a table and a picture. Finished runs are kept.
    """
    from ..convergence.runs import plan_convergence, run_convergence
    from ..convergence.table import write_convergence
    from ..losses import DEFAULT_LOSSES
    from ..report.tables import print_tables
    from ..settings import FULL
    from ..tuning import adapt_to_tuned

    console = Console()
    dataset = data.chosen()
    request = make_request(
        dataset,
        data,
        training,
        network,
        losses or DEFAULT_LOSSES,
        seeds,
        folds,
        FULL,
        given=given,
    )
    planned = plan_convergence(request, times, adapt_to_tuned(tuned, request.source))
    for line in request.given.lines(planned.losses):
        console.print(line, markup=False, highlight=False)
    data.fetch(dataset)
    run_convergence(
        planned, console, lambda outcome: print_tables(*write_convergence(outcome), console)
    )
