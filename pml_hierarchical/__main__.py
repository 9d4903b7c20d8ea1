"""``python -m pml_hierarchical evaluate``: metrics of embeddings that lie in files.

The one command of the package. Errors are one line and exit status 2.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from pytorch_metric_learning import distances

from .accuracy import HierarchicalAccuracyCalculator
from .accuracy.inputs import Embeddings
from .storage import load_array, load_hierarchy

_DISTANCES: dict[str, Callable[[], distances.BaseDistance]] = {
    "cosine": distances.CosineSimilarity,
    "dot": lambda: distances.DotProductSimilarity(normalize_embeddings=False),
    "euclidean": lambda: distances.LpDistance(normalize_embeddings=False),
    "manhattan": lambda: distances.LpDistance(normalize_embeddings=False, p=1),
}


def main(argv: Sequence[str] | None = None) -> None:
    """Parse the command line, evaluate, print the table and write the JSON."""
    parser = argparse.ArgumentParser(prog="python -m pml_hierarchical")
    commands = parser.add_subparsers(required=True, metavar="command")
    command = commands.add_parser("evaluate", help="metrics of saved embeddings")
    _add_arguments(command)
    args = parser.parse_args(argv)
    try:
        _run(args)
    except (OSError, TypeError, ValueError, MemoryError) as error:
        command.error(_one_line(f"{error}" or type(error).__name__))


def _add_arguments(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    files = "a .npy, .npz or .pt file; an .npz or .pt may hold both as 'embeddings' and 'labels'"
    add("--embeddings", required=True, metavar="FILE", help=f"(num_samples, size): {files}")
    add("--labels", metavar="FILE", help="integers, (num_samples,) or (num_samples, num_levels)")
    add("--gallery", metavar="FILE", help="what is searched; by default the embeddings themselves")
    add("--gallery-labels", metavar="FILE", help="labels of the gallery")
    includes = "the gallery begins with the queries, in order: none of them finds itself"
    add("--gallery-includes-queries", action="store_true", help=includes)
    add("--hierarchy", metavar="JSON", help="the tree above 1-D labels, as Hierarchy.to_dict")
    add("--include", nargs="+", default=(), metavar="METRIC", help="only these metrics")
    add("--exclude", nargs="+", default=(), metavar="METRIC", help="not these metrics")
    add("--clustering", action="store_true", help="NMI and AMI too, which run k-means")
    ks = "the k of recall, hierarchical precision and mistake severity"
    add("--at-k", nargs="+", type=int, default=(1, 10, 100), metavar="K", help=ks)
    add("--k", type=_k, help="look at no more neighbours than this, or 'max_bin_count'")
    add("--distance", choices=sorted(_DISTANCES), default="cosine", help="default: cosine")
    add("--avg-of-avgs", action="store_true", help="average the averages of the classes")
    add("--device", type=_device, help="such as cpu or cuda; by default a GPU if there is one")
    add("--block-size", type=int, metavar="N", help="queries at a time; by default what fits")
    add("--output", type=Path, metavar="JSON", help="where to write the result")
    add("--quiet", action="store_true", help="no progress bar")


def _run(args: argparse.Namespace) -> None:
    query = load_array(args.embeddings, "embeddings")
    labels = _labels(args.labels, args.embeddings)
    gallery = gallery_labels = None
    if args.gallery is not None:
        gallery = load_array(args.gallery, "embeddings")
        gallery_labels = _labels(args.gallery_labels, args.gallery)
    elif args.gallery_labels is not None or args.gallery_includes_queries:
        raise ValueError("an option of the gallery was given without --gallery")
    calculator = _calculator(args)
    try:
        metrics = calculator.get_accuracy(
            query, labels, gallery, gallery_labels, args.gallery_includes_queries
        )
    except (TypeError, ValueError) as error:
        raise ValueError(_with_files(str(error), args)) from error
    if gallery is not None and not args.gallery_includes_queries:
        _warn_if_queries_find_themselves(query, gallery)
    result = {
        "num_queries": len(query),
        "num_references": len(query if gallery is None else gallery),
        "embedding_size": int(query.shape[1]),
        "distance": args.distance,
        "queries_without_partner": list(calculator.num_lone_queries.values()),
        "metrics": metrics,
    }
    print(_table(metrics, calculator.num_lone_queries))
    if args.output is not None:
        args.output.parent.mkdir(parents=True, exist_ok=True)
        # JSON has no NaN: metrics that no query has a value for become null
        result = json.loads(json.dumps(result), parse_constant=lambda _: None)
        args.output.write_text(json.dumps(result, indent=2) + "\n")
        print(_one_line(f"written to {args.output}"))


def _table(metrics: Mapping[str, float], num_lone_queries: Mapping[int, int]) -> str:
    """One line per metric: a column for each level, or the one value of the hierarchy."""
    lines: dict[str, list[str]] = {}
    for key, value in metrics.items():
        lines.setdefault(key.partition("_level")[0], []).append(f"{value:.4f}")
    lines["queries without a partner"] = [str(count) for count in num_lone_queries.values()]
    width = max(map(len, lines))
    table = {"metric": [f"level {level}" for level in num_lone_queries]} | lines
    return "\n".join(
        f"{name:<{width}}" + "".join(f"  {cell:>8}" for cell in cells)
        for name, cells in table.items()
    )


def _calculator(args: argparse.Namespace) -> HierarchicalAccuracyCalculator:
    clustering = () if args.clustering or args.include else ("NMI", "AMI")
    same = ("avg_of_avgs", "k", "device", "at_k", "block_size")
    return HierarchicalAccuracyCalculator(
        include=tuple(args.include),
        exclude=(*args.exclude, *clustering),
        hierarchy=None if args.hierarchy is None else load_hierarchy(args.hierarchy),
        distance=_DISTANCES[args.distance](),
        progress_bar=not args.quiet,
        **{name: getattr(args, name) for name in same},
    )


def _labels(path: str | None, embeddings: str) -> Any:
    """Labels from their file, or from that of the embeddings."""
    return load_array(embeddings if path is None else path, "labels", must_be_named=path is None)


def _with_files(message: str, args: argparse.Namespace) -> str:
    """An error of the calculator, with the files of the arrays that it names."""
    files = {
        "query": args.embeddings,
        "query_labels": args.labels or args.embeddings,
        "reference": args.gallery or args.embeddings,
        "reference_labels": args.gallery_labels or args.gallery or args.labels or args.embeddings,
    }
    words = message.replace(",", " ").replace(":", " ").split()
    named = [f"{name} is {file}" for name, file in files.items() if name in words]
    return f"{message} ({', '.join(named or [f'query is {args.embeddings}'])})"


def _warn_if_queries_find_themselves(query: Any, gallery: Any) -> None:
    """Warn if more queries equal a row of the gallery than the duplicates inside it explain."""
    ours, others = _row_hashes(query), _row_hashes(gallery)
    found, num = int(np.isin(ours, others).sum()), len(ours)
    counts = np.unique(others, return_counts=True)[1]
    chance = counts[counts > 1].sum() / len(others)
    expected = num * chance + 3 * math.sqrt(num * chance * (1 - chance))
    if found > expected and found >= num / 100:
        print(
            f"warning: {found} of {num} queries are equal to a row of the gallery. If those rows "
            "are the queries themselves, they find themselves and the numbers are too good: give "
            "--gallery-includes-queries if the gallery begins with the queries, or leave them out",
            file=sys.stderr,
        )


def _row_hashes(values: Any) -> np.ndarray:
    embeddings = Embeddings(values, "embeddings", torch.device("cpu"))
    parts = []
    for start, stop in embeddings.slices():
        rows = embeddings.rows(start, stop, torch.float32).numpy() + 0.0  # -0 is 0
        parts.append(np.fromiter((hash(row.tobytes()) for row in rows), np.int64, len(rows)))
    return np.concatenate(parts)


def _one_line(text: str) -> str:
    """Text without line breaks and control characters, as a message that names a file must be."""
    text = " ".join(text.split())
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def _device(text: str) -> torch.device:
    """A device that can compute, in ``float64`` too."""
    try:
        device = torch.device(text)
        torch.zeros(1, dtype=torch.float64, device=device).sum().item()
    except (RuntimeError, AssertionError, NotImplementedError, TypeError) as error:
        reason = str(error).partition("\n")[0].partition(". ")[0]
        raise argparse.ArgumentTypeError(f"cannot compute on {text!r}: {reason}") from error
    return device


def _k(text: str) -> int | str:
    return text if text == "max_bin_count" else int(text)


if __name__ == "__main__":
    main()
