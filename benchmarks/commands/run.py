"""``pml-hierarchical run``: train, evaluate and compare losses on a data set."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from rich.console import Console
from typer import Option

from ..option_groups import with_groups
from ..options import (
    TRAINING,
    DataOptions,
    Folds,
    GivenOptions,
    Losses,
    NetworkOptions,
    TrainingOptions,
    make_request,
)
from ..several_values import FROM_DATASET

if TYPE_CHECKING:
    from ..suite import Adapt


@with_groups
def run(
    data: DataOptions,
    training: TrainingOptions,
    given: GivenOptions,
    network: NetworkOptions,
    losses: Losses = None,
    seeds: Annotated[
        list[int],
        Option(metavar="SEED...", help="One training for each.", rich_help_panel=TRAINING),
    ] = [0],  # noqa: B006  # typer copies it
    folds: Folds = None,
    tuned: Annotated[
        str | None,
        Option(
            metavar="[FILE]",
            help="With the settings that [bold]tune[/] found; without a file with those of the "
            "data set.",
        ),
    ] = None,
) -> None:
    """Train, evaluate and compare losses on a data set; by default on glyphs.

    Finished runs are kept: the same command goes on where it was interrupted.
    """
    from .. import suite
    from ..datasets import download_dataset
    from ..distributed import is_helper, process_group
    from ..losses import DEFAULT_LOSSES
    from ..progress import print_written
    from ..report import write_report
    from ..report.tables import terminal_table
    from ..results import collect
    from ..settings import SHORT, about_length

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
        planned = suite.plan(request, _adapt(tuned, dataset))
        if is_helper():
            suite.help_run(planned)
            return
        specs = {one.loss.name: one.loss for one in planned.runs}
        for line in request.given.lines(list(specs.values())):
            console.print(line, markup=False, highlight=False)
        if data.download:
            download_dataset(dataset, data.data_root)
        stored = suite.run(planned, console)
        summary = collect(stored)
        console.print(terminal_table(summary, console.width))
        shortest = min(one.settings.epochs for one in planned.runs)
        note = about_length(dataset, shortest, request.source.backbone)
        if note is not None:
            console.print(note, markup=False, highlight=False)
        print_written(write_report(stored, summary), console)


def _adapt(file: str | None, dataset: str) -> Adapt | None:
    from ..tuning import apply_tuned, tuned_file_to_read, tuned_settings

    if file is None:
        return None
    path = tuned_file_to_read(dataset) if file == FROM_DATASET else Path(file)
    return partial(apply_tuned, tuned=tuned_settings(path))
