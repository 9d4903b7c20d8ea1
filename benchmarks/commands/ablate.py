"""``pml-hierarchical ablate``: what each setting of HPL changes."""

from __future__ import annotations

from typing import Annotated

from rich.console import Console
from typer import Option

from ..option_groups import with_groups
from ..options import (
    DataOptions,
    Folds,
    GivenOptions,
    NetworkOptions,
    Seeds,
    TrainingOptions,
    TunedFile,
    make_request,
)


@with_groups
def ablate(
    data: DataOptions,
    training: TrainingOptions,
    given: GivenOptions,
    network: NetworkOptions,
    bases: Annotated[
        list[str],
        Option(metavar="LOSS...", help="Flat proxy losses that the command [bold]list[/] shows."),
    ] = ["proxy_anchor", "proxy_nca"],  # noqa: B006  # typer copies it
    what: Annotated[
        list[str] | None,
        Option(
            metavar="FACTOR...",
            help="Factors to vary, one at a time, or single variants such as hpl_given or "
            "hpl:coarse_proxies=fixed. By default all factors.",
            show_default=False,
        ),
    ] = None,
    seeds: Seeds = [0, 1],  # noqa: B006
    folds: Folds = None,
    tuned: TunedFile = None,
) -> None:
    """Show what each setting of HPL changes, on validation classes.

    Trains what is missing, prints the table and writes it as Markdown and JSON. Settings of a base
    loss apply to all variants on it.
    """
    from ..ablation.runs import plan_ablation, run_ablation
    from ..ablation.table import write_tables
    from ..ablation.variants import WHAT
    from ..report.tables import print_tables
    from ..settings import FULL
    from ..tuning import adapt_to_tuned

    console = Console()
    dataset = data.chosen()
    request = make_request(dataset, data, training, network, bases, seeds, folds, FULL, given=given)
    planned = plan_ablation(request, what or WHAT, adapt_to_tuned(tuned, request.source))
    for line in request.given.lines([run.loss for run in planned.flat.runs[: len(bases)]]):
        console.print(line, markup=False, highlight=False)
    data.fetch(dataset)
    run_ablation(planned, console, lambda outcome: print_tables(*write_tables(outcome), console))
