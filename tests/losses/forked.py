"""The same function in 2 and then in 4 processes that train together, for tests that compare."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import faiss
import sklearn.cluster
import torch
import torch._dynamo
import torch.distributed as dist

SIZES = (2, 4)
IMPORTED = (faiss, sklearn.cluster, torch._dynamo)  # or else each process would, when it needs them


def results_of(module, out):
    """For each number of processes what :func:`run_in_processes` of a worker module gave."""
    subprocess.run([sys.executable, module.__file__, str(out)], check=True)
    return {
        size: [torch.load(out / f"{size}/rank{rank}.pt") for rank in range(size)] for size in SIZES
    }


def run_in_processes(run):
    """What a worker module does as a script: ``run(folder, rank, world_size)`` in each process.

    Forked, from a process that does nothing else: what is imported need not be imported again.
    """
    for size in SIZES:
        torch.multiprocessing.start_processes(
            _start, (run, sys.argv[1], size), size, start_method="fork"
        )


def _start(rank, run, out, world_size):
    torch.set_num_threads(1)
    folder = Path(out, str(world_size))
    folder.mkdir(exist_ok=True)
    store = f"file://{folder}/store"
    dist.init_process_group("gloo", init_method=store, rank=rank, world_size=world_size)
    torch.save(run(folder, rank, world_size), folder / f"rank{rank}.pt")
    dist.destroy_process_group()
