"""The JSON file of a measurement: what was found, how, and where."""

from __future__ import annotations

import argparse
import json
from typing import Any

import torch

from ..environment import environment
from ..files import write_whole


def write_record(args: argparse.Namespace, what: str, found: dict[str, Any]) -> None:
    """Write ``OUT/WHAT.json``: the figures, all options, versions, commit and machine."""
    options = {key: str(value) if key == "out" else value for key, value in vars(args).items()}
    options.pop("command", None)  # a function of the command line's
    record = {"what": what, "options": options, **environment(torch.device(args.device)), **found}
    path = args.out / f"{what}.json"
    write_whole(path, json.dumps(record, indent=2) + "\n")
    print(f"wrote {path}")
