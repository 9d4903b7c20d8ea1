"""``pml-hierarchical report``: one report of the runs in several folders."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from rich.console import Console
from typer import Argument, Option


def report(
    folders: Annotated[
        list[Path],
        Argument(
            metavar="FOLDER...",
            help="Runs of one data set, or an --out folder that holds several.",
        ),
    ],
    out: Annotated[Path, Option(help="Folder of the report.")] = Path("report"),
) -> None:
    """Write one report of the runs in several folders."""
    from ..files import check_place
    from ..progress import print_written
    from ..report import write_joint_report

    check_place(out, f"--out {out}")  # checked before minutes of work
    print_written(write_joint_report(folders, out), Console())
