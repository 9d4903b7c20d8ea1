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
    earlier: Annotated[
        Path | None,
        Option(metavar="FILE", help="The study.json of an earlier study to continue."),
    ] = None,
    out: Annotated[Path, Option(help="Folder of the tables and the picture.")] = Path("study"),
) -> None:
    """Combine the ablations of all data sets in one table and one picture.

    Reads what [bold]ablate[/] has finished; trains nothing. With [bold]--earlier[/], variants that
    were not run again, or less often, keep the rows that they have there.
    """
    from ..ablation.earlier import continued, read_earlier
    from ..ablation.study import read_study, write_study
    from ..progress import print_written
    from ..report.page import command_line

    studies = read_study(folder)
    if earlier is not None:
        studies = continued(read_earlier(earlier), studies)
    print_written(write_study(studies, out, command_line()), Console())
