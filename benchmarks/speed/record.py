"""The JSON file of a measurement: what was found, how, and where."""

from __future__ import annotations

import json
from typing import Any

import torch

from ..environment import environment
from ..files import write_whole
from .options import SpeedOptions


def write_record(args: SpeedOptions, what: str, found: dict[str, Any]) -> None:
    """Write ``OUT/WHAT.json``: the figures, all options, versions, commit and machine."""
    options = {key: str(value) if key == "out" else value for key, value in vars(args).items()}
    record = {"what": what, "options": options, **environment(torch.device(args.device)), **found}
    path = args.out / f"{what}.json"
    write_whole(path, json.dumps(record, indent=2) + "\n")
    print(f"wrote {path}")
