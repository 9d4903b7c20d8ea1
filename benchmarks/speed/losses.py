"""Losses beside PML's: forward and backward passes, interleaved in one process.

At the size of Stanford Online Products::

    python -m benchmarks speed --what losses

how the cost grows with the classes, and where PML does not fit::

    python -m benchmarks speed --what losses --classes 100 1000 10000 100000 --losses proxy_anchor
    python -m benchmarks speed --what losses --classes 1000000 --loss-sides products ours
"""

from __future__ import annotations

import argparse
import ctypes
import itertools
import json
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from matplotlib.figure import Figure
from pytorch_metric_learning import losses as pml_losses
from tabulate import tabulate
from tqdm import tqdm

from pml_hierarchical.losses import fast

LOSSES = {
    "proxy_anchor": pml_losses.ProxyAnchorLoss,
    "proxy_nca": pml_losses.ProxyNCALoss,
    "normalized_softmax": pml_losses.NormalizedSoftmaxLoss,
    "cosface": pml_losses.CosFaceLoss,
    "arcface": pml_losses.ArcFaceLoss,
}
# the bare products, PML's loss of one level, the sum of PML's losses, ours of one level and of all
SIDES = ("products", "pml", "pml_levels", "ours_flat", "ours")
_CASE = ("loss", "classes", "embedding_size", "batch_size", "levels")
_OPTIONS = ("threads", "device", "seed", "repeats")
Step = Callable[[], None]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of the measurement; every combination of the sizes is a case."""
    add = parser.add_argument_group("losses").add_argument
    add("--losses", nargs="+", choices=LOSSES, default=list(LOSSES))
    add("--classes", type=int, nargs="+", default=[100, 11_318], metavar="C")
    add("--embedding-sizes", type=int, nargs="+", default=[128, 512], metavar="D")
    add("--batch-sizes", type=int, nargs="+", default=[128], metavar="B")
    add("--levels", type=int, nargs="+", default=[3], metavar="L",
        help="how many; each has the square root of the classes of the one before")  # fmt: skip
    add("--loss-sides", nargs="+", choices=SIDES, default=SIDES)
    add("--repeats", type=int, default=25)
    add("--loss-output", type=Path, default=Path("losses_speed.json"), metavar="JSON")
    add("--loss-plot", type=Path, default=Path("losses_speed.png"), metavar="PNG")


def run(args: argparse.Namespace) -> None:
    """Measure case by case, print the table, write the JSON and the plot."""
    torch.set_num_threads(args.threads)
    sizes = (args.losses, args.classes, args.embedding_sizes, args.batch_sizes, args.levels)
    cases = []
    for values in tqdm(list(itertools.product(*sizes)), file=sys.stderr):
        case: dict[str, Any] = dict(zip(_CASE, values, strict=True))
        torch.manual_seed(args.seed)
        steps = make_steps(values, args.loss_sides, args.device)
        case["seconds"] = interleave(steps, args.repeats, args.device)
        case["peak_bytes"] = {name: peak_bytes(step, args.device) for name, step in steps.items()}
        cases.append(case)
    print(table(cases))
    options = {key: value for key, value in vars(args).items() if key in _OPTIONS}
    args.loss_output.write_text(json.dumps(options | {"cases": cases}, indent=2) + "\n")
    plot(cases, args.loss_plot)
    print(f"written to {args.loss_output} and {args.loss_plot}")


# ---------------------------------------------------------------- the sides
class Ours(torch.nn.Module):
    """The fast path, with the parameters of a PML loss as its fine level and fixed coarse ones."""

    coarse: torch.Tensor
    class_labels: torch.Tensor

    def __init__(self, name: str, sizes: Sequence[int], embedding_size: int) -> None:
        super().__init__()
        fine, *coarse = (LOSSES[name](size, embedding_size) for size in sizes)
        self.is_transposed = hasattr(fine, "W")
        self.fine = fine.W if self.is_transposed else fine.proxies
        fixed = [loss.W.t() if self.is_transposed else loss.proxies for loss in coarse]
        stacked = torch.cat(fixed).detach() if fixed else self.fine.new_empty(0, embedding_size)
        self.register_buffer("coarse", stacked)
        parents = [torch.arange(sizes[0]) % size for size in sizes]
        self.register_buffer("class_labels", torch.stack(parents))
        self.sizes, self.function = tuple(sizes), getattr(fast, name)
        self.weights = (1.0, *[0.3] * (len(sizes) - 1))

    def forward(self, embeddings: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        fine = self.fine.t() if self.is_transposed else self.fine
        parts = (fine, self.coarse) if len(self.coarse) else (fine,)
        total: torch.Tensor = self.function(
            embeddings, parts, self.class_labels[:, labels], sizes=self.sizes, weights=self.weights
        )[0]
        return total


class PMLLevels(torch.nn.Module):
    """The same in terms of PML: the sum of a loss per level, of which the fine one learns."""

    def __init__(self, name: str, sizes: Sequence[int], embedding_size: int) -> None:
        super().__init__()
        self.losses = torch.nn.ModuleList(LOSSES[name](size, embedding_size) for size in sizes)
        self.sizes = sizes
        for loss in self.losses[1:]:
            loss.requires_grad_(False)

    def forward(self, embeddings: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        total = self.losses[0](embeddings, labels)
        for loss, size in zip(self.losses[1:], self.sizes[1:], strict=True):
            total = total + 0.3 * loss(embeddings, labels % size)
        return total


def make_steps(
    case: tuple[str, int, int, int, int], sides: Sequence[str], device: str
) -> dict[str, Step]:
    """A forward and backward pass of each side, on the same batch; a case is as in the table."""
    name, classes, embedding_size, batch_size, levels = case
    sizes = level_sizes(classes, levels)
    embeddings = torch.randn(batch_size, embedding_size, device=device, requires_grad=True)
    labels = torch.randint(classes, (batch_size,), device=device)
    makers: dict[str, Callable[[], torch.nn.Module]] = {
        "pml": lambda: LOSSES[name](classes, embedding_size),
        "pml_levels": lambda: PMLLevels(name, sizes, embedding_size),
        "ours_flat": lambda: Ours(name, sizes[:1], embedding_size),
        "ours": lambda: Ours(name, sizes, embedding_size),
    }
    steps: dict[str, Step] = {}
    for side in sides:
        if side == "products":
            steps[side] = _products(embeddings.detach(), classes)
        else:
            steps[side] = _step(makers[side]().to(device), embeddings, labels)
    return steps


def level_sizes(classes: int, levels: int) -> list[int]:
    """``[C, sqrt(C), ...]``: 11318, 106, 10."""
    sizes = [classes]
    while len(sizes) < levels:
        sizes.append(max(2, round(sizes[-1] ** 0.5)))
    return sizes


def _step(loss: torch.nn.Module, embeddings: torch.Tensor, labels: torch.Tensor) -> Step:
    def step() -> None:
        loss.zero_grad()
        embeddings.grad = None
        loss(embeddings, labels).backward()

    return step


def _products(embeddings: torch.Tensor, classes: int) -> Step:
    """What no loss of this kind can do without; into memory that is there already."""
    proxies = torch.randn(classes, embeddings.shape[1], device=embeddings.device)
    cosines = torch.empty(len(embeddings), classes, device=embeddings.device)
    gradients = torch.empty_like(embeddings), torch.empty_like(proxies)

    def step() -> None:
        torch.mm(embeddings, proxies.t(), out=cosines)
        torch.mm(cosines, proxies, out=gradients[0])
        torch.mm(cosines.t(), embeddings, out=gradients[1])

    return step


# ---------------------------------------------------------------- measuring
def interleave(steps: dict[str, Step], repeats: int, device: str) -> dict[str, list[float]]:
    """Seconds of each repeat of each side; no side always comes after the same other one."""
    seconds: dict[str, list[float]] = {name: [] for name in steps}
    for step in steps.values():
        step()
    rng = np.random.default_rng(0)
    for _ in range(repeats):
        for name in rng.permutation(list(steps)):
            seconds[name].append(_seconds(steps[name], device))
    return seconds


def _seconds(step: Step, device: str) -> float:
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
    """How much more memory a step takes at its peak, its gradients not counted where it had some.

    On the CPU, Linux alone can tell: its high-water mark of resident memory can be set back.
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
    before = _resident("VmRSS")
    step()
    return _resident("VmHWM") - before


def _resident(key: str) -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(key))


# ---------------------------------------------------------------- reporting
def ratio(case: dict[str, Any], side: str, to: str) -> str:
    """The median of the ratios of the repeats, and the half of them in the middle."""
    if not {side, to} <= case["seconds"].keys():
        return ""
    ratios = np.divide(case["seconds"][side], case["seconds"][to])
    low, middle, high = np.quantile(ratios, [0.25, 0.5, 0.75])
    return f"{middle:.2f} ({low:.2f} to {high:.2f})"


def table(cases: list[dict[str, Any]]) -> str:
    """A row per case: milliseconds, ratios with their spread, and peak memory in MiB."""
    sides = [side for side in SIDES if side in cases[0]["seconds"]]
    ratios = [("ours", "pml"), ("ours", "products"), ("ours", "ours_flat")]
    rows = []
    for case in cases:
        row = [case[key] for key in _CASE]
        row += [f"{1000 * np.median(case['seconds'][side]):.2f}" for side in sides]
        row += [ratio(case, side, to) for side, to in ratios]
        peaks = [case["peak_bytes"].get(side) for side in ("pml", "ours")]
        row += ["" if peak is None else f"{peak / 2**20:.0f}" for peak in peaks]
        rows.append(row)
    headers = [*_CASE, *(f"{side} ms" for side in sides)]
    headers += [f"{side} / {to}" for side, to in ratios] + ["pml MiB", "ours MiB"]
    return tabulate(rows, headers, disable_numparse=True, stralign="right")


def plot(cases: list[dict[str, Any]], path: Path) -> None:
    """How the time grows with the classes: a panel per loss, and a line per side and sizes."""
    losses = list(dict.fromkeys(case["loss"] for case in cases))
    figure = Figure(figsize=(1 + 3.5 * len(losses), 4))
    axes = figure.subplots(1, len(losses), sharey=True, squeeze=False)
    for axis, loss in zip(axes[0], losses, strict=True):
        lines: dict[tuple[str, str], list[tuple[int, float]]] = {}
        for case in (case for case in cases if case["loss"] == loss):
            shape = f"{case['embedding_size']}-d, batch {case['batch_size']}, L={case['levels']}"
            for side, seconds in case["seconds"].items():
                point = (case["classes"], 1000 * float(np.median(seconds)))
                lines.setdefault((side, shape), []).append(point)
        shapes = list(dict.fromkeys(shape for _, shape in lines))
        for (side, shape), points in lines.items():
            axis.loglog(
                *zip(*sorted(points), strict=True),
                label=f"{side}, {shape}",
                color=f"C{SIDES.index(side)}",
                marker="osv^D"[shapes.index(shape) % 5],
                linestyle=("-", "--", ":", "-.")[shapes.index(shape) % 4],
            )
        axis.set(title=loss, xlabel="fine classes")
        axis.grid(alpha=0.3)
    axes[0][0].set_ylabel("milliseconds, forward and backward")
    axes[0][-1].legend(fontsize=7, loc="center left", bbox_to_anchor=(1, 0.5))
    figure.savefig(path, dpi=120, bbox_inches="tight")
