"""``HierarchicalAccuracyCalculator``: PML's ``AccuracyCalculator`` for all levels at once."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from pytorch_metric_learning.distances import BaseDistance
from pytorch_metric_learning.utils.common_functions import use_cuda_if_available
from torch import Tensor

from ..hierarchy import Hierarchy
from .averaging import StreamingMean
from .catalogue import Metric, default_names, find_metric
from .clustering import CLUSTERING_METRICS, KMeansFunction, cluster, default_kmeans
from .evaluation import Task, average_over_queries
from .inputs import EvaluationData, prepare
from .labels import LabelCodes
from .own import own_method, own_metric, own_names
from .ranking import KnnFunction, Neighbours

logger = logging.getLogger(__name__)


class HierarchicalAccuracyCalculator:
    r"""Retrieval metrics at every level and over the whole hierarchy, in one exact neighbour pass.

    A drop-in for PML's ``AccuracyCalculator``: the same names, and the same numbers where both
    define them. Queries are taken a block at a time, so that memory does not grow with their
    number. Neighbours are exact and ties go to the smaller index. A query without a partner at a
    level is left out of that level; :attr:`num_lone_queries` says how many there were.

    Metrics per level, here with ``_level0`` and so on behind them: ``precision_at_<k>``,
    ``recall_at_<k>``, ``r_precision``, ``mean_average_precision_at_r``,
    ``mean_average_precision``, ``mean_reciprocal_rank``, ``NMI``, ``AMI``. Over the hierarchy:
    ``hierarchical_average_precision``, ``average_set_intersection``, ``ndcg``,
    ``hierarchical_precision_at_<k>``, ``hierarchical_precision_area_at_<k>``,
    ``mistake_severity``, ``mistake_severity_at_<k>`` and, so that larger is better, both of the
    latter after ``neg_``. Formulas and papers are in :mod:`pml_hierarchical.accuracy.metrics`.

    A metric of one's own is a method of a subclass that starts with ``calculate_``. It is called
    for every block and level with, among other keyword arguments, ``knn_labels`` of shape
    ``(queries, k)`` and ``query_labels`` of shape ``(queries,)``, and returns **one value per
    query**, NaN where it has none; the calculator averages. (PML's own expects the mean over
    all queries at once, which would need all neighbours in memory.) If :meth:`requires_clustering`
    names it, it is called once per level with ``query_labels`` and ``cluster_labels``, and returns
    a number.

    Arguments:
        include: names of the metrics to compute; by default all, with the ``k`` of ``at_k``.
            NMI and AMI run k-means, which takes longer than all the others: exclude them where
            they are not wanted.
        exclude: names of the metrics not to compute.
        avg_of_avgs: average the classes' averages instead of the queries. For metrics over the
            hierarchy, classes are those of the finest level.
        return_per_class: return a list with the average of each class that has a query with a
            value, in the order of the labels. Not both of the two.
        k: how many neighbours are looked at: a number, ``"max_bin_count"`` for the size of the
            largest class at any level, or ``None`` for as many as each metric needs.
        label_comparison_fn: must be ``None``; see *Raises*.
        device: where to compute; by default a GPU if there is one.
        knn_func: a function of PML's interface, as ``FaissKNN`` and ``CustomKNN``, that finds the
            neighbours instead. Its ties are its own.
        kmeans_func: a function of PML's interface for NMI and AMI; by default ``FaissKMeans``.
        hierarchy: the tree above 1-D labels.
        distance: one of ``pytorch_metric_learning.distances``; by default the Euclidean distance
            between the embeddings as they are, as PML's.
        at_k: the ``k`` of ``recall_at_<k>``, ``hierarchical_precision_at_<k>`` and
            ``mistake_severity_at_<k>`` where ``include`` does not name them.
        block_size: how many queries to take at a time; by default what fits the free memory.
        progress_bar: whether an evaluation of more than a few seconds draws one.

    Raises:
        TypeError: if ``include`` or ``exclude`` is not a list or tuple.
        ValueError: for a metric that does not exist, or a ``k`` that is none.
        NotImplementedError: for a ``label_comparison_fn``. Levels are compared by equality; labels
            that need another comparison are a case for PML's calculator.

    Example:
        >>> import torch
        >>> embeddings = torch.tensor([[0.0], [0.1], [1.0], [1.2], [5.0], [5.3]])
        >>> labels = torch.tensor([[0, 0], [0, 0], [1, 0], [1, 0], [2, 1], [2, 1]])
        >>> calculator = HierarchicalAccuracyCalculator(
        ...     include=("precision_at_1", "mean_average_precision_at_r", "ndcg")
        ... )
        >>> for name, value in calculator.get_accuracy(embeddings, labels).items():
        ...     print(name, round(value, 4))
        precision_at_1_level0 1.0
        precision_at_1_level1 1.0
        mean_average_precision_at_r_level0 1.0
        mean_average_precision_at_r_level1 1.0
        ndcg 1.0
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
        kmeans_func: KMeansFunction | None = None,
        *,
        hierarchy: Hierarchy | None = None,
        distance: BaseDistance | None = None,
        at_k: Sequence[int] = (1, 10, 100),
        block_size: int | None = None,
        progress_bar: bool = True,
    ) -> None:
        if avg_of_avgs and return_per_class:
            raise ValueError("avg_of_avgs and return_per_class are mutually exclusive")
        if label_comparison_fn is not None:
            raise NotImplementedError(
                "label_comparison_fn: the levels of a hierarchy are compared by equality. "
                "Use PML's AccuracyCalculator for labels that need another comparison."
            )
        if k not in (None, "max_bin_count") and not _is_positive(k):
            raise ValueError(f"k must be a positive integer, None or 'max_bin_count', got {k!r}")
        if block_size is not None and not _is_positive(block_size):
            raise ValueError(f"block_size must be a positive integer or None, got {block_size!r}")
        if not all(_is_positive(at) for at in at_k):
            raise ValueError(f"at_k must hold positive integers, got {at_k!r}")
        if distance is not None and knn_func is not None:
            raise ValueError("give a distance or a knn_func, not both: knn_func has its own")
        self.avg_of_avgs = avg_of_avgs
        self.return_per_class = return_per_class
        self.k = k
        self.device = use_cuda_if_available() if device is None else torch.device(device)
        self.knn_func = knn_func
        self.kmeans_func = default_kmeans(self.device) if kmeans_func is None else kmeans_func
        self.hierarchy = hierarchy
        self.distance = distance
        self.at_k = tuple(at_k)
        self.block_size = block_size
        self.progress_bar = progress_bar
        #: for every evaluated level, how many queries had no partner in the last evaluation
        self.num_lone_queries: dict[int, int] = {}
        self._own_names = own_names(self)
        everything = (*default_names(self.at_k), *CLUSTERING_METRICS, *self._own_names)
        self._names = self._selected(include, exclude, everything)
        self._current = self._names

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
        """Compute the metrics.

        Arguments:
            query: floating point of shape ``(num_queries, embedding_size)``: a tensor, an array or
                a memory map. ``float64`` is compared in ``float64``, all else in ``float32``.
            query_labels: integers of shape ``(num_queries, num_levels)``, column 0 the finest
                level, or ``(num_queries,)``.
            reference: what is searched, ``(num_references, embedding_size)``. Without it, the
                queries, each apart from itself.
            reference_labels: as ``query_labels``.
            ref_includes_query: whether ``reference[i]`` is ``query[i]``, which is then left out by
                its index, so that its duplicates stay.
            include: compute these, instead of what the constructor was told.
            exclude: do not compute these.
            levels: for which levels to compute the metrics per level; by default all. Metrics over
                the hierarchy always see all of them.

        Returns:
            Name to value, with the level behind the name (``precision_at_1_level0``) where the
            labels have levels or there is a ``hierarchy``. NaN where no query has a value.

        Raises:
            TypeError: for labels that are not integers.
            ValueError: for NaN or infinite embeddings, shapes that do not fit, nothing to search,
                or metrics over a hierarchy that is none: a class in two superclasses.
        """
        self._current = self._selected(include, exclude, self._names)
        data = prepare(
            query,
            query_labels,
            reference,
            reference_labels,
            ref_includes_query,
            self.hierarchy,
            self.device,
        )
        chosen = data.checked_levels(levels)
        self.num_lone_queries = {}
        if not all(map(self.is_per_level, self._current)):
            return self._evaluate(data, list(range(data.num_levels)), chosen)
        if len(chosen) > 1 and data.codes(chosen).first_conflict():
            # levels that are not nested are evaluated one by one, as PML does
            parts = [self._evaluate(data, [level], [level]) for level in chosen]
            return {key: value for part in parts for key, value in part.items()}
        return self._evaluate(data, sorted(chosen), chosen)

    def get_curr_metrics(self) -> list[str]:
        """The names of the metrics in use, without levels; as PML's."""
        return list(self._current)

    def is_per_level(self, name: str) -> bool:
        """Whether a metric has one value per level, rather than one for the hierarchy."""
        metric = find_metric(name)
        return name in self._own_names or metric is None or metric.per_level

    def requires_clustering(self) -> list[str]:
        """The metrics that look at a clustering; a subclass adds its own, as with PML's."""
        return list(CLUSTERING_METRICS)

    def description(self) -> str:
        """What PML's testers put behind the name of their records."""
        return "avg_of_avgs" if self.avg_of_avgs else ""

    # ------------------------------------------------------------------ one pass
    def _evaluate(
        self, data: EvaluationData, columns: list[int], levels: list[int]
    ) -> dict[str, Any]:
        """The current metrics at ``levels``, from neighbours compared at the levels ``columns``."""
        codes = data.codes(columns)
        conflict = codes.first_conflict()
        if conflict:
            raise ValueError(
                f"{conflict}. Metrics over the hierarchy need every class to have one superclass: "
                "make the fine labels unique, for example by np.unique(labels, axis=0, "
                "return_inverse=True), or include only metrics per level."
            )
        self._count_lone_queries(codes, columns, levels)
        tasks = self._tasks(data, columns, levels)
        return self._means(tasks, data, codes) | self._clustering(data, levels)

    def _means(
        self, tasks: list[Task], data: EvaluationData, codes: LabelCodes
    ) -> dict[str, float | list[float]]:
        if not tasks:
            return {}
        neighbours = Neighbours(
            data.queries,
            data.references,
            codes,
            self._depth(tasks, data, codes),
            data.ref_includes_query,
            self.distance,
            self.knn_func,
            self.block_size,
            with_indices=not set(self._own_names).isdisjoint(self._current),
        )
        by_class = self.avg_of_avgs or self.return_per_class
        means = average_over_queries(tasks, neighbours, by_class, self.progress_bar)
        return {
            task.key: self._outcome(mean, codes, task.level)
            for task, mean in zip(tasks, means, strict=True)
        }

    def _tasks(self, data: EvaluationData, columns: list[int], levels: list[int]) -> list[Task]:
        clustering = self.requires_clustering()
        tasks = []
        for name in (name for name in self._current if name not in clustering):
            metric = self._metric(name, data, columns)
            if metric.per_level:
                tasks += [Task(data.key(name, c), metric, columns.index(c)) for c in levels]
            else:
                tasks.append(Task(name, metric, 0))
        return tasks

    def _metric(self, name: str, data: EvaluationData, columns: list[int]) -> Metric:
        if name in self._own_names:
            return own_metric(self, name, data, columns)
        metric = find_metric(name)
        assert metric is not None  # _selected has checked the name
        return metric

    def _depth(self, tasks: list[Task], data: EvaluationData, codes: LabelCodes) -> int:
        """How many neighbours have to be ranked for all the tasks."""
        largest = max(map(codes.max_partners, range(codes.num_levels)))
        limit = data.num_neighbours
        if self.k == "max_bin_count":
            limit = min(limit, largest)
        elif self.k is not None:
            limit = min(limit, int(self.k))
        needing = {"r_precision", "mean_average_precision_at_r", "average_set_intersection"}
        if limit < largest and needing.intersection(self._current):
            logger.warning(
                "k=%s is less than the %d partners of a query, so that %s do not see them all; "
                "set k=None or 'max_bin_count'",
                self.k,
                largest,
                sorted(needing.intersection(self._current)),
            )
        return min(limit, max(task.depth(codes) for task in tasks))

    def _count_lone_queries(self, codes: LabelCodes, columns: list[int], levels: list[int]) -> None:
        for level in levels:
            partners = codes.num_partners()[:, columns.index(level)]
            self.num_lone_queries[level] = int((partners == 0).sum())
            if self.num_lone_queries[level] == len(partners):
                logger.warning("no query has a partner at level %d: its metrics are NaN", level)

    def _outcome(self, mean: StreamingMean, codes: LabelCodes, level: int) -> float | list[float]:
        if not self.return_per_class:
            return mean.value()
        return mean.per_class() or [math.nan] * len(codes.queries[level].unique())

    def _clustering(self, data: EvaluationData, levels: list[int]) -> dict[str, Any]:
        names = [name for name in self._current if name in self.requires_clustering()]
        result = {}
        for level in levels if names else ():
            labels = data.query_labels[:, level]
            embeddings = data.queries.rows(0, len(data.queries))
            clusters = cluster(embeddings, labels, self.kmeans_func)
            for name in names:
                is_own = name in self._own_names
                function = own_method(self, name) if is_own else CLUSTERING_METRICS[name]
                value = function(query_labels=labels, cluster_labels=clusters)
                result[data.key(name, level)] = float(value)
        return result

    def _selected(
        self, include: Sequence[str], exclude: Sequence[str], default: Sequence[str]
    ) -> list[str]:
        known = (*default_names(self.at_k), *CLUSTERING_METRICS, *self._own_names)
        for argument, names in (("include", include), ("exclude", exclude)):
            if not isinstance(names, (list, tuple)):
                raise TypeError(f"{argument} must be a list or tuple of names, got {names!r}")
            for name in names:
                if name not in known and find_metric(name) is None:
                    raise ValueError(
                        f"{argument} names {name!r}, which is not a metric. There are: "
                        f"{', '.join(known)}; and those with any other k"
                    )
        return [name for name in dict.fromkeys(include or default) if name not in exclude]


def _is_positive(value: Any) -> bool:
    return isinstance(value, (int, np.integer)) and not isinstance(value, bool) and int(value) > 0
