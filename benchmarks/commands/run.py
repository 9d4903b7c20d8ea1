"""``pml-hierarchical run``: train, evaluate and compare losses on a data set."""

from __future__ import annotations

from rich.console import Console

from ..option_groups import with_groups
from ..options import (
    DataOptions,
    Folds,
    GivenOptions,
    Losses,
    NetworkOptions,
    Seeds,
    TrainingOptions,
    TunedFile,
    make_request,
)


@with_groups
def run(
    data: DataOptions,
    training: TrainingOptions,
    given: GivenOptions,
    network: NetworkOptions,
    losses: Losses = None,
    seeds: Seeds = [0],  # noqa: B006  # typer copies it
    folds: Folds = None,
    tuned: TunedFile = None,
) -> None:
    """Train, evaluate and compare losses on a data set; by default on glyphs.

    Finished runs are kept: the same command continues where it was interrupted.
    """
    from .. import suite
    from ..distributed import is_helper, process_group
    from ..losses import DEFAULT_LOSSES
    from ..progress import print_written
    from ..report import write_report
    from ..report.tables import terminal_table
    from ..results import collect
    from ..settings import SHORT, about_length
    from ..stored import StoredRuns
    from ..tuning import adapt_to_tuned

    console = Console()
    dataset = data.chosen("glyphs")
    with process_group(training.device) as device:
        request = make_request(
            dataset,
            data,
            training,
            network,
            losses or DEFAULT_LOSSES,
            seeds,
            folds,
            SHORT,
            device,
            given,
        )
        planned = suite.plan(request, adapt_to_tuned(tuned, request.source))
        if is_helper():
            suite.help_run(planned)
            return
        specs = {one.loss.name: one.loss for one in planned.runs}
        for line in request.given.lines(list(specs.values())):
            console.print(line, markup=False, highlight=False)
        data.fetch(dataset)
        shortest = min(one.settings.epochs for one in planned.runs)
        note = about_length(dataset, shortest, request.source.backbone)

        def report(stored: StoredRuns) -> None:
            summary = collect(stored)
            console.print(terminal_table(summary.common(), console.width))
            if note is not None:
                console.print(note, markup=False, highlight=False)
            print_written(write_report(stored, summary), console)

        suite.run(planned, console, report)
