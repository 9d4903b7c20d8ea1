"""Evaluation beside PML's ``AccuracyCalculator``: each side in a process of its own.

At the size of Stanford Online Products, which takes PML 20 GB and minutes::

    pml-hierarchical speed --what evaluation

and where PML does not fit::

    pml-hierarchical speed --what evaluation --samples 500000 --superclasses 2000 12 \
        --sides floor ours
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from tabulate import tabulate

from .options import EVALUATION_SIDES, SpeedOptions
from .record import write_record

SIDES = EVALUATION_SIDES


def run(args: SpeedOptions) -> None:
    """Measure the sides one after another, print the table and write the JSON."""
    with tempfile.TemporaryDirectory() as folder:
        embeddings, labels = make_embeddings(
            args.samples, args.embedding_size, args.class_size, args.superclasses, args.seed
        )
        np.save(Path(folder, "embeddings.npy"), embeddings)
        np.save(Path(folder, "labels.npy"), labels)
        del embeddings
        sides = {}
        for side in args.sides:
            print(f"measuring {side} ...", file=sys.stderr, flush=True)
            sides[side] = _in_own_process(side, folder, args.threads, args.device)
    print(_table(sides))
    difference = largest_difference(sides)
    if difference is not None:
        print(f"\nlargest difference from PML: {difference:.2e}")
    write_record(args, "evaluation", {"results": sides, "largest_difference": difference})


def make_embeddings(
    num_samples: int,
    embedding_size: int,
    class_size: int,
    superclasses: list[int],
    seed: int,
) -> tuple[np.ndarray, np.ndarray]:
    """Unit vectors around the centres of a random tree, in random order.

    Returns:
        ``float32`` of shape ``(num_samples, embedding_size)`` and ``int64`` labels of shape
        ``(num_samples, 1 + len(superclasses))``.
    """
    rng = np.random.default_rng(seed)
    columns = [np.arange(num_samples) // class_size]
    for size in superclasses:
        columns.append(rng.integers(0, size, columns[-1].max() + 1)[columns[-1]])
    labels = np.stack(columns, axis=1)[rng.permutation(num_samples)]
    vectors = 1.2 * rng.standard_normal((num_samples, embedding_size), dtype=np.float32)
    for level, column in enumerate(labels.T):
        shape = (column.max() + 1, embedding_size)
        vectors += 0.5**level * rng.standard_normal(shape, dtype=np.float32)[column]
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True), labels


def largest_difference(sides: dict[str, dict[str, Any]]) -> float | None:
    """Between PML's numbers and ours, over all sides that computed the same."""
    pml = sides.get("pml", {}).get("metrics", {})
    gaps = [
        abs(value - pml[key])
        for side, measured in sides.items()
        for key, value in measured.get("metrics", {}).items()
        if side != "pml" and key in pml
    ]
    return max(gaps, default=None)


def _in_own_process(side: str, folder: str, threads: int, device: str) -> dict[str, Any]:
    module = f"{__package__}.side"
    command = [sys.executable, "-m", module, side, folder, str(threads), device]
    root = Path(__file__).parents[module.count(".")]  # the folder of the outermost package
    finished = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False, cwd=root)
    if finished.returncode != 0:
        return {"failed": f"exit status {finished.returncode} (-9: out of memory)"}
    measured: dict[str, Any] = json.loads(finished.stdout.splitlines()[-1])
    return measured


def _table(sides: dict[str, dict[str, Any]]) -> str:
    pml = sides.get("pml", {})
    rows = []
    for side, measured in sides.items():
        if "failed" in measured:
            rows.append([side, measured["failed"]])
            continue
        row = [side, f"{measured['seconds']:.1f}", f"{measured['peak_bytes'] / 2**30:.2f}"]
        row.append(f"{measured['peak_bytes_before'] / 2**30:.2f}")
        for key in ("seconds", "peak_bytes"):
            row.append(f"{measured[key] / pml[key]:.3f}" if key in pml else "")
        rows.append(row)
    headers = ["side", "seconds", "peak GiB", "of it before", "time / PML", "memory / PML"]
    return tabulate(rows, headers, disable_numparse=True, stralign="right")
