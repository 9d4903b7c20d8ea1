"""Tensors in files of ``torch.save`` or safetensors."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import torch


def read_tensors(path: Path) -> Any:
    """What a file holds, tensors on the CPU and plain values; no code in it runs.

    Raises:
        OSError: if it cannot be opened.
        ValueError: if it cannot be read; the message is the reason alone, in one line.
    """
    with path.open("rb") as file:  # torch cannot open names that are not UTF-8
        try:
            if path.suffix == ".safetensors":
                from safetensors.torch import load

                return load(file.read())
            return torch.load(file, map_location="cpu", weights_only=True)
        except pickle.UnpicklingError as error:  # torch's text tells how to run its code
            raise ValueError("it is damaged or holds other objects than tensors") from error
        except Exception as error:  # what is raised for arbitrary bytes is not documented
            raise ValueError((str(error).splitlines() or [type(error).__name__])[0]) from error
