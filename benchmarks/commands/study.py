"""``pml-hierarchical study``: the ablations of all data sets together."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from rich.console import Console
from typer import Argument, Option


def study(
    folder: Annotated[
        Path, Argument(metavar="FOLDER", help="The [bold]--out[/] folder of the ablations.")
    ] = Path("runs"),
    out: Annotated[Path, Option(help="Folder of the tables and the picture.")] = Path("study"),
) -> None:
    """Put the ablations of all data sets together: what makes a hierarchy pay.

    Reads what [bold]ablate[/] has finished; trains nothing.
    """
    from ..ablation.study import read_study, write_study
    from ..progress import print_written
    from ..report.page import command_line

    print_written(write_study(read_study(folder), out, command_line()), Console())
