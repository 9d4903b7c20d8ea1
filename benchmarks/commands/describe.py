"""``pml-hierarchical describe``: what a data set holds, in numbers and in samples."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from rich.console import Console
from typer import Argument, Option

from ..option_groups import with_groups
from ..options import SourceOptions


@with_groups
def describe(
    dataset: Annotated[
        str, Argument(metavar="DATASET", help="One that the command [bold]list[/] shows.")
    ],
    source: SourceOptions,
    out: Annotated[Path, Option(help="Folder for the sheet, DATASET/samples.png.")] = Path("runs"),
) -> None:
    """Show what a data set holds: classes, images, splits, and a sheet of samples."""
    from ..datasets import look_at_dataset
    from ..describe import describe as print_description
    from ..describe import write_sample_sheet
    from ..files import check_place
    from ..progress import print_written

    sheet = out / dataset / "samples.png"
    check_place(sheet.parent, "--out")
    console = Console()
    source.fetch(dataset)
    data = look_at_dataset(dataset, source.data_root, source.skip_broken)
    print_description(data, console)
    write_sample_sheet(data, sheet)
    print_written([sheet], console)
