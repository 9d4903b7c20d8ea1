"""``pml-hierarchical evaluate``: metrics of embeddings stored in files."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Literal

from typer import Option

from ..option_groups import with_groups

FILES, METRICS, SEARCH = "Files", "Metrics", "Search"  # panels of the help


@dataclass(frozen=True)
class EvaluateOptions:
    """Which embeddings, and what is computed from them."""

    embeddings: Annotated[
        str,
        Option(
            metavar="FILE",
            help="Embeddings of shape (samples, size) in a .npy, .npz or .pt file. A .npz or .pt "
            "file may hold the labels too, as 'embeddings' and 'labels' or as in the test.npz of "
            "a run.",
            rich_help_panel=FILES,
        ),
    ]
    labels: Annotated[
        str | None,
        Option(
            metavar="FILE",
            help="Integers of shape (samples,) or (samples, levels).",
            rich_help_panel=FILES,
        ),
    ] = None
    gallery: Annotated[
        str | None,
        Option(
            metavar="FILE",
            help="The embeddings to search in. By default the gallery in the file of the "
            "embeddings, or the embeddings themselves.",
            rich_help_panel=FILES,
        ),
    ] = None
    gallery_labels: Annotated[
        str | None, Option(metavar="FILE", help="Labels of the gallery.", rich_help_panel=FILES)
    ] = None
    hierarchy: Annotated[
        str | None,
        Option(
            metavar="FILE",
            help="The tree above 1-D labels in JSON, as Hierarchy.to_dict gives it.",
            rich_help_panel=FILES,
        ),
    ] = None
    output: Annotated[
        Path | None,
        Option(metavar="FILE", help="Where to write the result, as JSON.", rich_help_panel=FILES),
    ] = None
    include: Annotated[
        list[str] | None,
        Option(metavar="METRIC...", help="Compute only these metrics.", rich_help_panel=METRICS),
    ] = None
    exclude: Annotated[
        list[str] | None,
        Option(metavar="METRIC...", help="Leave out these metrics.", rich_help_panel=METRICS),
    ] = None
    clustering: Annotated[
        bool,
        Option("--clustering", help="NMI and AMI too, which run k-means.", rich_help_panel=METRICS),
    ] = False
    at_k: Annotated[
        list[int],
        Option(
            metavar="K...",
            help="The k of recall, hierarchical precision and mistake severity.",
            rich_help_panel=METRICS,
        ),
    ] = field(default_factory=lambda: [1, 10, 100])
    avg_of_avgs: Annotated[
        bool,
        Option(
            "--avg-of-avgs", help="Average the averages of the classes.", rich_help_panel=METRICS
        ),
    ] = False
    gallery_includes_queries: Annotated[
        bool,
        Option(
            "--gallery-includes-queries",
            help="The gallery begins with the queries, in order: none of them finds itself.",
            rich_help_panel=SEARCH,
        ),
    ] = False
    k: Annotated[
        str | None,
        Option(
            metavar="K",
            help="Most neighbours to look at; 'max_bin_count' is the size of the largest class.",
            rich_help_panel=SEARCH,
        ),
    ] = None
    distance: Annotated[
        Literal["cosine", "dot", "euclidean", "manhattan"],
        Option(
            help="What neighbours are ranked by; PML's default is euclidean.",
            rich_help_panel=SEARCH,
        ),
    ] = "cosine"
    device: Annotated[
        str | None,
        Option(help="cpu, cuda, ... By default a GPU if there is one.", rich_help_panel=SEARCH),
    ] = None
    block_size: Annotated[
        int | None,
        Option(
            help="Queries at a time. By default as many as fit.",
            rich_help_panel=SEARCH,
        ),
    ] = None
    quiet: Annotated[bool, Option("--quiet", help="No progress bar.")] = False


@with_groups
def evaluate(options: EvaluateOptions) -> None:
    """Compute metrics of embeddings stored in files.

    Each level of the labels gets its retrieval metrics. Those of the hierarchy see all levels at
    once; with a single level, hierarchical average precision is mean average precision.
    """
    from ..evaluation.saved_embeddings import evaluate as evaluate_files

    evaluate_files(options)
