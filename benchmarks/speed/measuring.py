"""Time and memory of steps, interleaved in one process.

Not with ``torch.utils.benchmark``: its ``Timer`` measures one side after another, so that a machine
that slows down meanwhile looks like a slower side. Nor with psutil, which has no peak on Linux.
"""

from __future__ import annotations

import ctypes
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import torch

Step = Callable[[], None]


def interleave(
    steps: Mapping[str, Callable[[], object]],
    repeats: int,
    device: str,
    before: Mapping[str, Step] | None = None,
) -> dict[str, list[float]]:
    """Seconds of each repeat of each side; no side always comes after the same other one.

    Arguments:
        before: what is done before each repeat of a side, and not measured.
    """
    seconds: dict[str, list[float]] = {name: [] for name in steps}
    for step in steps.values():
        step()
    rng = np.random.default_rng(0)
    for _ in range(repeats):
        for name in rng.permutation(list(steps)):
            if before is not None and name in before:
                before[name]()
            seconds[name].append(seconds_of(steps[name], device))
    return seconds


def seconds_of(step: Callable[[], object], device: str) -> float:
    """Wall time of one call; on a GPU by its events."""
    if torch.device(device).type != "cuda":
        start = time.perf_counter()
        step()
        return time.perf_counter() - start
    events = [torch.cuda.Event(enable_timing=True) for _ in range(2)]
    events[0].record()
    step()
    events[1].record()
    torch.cuda.synchronize()
    return float(events[0].elapsed_time(events[1])) / 1000


def peak_bytes(step: Step, device: str) -> int | None:
    """How much more memory a step takes at its peak, not counting gradients that it already had.

    On the CPU, only Linux can tell: its high-water mark of resident memory can be reset.
    """
    step()
    if torch.device(device).type == "cuda":
        before = torch.cuda.memory_allocated()
        torch.cuda.reset_peak_memory_stats()
        step()
        return int(torch.cuda.max_memory_allocated() - before)
    reset = Path("/proc/self/clear_refs")
    if not reset.exists():
        return None
    ctypes.CDLL(None).malloc_trim(0)  # what is free already would not show
    reset.write_text("5")
    before = resident_bytes("VmRSS")
    step()
    return resident_bytes("VmHWM") - before


def resident_bytes(key: str) -> int:
    """What Linux says of this process's memory: ``VmRSS``, in use now, or ``VmHWM``, its peak."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(key))
