"""Metrics of embeddings stored in files."""

from __future__ import annotations

import json
import math
import re
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from pytorch_metric_learning import distances
from pytorch_metric_learning.utils.inference import FaissKMeans

from pml_hierarchical.accuracy import HierarchicalAccuracyCalculator
from pml_hierarchical.accuracy.inputs import Embeddings

from ..commands.evaluate import EvaluateOptions
from ..device import hint_at_cuda
from ..files import check_place, linked, refuse_inputs, write_whole
from ..names import one_line
from .input_files import array_names, load_array, load_hierarchy

_DISTANCES: dict[str, Callable[[], distances.BaseDistance]] = {
    "cosine": distances.CosineSimilarity,
    "dot": lambda: distances.DotProductSimilarity(normalize_embeddings=False),
    "euclidean": lambda: distances.LpDistance(normalize_embeddings=False),
    "manhattan": lambda: distances.LpDistance(normalize_embeddings=False, p=1),
}
_OPTIONS = {"at_k": "--at-k", "block_size": "--block-size"}
_OPTIONS |= {"ref_includes_query": "--gallery-includes-queries"}
# what the arrays are called in the test.npz of a run, beside their plain names
_OF_QUERIES, _OF_GALLERY = ("", "test_"), ("", "gallery_", "test_")


def evaluate(options: EvaluateOptions) -> None:
    """Evaluate, print the table and write the JSON.

    Raises:
        ValueError: for files that do not hold what they should, or do not fit together.
    """
    if options.output is not None:
        _check_output(options.output, options)
    query = load_array(options.embeddings, "embeddings", prefixes=_OF_QUERIES)
    labels = _labels(options.labels, options.embeddings, _OF_QUERIES)
    gallery = gallery_labels = None
    if options.gallery is not None:
        gallery = load_array(options.gallery, "embeddings", prefixes=_OF_GALLERY)
        gallery_labels = _labels(options.gallery_labels, options.gallery, _OF_GALLERY)
    elif "gallery_embeddings" in array_names(options.embeddings):
        gallery = load_array(options.embeddings, "embeddings", prefixes=("gallery_",))
        gallery_labels = _labels(options.gallery_labels, options.embeddings, ("gallery_",))
    elif options.gallery_labels is not None or options.gallery_includes_queries:
        option = "includes-queries" if options.gallery_includes_queries else "labels"
        raise ValueError(f"--gallery-{option} was given without --gallery")
    try:
        calculator = _calculator(options)
    except (TypeError, ValueError) as error:
        raise ValueError(_with_options(str(error))) from error
    try:
        metrics = calculator.get_accuracy(
            query, labels, gallery, gallery_labels, options.gallery_includes_queries
        )
    except (TypeError, ValueError) as error:
        raise ValueError(_with_files(_with_options(str(error)), options)) from error
    if gallery is not None and not options.gallery_includes_queries:
        _warn_if_queries_find_themselves(query, gallery)
    print(_table(metrics, calculator.num_lone_queries))
    if options.output is not None:
        result = {
            "num_queries": len(query),
            "num_references": len(query if gallery is None else gallery),
            "embedding_size": int(query.shape[1]),
            "distance": options.distance,
            "queries_without_partner": list(calculator.num_lone_queries.values()),
            "metrics": metrics,
        }
        # JSON has no NaN: metrics that no query has a value for become null
        result = json.loads(json.dumps(result), parse_constant=lambda _: None)
        options.output.parent.mkdir(parents=True, exist_ok=True)
        write_whole(linked(options.output), json.dumps(result, indent=2) + "\n")
        print(one_line(f"written to {options.output}"))


def _check_output(output: Path, options: EvaluateOptions) -> None:
    """Refuse a file that cannot be written or is not JSON, before metrics are computed for it."""
    if output.is_dir():
        raise IsADirectoryError(f"--output {output} is a folder: name a file in it")
    if output.suffix in (".npy", ".npz", ".pt"):
        raise ValueError(f"--output {output}: the result is JSON, so name a .json file")
    names = ("embeddings", "labels", "gallery", "gallery_labels", "hierarchy")
    given = [getattr(options, name) for name in names]
    refuse_inputs("--output", output, [Path(one) for one in given if one is not None])
    check_place(output.absolute().parent, f"--output {output}")


def _labels(path: str | None, embeddings: str, prefixes: tuple[str, ...]) -> Any:
    """Labels from their file, or from that of the embeddings."""
    return load_array(embeddings if path is None else path, "labels", path is None, prefixes)


def _table(metrics: Mapping[str, float], num_lone_queries: Mapping[int, int]) -> str:
    """One line per metric: a column for each level, and one for metrics of the hierarchy.

    A single level is the whole hierarchy, and has one column.
    """
    columns = [f"level {level}" for level in num_lone_queries]
    if len(columns) > 1 and not all("_level" in key for key in metrics):
        columns.append("hierarchy")
    table, place_of = {"metric": columns}, {str(n): i for i, n in enumerate(num_lone_queries)}
    for key, value in metrics.items():
        name, _, level = key.partition("_level")
        cells = table.setdefault(name, [""] * len(columns))
        cells[place_of.get(level, -1)] = f"{value:.4f}"
    table["queries without a partner"] = [str(count) for count in num_lone_queries.values()]
    width = max(map(len, table))
    return "\n".join(
        f"{name:<{width}}" + "".join(f"  {cell:>9}" for cell in cells).rstrip()
        for name, cells in table.items()
    )


def _calculator(options: EvaluateOptions) -> HierarchicalAccuracyCalculator:
    clustering = () if options.clustering or options.include else ("NMI", "AMI")
    same = ("avg_of_avgs", "at_k", "block_size")
    return HierarchicalAccuracyCalculator(
        include=tuple(options.include or ()),
        exclude=(*(options.exclude or ()), *clustering),
        hierarchy=None if options.hierarchy is None else load_hierarchy(options.hierarchy),
        distance=_DISTANCES[options.distance](),
        device=None if options.device is None else _device(options.device),
        k=_k(options.k),
        progress_bar=not options.quiet,
        # PML's default, without faiss's warning of classes with fewer than 39 queries
        kmeans_func=FaissKMeans(min_points_per_centroid=1),
        **{name: getattr(options, name) for name in same},
    )


def _with_options(message: str) -> str:
    """An error of the calculator, with options instead of the names of its arguments."""
    for name, option in _OPTIONS.items():
        message = re.sub(rf"\b{name}\b", option, message)
    message = re.sub(r"^(include|exclude) names", r"--\1 names", message)
    return message.replace("or exclude ", "or --exclude ").replace(" or None", "")


def _with_files(message: str, options: EvaluateOptions) -> str:
    """An error of the calculator, with the files of the arrays that it names."""
    files = {
        "query": options.embeddings,
        "query_labels": options.labels or options.embeddings,
        "reference": options.gallery or options.embeddings,
        "reference_labels": options.gallery_labels
        or options.gallery
        or options.labels
        or options.embeddings,
    }
    words = message.replace(",", " ").replace(":", " ").split()
    named = [f"{name} is {file}" for name, file in files.items() if name in words]
    if not named and "labels" in words:  # of either
        used = {files["query_labels"], files["reference_labels"]}
        named = [f"labels are in {' and '.join(sorted(used))}"]
    return f"{message} ({', '.join(named or [f'query is {options.embeddings}'])})"


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


def _device(text: str) -> torch.device:
    """A device that can compute, in ``float64`` too."""
    try:
        device = torch.device(text)
        torch.zeros(1, dtype=torch.float64, device=device).sum().item()
    except (RuntimeError, AssertionError, NotImplementedError, TypeError) as error:
        reason = str(error).partition("\n")[0].partition(". ")[0] + hint_at_cuda(text)
        raise ValueError(f"--device: cannot compute on {text!r}: {reason}") from error
    return device


def _k(text: str | None) -> int | str | None:
    if text is None or text == "max_bin_count":
        return text
    if not text.isdecimal() or int(text) < 1:
        raise ValueError(f"--k must be a positive integer or max_bin_count, got {text!r}")
    return int(text)
