"""``export``: the model of a finished run in a folder of its own."""

from __future__ import annotations

from enum import Enum
from pathlib import Path
from typing import Annotated

import typer


class Format(str, Enum):
    """What is written beside ``model.safetensors`` and ``model.json``."""

    SAFETENSORS = "safetensors"
    ONNX = "onnx"
    TORCHSCRIPT = "torchscript"


def export(
    run: Annotated[
        Path, typer.Argument(help="folder of a finished run, runs/DATASET/LOSS/seed0_fold0")
    ],
    out: Annotated[Path, typer.Option(help="folder of the model; it must not be there yet")] = Path(
        "model"
    ),
    formats: Annotated[
        list[Format],
        typer.Option("--format", help="another one beside safetensors; may be repeated"),
    ] = [Format.SAFETENSORS],  # noqa: B006  typer copies it
    data_root: Annotated[
        Path | None,
        typer.Option(help="of the data set, for runs that did not keep the names of their classes"),
    ] = None,
) -> None:
    """Write the best model of a run: safetensors and JSON, which load without the suite."""
    from .saving import save_model
    from .trained import model_of_run

    save_model(model_of_run(run, data_root), out, [one.value for one in formats])
