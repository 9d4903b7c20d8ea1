"""The processes that ``torchrun`` started: how they find one another and what the first tells.

The first process reads and writes files, validates, tests and prints. The others, its helpers,
train with it. Without ``torchrun`` there is one process, and nothing here does anything.
"""

from __future__ import annotations

import gc
import os
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import TypeVar

import torch
import torch.distributed as dist

from pml_hierarchical.losses.processes import num_processes

Value = TypeVar("Value")

# The helpers wait while the first process computes features or tests. If it is killed, torchrun
# ends them at once, whatever the limit.
PATIENCE = timedelta(days=7)


def launched_together() -> bool:
    """Whether this process is one of several that ``torchrun`` started."""
    return (
        dist.is_available()
        and dist.is_torchelastic_launched()
        and int(os.environ["WORLD_SIZE"]) > 1
    )


def is_helper() -> bool:
    """Whether another process is the first."""
    return num_processes() > 1 and dist.get_rank() > 0


@contextmanager
def process_group(device: str) -> Iterator[str]:
    """Have the processes work together for as long as the context lasts.

    Arguments:
        device: where to train, ``"cpu"`` or ``"cuda"``.

    Yields:
        Where this process trains: the GPU of its number on its machine, or the CPU. Without
        ``torchrun``, ``device`` as it was given.

    Raises:
        ValueError: for a single GPU by its number, or fewer GPUs than processes.
    """
    if not launched_together():
        yield device
        return
    own = _own_device(device)
    # both, so that waiting for the first process keeps no GPU busy
    backend = "cpu:gloo,cuda:nccl" if own.startswith("cuda") else "gloo"
    dist.init_process_group(backend, timeout=PATIENCE)
    if is_helper():
        warnings.simplefilter("ignore")  # the first process warns of the same
    yield own
    # After an error the process just ends, and torchrun ends the others: they wait for an answer.
    wait_for_all()
    dist.destroy_process_group()
    # The models of the training hold the group, in cycles. Its threads end with it, and one that
    # has yet to let go of a tensor when Python ends aborts the process (pytorch/pytorch#179291).
    gc.collect()


def from_first(value: Value) -> Value:
    """What the first process has; the others' values are not used."""
    if num_processes() == 1:
        return value
    values = [value]
    dist.broadcast_object_list(values, src=0, device=torch.device("cpu"))
    return value if dist.get_rank() == 0 else values[0]


def wait_for_all() -> None:
    """Wait until every process gets here."""
    if num_processes() > 1:
        dist.all_reduce(torch.zeros(1))  # dist.barrier() would keep the GPUs busy


def say_once(message: str) -> None:
    """Print an error once: only the first of the processes that report it does.

    Needs no process group, so that what went wrong before there was one can be said, too.
    """
    if launched_together():
        try:
            # torchrun's own, by which the processes find one another; it outlives them
            store = dist.TCPStore(
                os.environ["MASTER_ADDR"],
                int(os.environ["MASTER_PORT"]),
                is_master=False,
                timeout=timedelta(seconds=10),
            )
            if store.add(f"said: {message}", 1) > 1:
                return
        except dist.DistError:
            pass  # better twice than never
    print(message, file=sys.stderr, flush=True)


def _own_device(device: str) -> str:
    if not device.startswith("cuda"):
        return device
    number, count = int(os.environ["LOCAL_RANK"]), int(os.environ["LOCAL_WORLD_SIZE"])
    if device != "cuda":
        raise ValueError(
            f"with torchrun every process takes the GPU of its number: --device cuda, not {device}"
        )
    if torch.cuda.device_count() < count:
        raise ValueError(
            f"--device cuda needs a GPU for each process: {count} processes were started here, and "
            f"the number of GPUs is {torch.cuda.device_count()}. Start fewer with --nproc-per-node"
        )
    torch.cuda.set_device(number)
    return f"cuda:{number}"
