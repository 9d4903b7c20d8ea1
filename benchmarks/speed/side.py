"""One side of the comparison, run as a process of its own by :mod:`.evaluation`."""

from __future__ import annotations

import json
import resource
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from pytorch_metric_learning.utils.accuracy_calculator import AccuracyCalculator

from pml_hierarchical.accuracy import HierarchicalAccuracyCalculator
from pml_hierarchical.core import hierarchical_accuracy_calculator as core

from .measuring import resident_bytes

COMMON = ("precision_at_1", "r_precision", "mean_average_precision_at_r")
HIERARCHICAL = (
    "hierarchical_average_precision",
    "average_set_intersection",
    "ndcg",
    "hierarchical_precision_at_10",
    "hierarchical_precision_area_at_250",
    "mistake_severity",
    "mistake_severity_at_10",
)


def _floor(embeddings: torch.Tensor, labels: np.ndarray) -> dict[str, float]:
    """Nothing but the product of all queries with all references, 512 queries at a time."""
    out = embeddings.new_empty((min(512, len(embeddings)), len(embeddings)))
    for start in range(0, len(embeddings), len(out)):
        queries = embeddings[start : start + len(out)]
        torch.mm(queries, embeddings.T, out=out[: len(queries)])
    return {}


def _pml(embeddings: torch.Tensor, labels: np.ndarray) -> dict[str, float]:
    # the k that PML recommends: with its default it asks for all the neighbours of every query,
    # which is 29 GB of indices alone at the size of SOP
    calculator = AccuracyCalculator(include=COMMON, k="max_bin_count", device=embeddings.device)
    found = {}
    for level in range(labels.shape[1]):
        values = calculator.get_accuracy(embeddings, labels[:, level])
        found.update({f"{name}_level{level}": value for name, value in values.items()})
    return found


def _ours(include: tuple[str, ...]) -> Callable[[torch.Tensor, np.ndarray], dict[str, float]]:
    def measure(embeddings: torch.Tensor, labels: np.ndarray) -> dict[str, float]:
        calculator = HierarchicalAccuracyCalculator(include=include, device=embeddings.device)
        return calculator.get_accuracy(embeddings, labels)

    return measure


def _core(embeddings: torch.Tensor, labels: np.ndarray) -> dict[str, float]:
    """The calculator that PML could merge; it searches with PML's own function, once."""
    calculator = core.HierarchicalAccuracyCalculator(
        include=COMMON, k="max_bin_count", device=embeddings.device
    )
    return calculator.get_accuracy(embeddings, torch.from_numpy(labels))


_SIDES: dict[str, Callable[[torch.Tensor, np.ndarray], dict[str, float]]] = {
    "floor": _floor,
    "ours": _ours(COMMON),
    "ours_hierarchical": _ours(COMMON + HIERARCHICAL),
    "core": _core,
    "pml": _pml,
}


def _measure(side: str, folder: str, threads: int, device: str) -> dict[str, Any]:
    torch.set_num_threads(threads)
    embeddings = torch.from_numpy(np.load(Path(folder, "embeddings.npy"))).to(device)
    labels = np.load(Path(folder, "labels.npy"))
    before = _peak_bytes()
    start = time.perf_counter()
    metrics = _SIDES[side](embeddings, labels)
    if embeddings.is_cuda:
        torch.cuda.synchronize()
    measured = {
        "seconds": time.perf_counter() - start,
        "peak_bytes": _peak_bytes(),
        "peak_bytes_before": before,
        "metrics": metrics,
    }
    if embeddings.is_cuda:
        measured["peak_gpu_bytes"] = torch.cuda.max_memory_allocated()
    return measured


def _peak_bytes() -> int:
    """Peak resident memory of this process alone.

    Linux carries ``ru_maxrss`` over from the process that started this one, but not ``VmHWM``.
    """
    if sys.platform == "linux":
        return resident_bytes("VmHWM")
    scale = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * scale


if __name__ == "__main__":
    print(json.dumps(_measure(sys.argv[1], sys.argv[2], int(sys.argv[3]), sys.argv[4])))
