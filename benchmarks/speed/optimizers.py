"""What an optimizer of many proxies costs: the time of a step, and the memory of its state.

::

    pml-hierarchical speed --what optimizers --classes 1000000 --embedding-sizes 128
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from tabulate import tabulate

from .measuring import interleave
from .options import SpeedOptions
from .record import write_record

Make = Callable[[list[torch.nn.Parameter]], torch.optim.Optimizer]
OPTIMIZERS: dict[str, Make] = {
    "SGD": lambda p: torch.optim.SGD(p, lr=0.1),
    "SGD, momentum": lambda p: torch.optim.SGD(p, lr=0.1, momentum=0.9),
    "Adagrad": lambda p: torch.optim.Adagrad(p, lr=0.1),
    "Adafactor": lambda p: torch.optim.Adafactor(p, lr=0.1),
    "AdamW": lambda p: torch.optim.AdamW(p, lr=0.1),
    "AdamW, fused": lambda p: torch.optim.AdamW(p, lr=0.1, fused=True),
    # row-wise: the rows that a sparse gradient leaves out are not touched
    "SparseAdam, a tenth of the rows": lambda p: torch.optim.SparseAdam(p, lr=0.1),
}


def run(args: SpeedOptions) -> None:
    """Measure, print the table and write the JSON."""
    torch.set_num_threads(args.threads)
    cases = []
    for classes, embedding_size in itertools.product(args.classes, args.embedding_sizes):
        for name, make in OPTIMIZERS.items():
            proxies = torch.nn.Parameter(torch.randn(classes, embedding_size, device=args.device))
            proxies.grad = torch.randn_like(proxies)
            if name.startswith("SparseAdam"):
                proxies.grad = _tenth_of_the_rows(proxies.grad)
            optimizer = make([proxies])

            def step(optimizer: torch.optim.Optimizer = optimizer) -> None:
                optimizer.step()

            seconds = interleave({name: step}, args.repeats, args.device)[name]
            case: dict[str, Any] = {"classes": classes, "embedding_size": embedding_size}
            case |= {"optimizer": name, "seconds": seconds, "state": _state_size(optimizer)}
            cases.append(case | {"proxies": proxies.nbytes})
    rows = [
        [
            *(case[key] for key in ("classes", "embedding_size", "optimizer")),
            f"{1000 * np.median(case['seconds']):.1f}",
            f"{case['state'] / case['proxies']:.2f}",
        ]
        for case in cases
    ]
    headers = ["classes", "embedding size", "optimizer", "step ms", "state / proxies"]
    print(tabulate(rows, headers, disable_numparse=True, stralign="right"))
    write_record(args, "optimizers", {"cases": cases})


def _tenth_of_the_rows(gradient: torch.Tensor) -> torch.Tensor:
    rows = torch.randperm(len(gradient), device=gradient.device)[: -(-len(gradient) // 10)]
    rows = rows.sort().values
    sparse = torch.sparse_coo_tensor(
        rows.unsqueeze(0), gradient[rows], gradient.shape, check_invariants=True
    )
    return sparse.coalesce()


def _state_size(optimizer: torch.optim.Optimizer) -> int:
    tensors = (value for state in optimizer.state.values() for value in state.values())
    return sum(value.nbytes for value in tensors if isinstance(value, torch.Tensor))
