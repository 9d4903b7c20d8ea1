"""``HierarchicalAccuracyCalculator``: PML's ``AccuracyCalculator``, all levels in one search."""

import math
from collections.abc import Iterator, Sequence
from copy import copy
from typing import Any

import torch
from pytorch_metric_learning.utils import common_functions as c_f
from pytorch_metric_learning.utils.accuracy_calculator import EQUALITY, AccuracyCalculator
from pytorch_metric_learning.utils.inference import return_results
from torch import Tensor

BLOCK_SIZE = 2**22  # neighbours of a block of queries
Task = tuple[str, int]  # the name of a metric and the level, -1 for all of them together
Data = tuple[Any, Tensor, Any, Tensor]  # queries, their labels, references, their labels


def count_same(labels: Tensor, others: Tensor) -> Tensor:
    """How many of the references ``others`` share the class of each query, ``(queries, L)``."""
    codes = [column.unique(return_inverse=True)[1] for column in torch.cat([labels, others]).T]
    counts = [c[len(labels) :].bincount(minlength=len(c))[c[: len(labels)]] for c in codes]
    return torch.stack(counts, dim=1)


class HierarchicalAccuracyCalculator(AccuracyCalculator):
    """PML's ``AccuracyCalculator`` for labels with a column per level, column 0 the finest.

    One search serves all levels, a block of queries at a time, so that memory does not grow with
    their number. Results have the names of PML's testers: ``precision_at_1_level0`` for 2-D labels.
    Arguments: PML's, except ``label_comparison_fn``. Metrics are methods ``calculate_<name>``, as
    in PML, called for every block. They return a tensor or array with one value per query, NaN if
    it does not count, or like PML's, if ``self.return_per_class``, a list of the classes' means.

    >>> calculator = HierarchicalAccuracyCalculator(include=("precision_at_1",))
    >>> labels = torch.tensor([[0, 0], [0, 0], [1, 0], [2, 0]])
    >>> calculator.get_accuracy(torch.tensor([[0.0], [0.1], [1.0], [1.2]]), labels)
    {'precision_at_1_level0': 1.0, 'precision_at_1_level1': 1.0}
    """

    def over_hierarchy(self) -> list[str]:
        """Names of a subclass's metrics with one value for all levels. They are called with all
        levels: ``query_labels`` and ``num_partners`` ``(queries, L)``, ``knn_labels`` ``(queries,
        k, L)``. ``num_partners`` counts the references of the query's class except the query."""
        return []

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
        """As in PML, for all levels or for ``levels``; NaN where no query has a value."""
        if self.label_comparison_fn is not EQUALITY:
            raise NotImplementedError("levels are compared by equality, not label_comparison_fn")
        self.curr_function_dict = self.get_function_dict(include, exclude)
        if reference is None:
            reference, reference_labels, ref_includes_query = query, query_labels, True
        key, own = "{}_level{}" if query_labels.ndim == 2 else "{}", bool(ref_includes_query)
        data = self.prepare((query, query_labels, reference, reference_labels), own)
        (query, labels, *_), known = data, range(data[1].shape[1])
        levels = [*known] if levels is None else [*levels]
        if not {*levels} <= {*known}:
            raise ValueError(f"levels must be some of 0..{known[-1]}, 0 the finest; got {levels}")
        clustering = [n for n in self.curr_function_dict if n in self.requires_clustering()]
        tasks: list[Task] = [
            (name, level)
            for name in self.curr_function_dict
            for level in ([-1] if name in self.over_hierarchy() else levels)
            if name not in clustering
        ]
        blocks = self.ranked_values(tasks, data, own) if tasks else []
        found: dict[str, Any] = {}
        for (name, level), values in zip(tasks, zip(*blocks, strict=True), strict=True):
            mean = self.mean(torch.cat(values).cpu(), labels[:, max(level, 0)].cpu())
            found[name if level < 0 else key.format(name, level)] = mean
        for level in levels if clustering else ():
            given = {"query": query, "query_labels": labels[:, level]}
            given["cluster_labels"] = self.get_cluster_labels(**given)
            for name in clustering:
                found[key.format(name, level)] = self.curr_function_dict[name](**given)
        return found

    def mean(self, values: Tensor, labels: Tensor) -> float | list[float]:
        """The mean of the queries with a value, or the means of the classes with any."""
        by_class = self.avg_of_avgs or self.return_per_class
        groups = labels.unique(return_inverse=True)[1] if by_class else torch.zeros_like(labels)
        count, num_groups = ~values.isnan(), int(groups.max()) + 1
        sums = groups[count].bincount(values[count], num_groups)
        means = sums / groups[count].bincount(minlength=num_groups)
        found = means[~means.isnan()].tolist() or means.tolist()
        return found if self.return_per_class else math.fsum(found) / len(found)

    def prepare(self, data: tuple[Any, Any, Any, Any], own: bool) -> Data:
        """To override: check the data, and return labels as ``int64 (samples, L)`` on the device.
        ``own`` says whether the references begin with the queries."""
        to = self.device
        query, labels, reference, others = (c_f.numpy_to_torch(x).detach().to(to) for x in data)
        if len(query) != len(labels) or len(reference) != len(others):
            raise ValueError(f"embeddings and labels need the same length, got {[*map(len, data)]}")
        if labels.is_floating_point() or others.is_floating_point():
            raise TypeError(f"labels must be integers, got {labels.dtype} and {others.dtype}")
        query, reference, at = query.float(), reference.float(), slice(len(query))
        labels, others = (x.long().view(len(x), *x.shape[1:] or (1,)) for x in (labels, others))
        if own and not (torch.equal(labels, others[at]) and torch.allclose(query, reference[at])):
            raise ValueError("with ref_includes_query, reference must begin with the queries")
        return query, labels, reference, others

    def ranked_values(self, tasks: list[Task], data: Data, own: bool) -> Iterator[list[Tensor]]:
        """To override: for every block, the values of its queries per task, in ``float64``."""
        query, labels, reference, others = data
        num_same = count_same(labels, others)  # including the query itself
        k = min(self.determine_k(num_same, len(reference), own), len(reference) - own)
        others = torch.cat([others, others.amin(dim=0, keepdim=True) - 1])  # index -1: no item
        per_class = copy(self)
        per_class.return_per_class = True
        for rows in torch.arange(len(query)).split(max(1, BLOCK_SIZE // (k + 1))):
            start, rows = int(rows[0]), rows.to(labels.device)
            _, found = self.knn_func(query[rows], k + own, reference, False)
            found = torch.as_tensor(found, device=labels.device)
            if own:  # PML's function leaves out index i of row i
                found = return_results(found, found - start, True)[1] + start
            block = []
            for name, level in tasks:
                at, mask = slice(None) if level < 0 else level, num_same[rows, level] > own
                classes = torch.stack([labels[rows, level], num_same[rows, level]]).unique(dim=1)
                values: Any = getattr(per_class, f"calculate_{name}")(
                    query_labels=labels[rows, at],
                    knn_labels=others[:, at][found],
                    num_partners=num_same[rows, at] - int(own),
                    label_counts=tuple(classes),
                    not_lone_query_mask=mask,
                    ref_includes_query=own,
                )
                if isinstance(values, list):  # the mean of every class that has a value
                    means = torch.tensor(values, dtype=torch.float64, device=mask.device)
                    mask = mask | (len(means) == classes.shape[1])  # or of all classes
                    values = torch.full_like(mask, torch.nan, dtype=torch.float64)
                    values[mask] = means[labels[rows, level][mask].unique(return_inverse=True)[1]]
                values = torch.as_tensor(values).to(mask.device, torch.float64)
                block.append(torch.where(mask, values, torch.nan))
            yield block
