"""Random numbers: seeded, kept in a checkpoint, restored, and the same in all processes."""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import torch

from ..distributed import from_first


def seed_everything(seed: int) -> None:
    """Seed the random numbers of Python, NumPy (PML's samplers) and PyTorch."""
    random.seed(seed)
    np.random.seed(seed)  # noqa: NPY002  PML draws from NumPy's global generator
    torch.manual_seed(seed)


def random_state() -> dict[str, Any]:
    """The states of all generators."""
    return {
        "python": random.getstate(),
        "numpy": np.random.get_state(),  # noqa: NPY002
        "torch": torch.get_rng_state(),
        "cuda": torch.cuda.get_rng_state_all() if torch.cuda.is_available() else [],
    }


def restore_random_state(state: dict[str, Any]) -> None:
    """Go on as if nothing had been drawn since :func:`random_state`."""
    random.setstate(state["python"])
    np.random.set_state(state["numpy"])  # noqa: NPY002
    torch.set_rng_state(state["torch"])
    if state["cuda"]:
        # the state may be from a machine with more GPUs
        torch.cuda.set_rng_state_all(state["cuda"][: torch.cuda.device_count()])


def share_random_state(device: torch.device) -> None:
    """Have all processes draw what the first will; each on its own ``device``."""
    on_gpu = device.type == "cuda"
    own_gpu = torch.cuda.get_rng_state(device) if on_gpu else None
    state, of_gpu = from_first(({**random_state(), "cuda": []}, own_gpu))
    restore_random_state(state)
    if of_gpu is not None:
        torch.cuda.set_rng_state(of_gpu, device)
