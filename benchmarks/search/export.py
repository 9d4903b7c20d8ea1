"""``export``: the model of a finished run in a folder of its own."""

from __future__ import annotations

from enum import Enum
from pathlib import Path
from typing import Annotated

from typer import Argument, Option


class Format(str, Enum):
    """What is written beside ``model.safetensors`` and ``model.json``."""

    SAFETENSORS = "safetensors"
    ONNX = "onnx"
    TORCHSCRIPT = "torchscript"


def export(
    run: Annotated[
        Path, Argument(help="Folder of a finished run, such as runs/DATASET/LOSS/seed0_fold0.")
    ],
    out: Annotated[Path, Option(help="Folder of the model.")] = Path("model"),
    formats: Annotated[
        list[Format],
        Option(
            "--format",
            metavar="FORMAT...",
            help="safetensors is always written; onnx and torchscript as well if asked for.",
        ),
    ] = [Format.SAFETENSORS],  # noqa: B006  # typer copies it
) -> None:
    """Write the best model of a run: safetensors and JSON, which load without the suite."""
    from .exchange import check_formats
    from .saving import check_new, save_model
    from .trained import model_of_run

    asked = [one.value for one in formats]
    check_formats(asked)
    check_new(out)
    save_model(model_of_run(run), out, asked)
