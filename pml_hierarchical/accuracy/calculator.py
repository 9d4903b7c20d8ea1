"""What the plugin adds to the calculator of the core: its ranking, more metrics, hierarchies."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from operator import index
from typing import Any

import numpy as np
import torch
from pytorch_metric_learning.distances import BaseDistance
from torch import Tensor
from tqdm import tqdm

from ..core import hierarchical_accuracy_calculator as core
from ..hierarchy import Hierarchy
from . import catalogue
from .inputs import Embeddings, check_embeddings, first_conflict, with_ancestors
from .ranking import KnnFunction, LabelCodes, RankedBlock, ranked_blocks

logger = logging.getLogger(__name__)

_QUICK = 5  # seconds that an evaluation may take without a progress bar
# Related references of a piece of a block: few enough for the cache, but enough that the threads
# seldom wait for the interpreter.
_PIECE = 2**18
_PIECE_ON_GPU = 2**24


class HierarchicalAccuracyCalculator(core.HierarchicalAccuracyCalculator):
    """Retrieval metrics at every level and over the whole hierarchy, in one exact neighbour pass.

    A drop-in for PML's ``AccuracyCalculator``: its arguments ``include`` to ``kmeans_func``, its
    names and, where both define them, its numbers. Queries are taken a block at a time, so that
    memory does not grow with their number. Neighbours are exact; ties go to the smaller index. A
    query without a partner at a level is left out there: :attr:`num_lone_queries` counts those.

    The metrics are in the table of ``docs/evaluation.md``; their formulas and papers are in
    :mod:`pml_hierarchical.accuracy.metrics`. Names that end in ``_at_<k>`` exist for every ``k``.

    A metric of your own is a method ``calculate_<name>`` of a subclass. It is called
    for every block and level with, among other keyword arguments, ``knn_labels`` of shape
    ``(queries, k)`` and ``query_labels`` of shape ``(queries,)``, and returns **one value per
    query**, NaN where it has none. If :meth:`requires_clustering` names it, it is called once per
    level with ``query_labels`` and ``cluster_labels``, and returns a number.

    Arguments:
        k: a number of neighbours, ``"max_bin_count"`` for the size of the largest class at any
            level, or ``None`` for as many as each metric needs.
        label_comparison_fn: must be ``None``: levels are compared by equality
            (``NotImplementedError``).
        knn_func: a function that finds the neighbours instead, and breaks ties in its own way.
        hierarchy: the tree above 1-D labels.
        distance: one of ``pytorch_metric_learning.distances``; by default the Euclidean distance
            between the embeddings as they are, as PML's.
        at_k: the ``k`` of ``recall_at_<k>``, ``hierarchical_precision_at_<k>`` and
            ``mistake_severity_at_<k>`` where ``include`` does not name them.
        block_size: how many queries to take at a time; by default what fits the free memory.
        progress_bar: whether an evaluation of more than a few seconds draws one.

    Raises ``TypeError`` if ``include`` or ``exclude`` is not a list or tuple, or ``distance`` not
    one of PML's; ``ValueError`` for a metric that does not exist or an invalid ``k``.

    >>> embeddings = torch.tensor([[0.0], [0.1], [1.0], [1.2], [5.0], [5.3]])
    >>> labels = torch.tensor([[0, 0], [0, 0], [1, 0], [1, 0], [2, 1], [2, 1]])
    >>> calculator = HierarchicalAccuracyCalculator(include=("precision_at_1", "ndcg"))
    >>> calculator.get_accuracy(embeddings, labels)
    {'precision_at_1_level0': 1.0, 'precision_at_1_level1': 1.0, 'ndcg': 1.0}
    """

    def __init__(
        self,
        include: Sequence[str] = (),
        exclude: Sequence[str] = (),
        avg_of_avgs: bool = False,
        return_per_class: bool = False,
        k: int | str | None = None,
        label_comparison_fn: Callable[[Tensor, Tensor], Tensor] | None = None,
        device: torch.device | str | None = None,
        knn_func: KnnFunction | None = None,
        kmeans_func: Callable[[Tensor, int], Any] | None = None,
        *,
        hierarchy: Hierarchy | None = None,
        distance: BaseDistance | None = None,
        at_k: Sequence[int] = (1, 10, 100),
        block_size: int | None = None,
        progress_bar: bool = True,
    ) -> None:
        if label_comparison_fn is not None:
            wrong = "levels are compared by equality, not by label_comparison_fn"
            raise NotImplementedError(f"{wrong}. Use PML's AccuracyCalculator for that")
        if k not in (None, "max_bin_count") and not _is_positive(k):
            raise ValueError(f"k must be a positive integer, None or 'max_bin_count', got {k!r}")
        if block_size is not None and not _is_positive(block_size):
            raise ValueError(f"block_size must be a positive integer or None, got {block_size!r}")
        if isinstance(at_k, int) or not all(_is_positive(at) for at in at_k):
            raise ValueError(f"at_k must hold positive integers below 2**31, got {at_k!r}")
        if distance is not None and knn_func is not None:
            raise ValueError("give a distance or a knn_func, not both: knn_func has its own")
        if not isinstance(distance, (BaseDistance, type(None))):
            raise TypeError(f"distance must be like PML's CosineSimilarity(), got {distance!r}")
        super().__init__(
            avg_of_avgs=avg_of_avgs,
            return_per_class=return_per_class,
            k=None if k is None else k if isinstance(k, str) else int(k),
            device=None if device is None else torch.device(device),
            kmeans_func=kmeans_func,
        )
        self.knn_func, self.distance = knn_func, distance
        self.hierarchy = None if hierarchy is None else Hierarchy.of(hierarchy)
        self.at_k, self.block_size, self.progress_bar = tuple(at_k), block_size, progress_bar
        #: for every evaluated level, how many queries had no partner in the last evaluation
        self.num_lone_queries: dict[int, int] = {}
        self.original_function_dict = {name: self._function(name) for name in self._names()}
        self.original_function_dict = self.get_function_dict(include, exclude)
        self.curr_function_dict = self.get_function_dict()

    def over_hierarchy(self) -> list[str]:
        """The metrics in use that have one value for all levels."""
        names = filter(catalogue.is_over_hierarchy, self.curr_function_dict)
        return [name for name in names if not self._is_own(name)]

    def check_primary_metrics(
        self, include: Sequence[str] = (), exclude: Sequence[str] = ()
    ) -> None:
        """Raise for names that are not metrics; called by PML's constructor, too."""
        for argument, names in (("include", include), ("exclude", exclude)):
            if not isinstance(names, (list, tuple)):
                raise TypeError(f"{argument} must be a list or tuple of names, got {names!r}")
            for name in names:
                if self._function(name) is None:
                    known = f"Choose from {', '.join(self._names())}, or those with another k"
                    raise ValueError(f"{argument} names {name!r}, which is not a metric. {known}")

    def get_function_dict(
        self, include: Sequence[str] = (), exclude: Sequence[str] = ()
    ) -> dict[str, Any]:
        """The functions of the metrics to compute, by their names; as PML's."""
        self.check_primary_metrics(include, exclude)
        names = dict.fromkeys(include or self.original_function_dict)
        return {name: self._function(name) for name in names if name not in exclude}

    def _names(self) -> list[str]:
        """What is computed where ``include`` names nothing."""
        methods = (x for x in dir(self) if x.startswith(self.function_keyword))
        own = filter(self._is_own, (x.removeprefix(self.function_keyword) for x in methods))
        return list(dict.fromkeys([*catalogue.default_names(self.at_k), "NMI", "AMI", *own]))

    def _is_own(self, name: str) -> bool:
        """Whether a subclass has defined a metric, or another way to compute it."""
        method = self.function_keyword + name
        ours = getattr(HierarchicalAccuracyCalculator, method, None)
        return getattr(type(self), method, None) is not ours

    def _function(self, name: str) -> Callable[..., Any] | None:
        """What computes a metric; ``None`` if there is no metric of that name."""
        if self._is_own(name) or name in ("NMI", "AMI"):
            method: Callable[..., Any] = getattr(self, self.function_keyword + name)
            return method
        return catalogue.find_metric(name)

    def get_accuracy(
        self,
        query: Any,
        query_labels: Any,
        reference: Any = None,
        reference_labels: Any = None,
        ref_includes_query: bool = False,
        include: Sequence[str] = (),
        exclude: Sequence[str] = (),
        levels: Sequence[int] | None = None,
    ) -> dict[str, Any]:
        """Compute the metrics; the arguments are PML's, and ``levels``.

        Arguments:
            query, reference: floating point of shape ``(num_samples, embedding_size)``: tensors,
                arrays or memory maps. ``float64`` is compared in ``float64``, all else in
                ``float32`` unless that would lose the neighbours.
            query_labels, reference_labels: integers of shape ``(num_samples, num_levels)``, column
                0 the finest level, or ``(num_samples,)``.
            ref_includes_query: whether ``reference[i]`` is ``query[i]``, which is then left out by
                its index, so that its duplicates stay.
            levels: for which levels to compute the metrics per level; by default all. Metrics over
                the hierarchy always see all of them.

        Returns ``{name: value}``, with the level after the name (``precision_at_1_level0``) if the
        labels have levels or there is a ``hierarchy``; NaN where no query has a value. Raises
        ``TypeError`` for labels that are not whole numbers, and ``ValueError`` for NaN or infinite
        embeddings, shapes that do not fit, nothing to search, or metrics over the hierarchy if the
        labels are not a tree: a class in two superclasses."""
        if (reference is None) != (reference_labels is None):
            raise ValueError("give reference and reference_labels together, or neither")
        if reference is None:
            reference, reference_labels, ref_includes_query = query, query_labels, True
        query_labels = with_ancestors(query_labels, "query_labels", self.hierarchy)
        reference_labels = with_ancestors(reference_labels, "reference_labels", self.hierarchy)
        labels, others = np.c_[query_labels], np.c_[reference_labels]
        num_levels = labels.shape[1]
        if num_levels != others.shape[1]:
            wrong = f"query_labels have {num_levels} levels"
            raise ValueError(f"{wrong} and reference_labels {others.shape[1]}")
        wanted = [levels] if isinstance(levels, int) else levels
        chosen = list(range(num_levels) if wanted is None else dict.fromkeys(map(index, wanted)))
        if not chosen or not set(chosen) <= set(range(num_levels)):
            known = f"0..{num_levels - 1} (0 is the finest)"
            raise ValueError(f"levels must be some of {known}, got {chosen}")
        self.num_lone_queries = dict.fromkeys(chosen, 0)
        self.curr_function_dict = self.get_function_dict(include, exclude)
        whole = " ".join(self.over_hierarchy())
        conflict = first_conflict(
            np.concatenate([labels, others]), range(num_levels) if whole else chosen
        )
        if conflict and whole:
            raise ValueError(f"{conflict}: make the fine labels unique, or exclude {whole}")
        arguments = (query, query_labels, reference, reference_labels, ref_includes_query)
        found: dict[str, Any] = {}
        # levels that are not nested are evaluated one by one, as PML does
        for group in [[level] for level in chosen] if conflict else [chosen]:
            found |= super().get_accuracy(*arguments, include, exclude, group)
        return found

    def prepare(
        self, data: tuple[Any, Any, Any, Any], own: bool
    ) -> tuple[Embeddings, Tensor, Embeddings, Tensor]:
        """Embeddings that may be on disk, and labels; see *Raises* of :meth:`get_accuracy`."""
        query, query_labels, reference, reference_labels = data
        queries = references = Embeddings(query, "query", self.device)
        if reference is not query:
            references = Embeddings(reference, "reference", self.device)
        labels = torch.from_numpy(np.c_[query_labels]).to(self.device)
        others = torch.from_numpy(np.c_[reference_labels]).to(self.device)
        check_embeddings(queries, references, labels, others, own)
        num_partners = core.count_same(labels, others) - int(own)
        for level in self.num_lone_queries:
            is_lone = num_partners[:, level] == 0
            self.num_lone_queries[level] = int(is_lone.sum())
            if is_lone.all():
                logger.warning("no query has a partner at level %d: its metrics are NaN", level)
        return queries, labels, references, others

    def get_cluster_labels(self, query: Embeddings, query_labels: Tensor, **kwargs: Any) -> Any:
        """The clusters of the queries by ``kmeans_func``, as many as there are classes."""
        return super().get_cluster_labels(query.rows(0, len(query)), query_labels)

    def ranked_values(
        self, tasks: list[core.Task], data: core.Data, own: bool
    ) -> Iterator[list[Tensor]]:
        """The core's, from ranks of the related references alone, in threads."""
        query, labels, reference, others = data
        levels = sorted({level for _, level in tasks})
        columns = list(range(labels.shape[1])) if levels[0] < 0 else levels
        codes = LabelCodes(labels[:, columns], others[:, columns], own)
        tasks = [(name, level if level < 0 else columns.index(level)) for name, level in tasks]
        most = codes.num_partners.amax(dim=0).tolist()
        owns = [self._is_own(name) for name, _ in tasks]
        depths = [
            catalogue.EVERYTHING if is_own else catalogue.depth_of(name, most[level])
            for is_own, (name, level) in zip(owns, tasks, strict=True)
        ]
        depth = min(self._limit(max(most), len(reference) - own), max(depths))
        if depth == 0:
            yield [torch.full((len(query),), torch.nan, dtype=torch.float64) for _ in tasks]
            return
        options = (self.distance, self.knn_func, self.block_size, any(owns))
        blocks = ranked_blocks(query, reference, codes, depth, own, *options)
        drawn = {"unit": " queries", "disable": not self.progress_bar}
        bar = tqdm(desc="evaluating", total=len(query), delay=_QUICK, mininterval=1.0, **drawn)
        size = _PIECE if labels.device.type == "cpu" else _PIECE_ON_GPU
        # one thread per piece is far faster on a busy machine than torch's within every operation;
        # a user's own metric may not be thread-safe
        usual = torch.get_num_threads()
        count, inner = (1, usual) if any(owns) else (usual, 1)
        pool = ThreadPoolExecutor(count, "metrics", torch.set_num_threads, (inner,))
        with ExitStack() as stack, bar, pool:
            stack.callback(torch.set_num_threads, usual)  # for threads that begin later
            for block in blocks:
                jobs = [
                    [pool.submit(self._values, *task, x) for x in block.first(at_most).split(size)]
                    for task, at_most in zip(tasks, depths, strict=True)
                ]
                yield [torch.cat([piece.result() for piece in pieces]) for pieces in jobs]
                bar.update(block.stop - block.start)

    def _values(self, name: str, level: int, block: RankedBlock) -> Tensor:
        """One value per query of the block, NaN for those without a partner."""
        given = block.arguments(level)
        values = self.curr_function_dict[name](**given)
        expected = (block.stop - block.start,)
        if not isinstance(values, Tensor) or values.shape != expected:
            wrong = f"shape {tuple(values.shape)}" if isinstance(values, Tensor) else repr(values)
            raise TypeError(
                f"calculate_{name} must return a tensor of shape {expected}, one value per query "
                f"of the block, got {wrong}; the calculator averages"
            )
        return torch.where(given["num_relevant"] > 0, values.double(), torch.nan)

    def _limit(self, most_partners: int, num_neighbours: int) -> int:
        """How many neighbours may be ranked, by ``k``."""
        limit = most_partners if self.k == "max_bin_count" else self.k or num_neighbours
        limit = min(num_neighbours, int(limit))
        needing = sorted(catalogue.OF_PARTNERS.intersection(self.curr_function_dict))
        if limit < most_partners and needing:
            logger.warning(
                f"k={self.k} is less than the {most_partners} partners of a query, so that "
                f"{needing} do not see them all; set k=None or 'max_bin_count'"
            )
        return limit


def _is_positive(value: Any) -> bool:
    is_integer = isinstance(value, (int, np.integer)) and not isinstance(value, bool)
    return is_integer and 0 < int(value) <= catalogue.LARGEST_K
