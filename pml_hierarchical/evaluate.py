"""``python -m pml_hierarchical evaluate``: metrics of embeddings that lie in files."""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from pytorch_metric_learning.distances import (
    BaseDistance,
    CosineSimilarity,
    DotProductSimilarity,
    LpDistance,
)

from .accuracy import HierarchicalAccuracyCalculator
from .hierarchy import Hierarchy
from .storage import load_array

_DISTANCES: dict[str, Callable[[], BaseDistance]] = {
    "cosine": CosineSimilarity,
    "dot": lambda: DotProductSimilarity(normalize_embeddings=False),
    "euclidean": lambda: LpDistance(normalize_embeddings=False),
    "manhattan": lambda: LpDistance(normalize_embeddings=False, p=1),
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of the command."""
    add = parser.add_argument
    files = "a .npy, .npz or .pt file; an .npz or .pt may hold both as 'embeddings' and 'labels'"
    add("--embeddings", required=True, metavar="FILE", help=f"(num_samples, size): {files}")
    add("--labels", metavar="FILE", help="integers, (num_samples,) or (num_samples, num_levels)")
    add("--gallery", metavar="FILE", help="what is searched; by default the embeddings themselves")
    add("--gallery-labels", metavar="FILE", help="labels of the gallery")
    add("--hierarchy", metavar="JSON", help="the tree above 1-D labels, as Hierarchy.to_dict")
    add("--include", nargs="+", default=(), metavar="METRIC", help="only these metrics")
    add("--exclude", nargs="+", default=(), metavar="METRIC", help="not these metrics")
    add("--clustering", action="store_true", help="NMI and AMI too, which run k-means")
    ks = "the k of recall, hierarchical precision and mistake severity"
    add("--at-k", nargs="+", type=int, default=(1, 10, 100), metavar="K", help=ks)
    add("--k", type=_k, help="look at no more neighbours than this, or 'max_bin_count'")
    add("--distance", choices=sorted(_DISTANCES), default="cosine", help="default: cosine")
    add("--avg-of-avgs", action="store_true", help="average the averages of the classes")
    add("--device", help="such as cpu or cuda; by default a GPU if there is one")
    add("--block-size", type=int, metavar="N", help="queries at a time; by default what fits")
    add("--output", type=Path, metavar="JSON", help="where to write the result")
    add("--quiet", action="store_true", help="no progress bar")


def run(args: argparse.Namespace) -> dict[str, Any]:
    """Evaluate, print the table, write the JSON, and return what it holds.

    Raises:
        OSError, TypeError, ValueError: for files or options that do not fit, in words.
    """
    query = load_array(args.embeddings, "embeddings")
    labels = _labels(args.labels, args.embeddings)
    gallery = gallery_labels = None
    if args.gallery is not None:
        gallery = load_array(args.gallery, "embeddings")
        gallery_labels = _labels(args.gallery_labels, args.gallery)
    elif args.gallery_labels is not None:
        raise ValueError("--gallery-labels was given without --gallery")
    calculator = _calculator(args)
    metrics = calculator.get_accuracy(query, labels, gallery, gallery_labels)
    result = {
        "num_queries": len(query),
        "num_references": len(query if gallery is None else gallery),
        "embedding_size": int(query.shape[1]),
        "distance": args.distance,
        "queries_without_partner": list(calculator.num_lone_queries.values()),
        "metrics": metrics,
    }
    print(format_table(metrics, calculator.num_lone_queries))
    if args.output is not None:
        args.output.parent.mkdir(parents=True, exist_ok=True)
        args.output.write_text(json.dumps(_without_nan(result), indent=2) + "\n")
        print(f"\nwritten to {args.output}")
    return result


def format_table(metrics: Mapping[str, float], num_lone_queries: Mapping[int, int]) -> str:
    """One line per metric: a column for each level, or the one value of the hierarchy.

    Example:
        >>> print(format_table({"r_precision_level0": 0.5, "ndcg": 0.75}, {0: 2}))
        metric                      level 0
        r_precision                  0.5000
        ndcg                         0.7500
        queries without a partner         2
    """
    levels = list(num_lone_queries)
    lines: dict[str, list[str]] = {}
    for key, value in metrics.items():
        lines.setdefault(key.partition("_level")[0], []).append(f"{value:.4f}")
    lines["queries without a partner"] = [str(count) for count in num_lone_queries.values()]
    width = max(map(len, lines))
    title = f"{'metric':<{width}}" + "".join(f"  {f'level {level}':>8}" for level in levels)
    rows = (
        f"{name:<{width}}" + "".join(f"  {cell:>8}" for cell in cells)
        for name, cells in lines.items()
    )
    return "\n".join([title, *rows])


def _calculator(args: argparse.Namespace) -> HierarchicalAccuracyCalculator:
    hierarchy = None
    if args.hierarchy is not None:
        hierarchy = Hierarchy.from_dict(json.loads(Path(args.hierarchy).read_text()))
    clustering = () if args.clustering or args.include else ("NMI", "AMI")
    return HierarchicalAccuracyCalculator(
        include=tuple(args.include),
        exclude=(*args.exclude, *clustering),
        avg_of_avgs=args.avg_of_avgs,
        k=args.k,
        device=args.device,
        hierarchy=hierarchy,
        distance=_DISTANCES[args.distance](),
        at_k=args.at_k,
        block_size=args.block_size,
        progress_bar=not args.quiet,
    )


def _labels(path: str | None, embeddings: str) -> Any:
    """Labels from their file, or from that of the embeddings."""
    if path is None and Path(embeddings).suffix == ".npy":
        raise ValueError(f"{embeddings} holds no labels: give them in a file of their own")
    return load_array(embeddings if path is None else path, "labels")


def _k(text: str) -> int | str:
    return text if text == "max_bin_count" else int(text)


def _without_nan(value: Any) -> Any:
    """JSON has no NaN: metrics that no query has a value for become ``null``."""
    if isinstance(value, dict):
        return {key: _without_nan(item) for key, item in value.items()}
    return None if isinstance(value, float) and math.isnan(value) else value
