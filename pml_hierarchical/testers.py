"""PML's testers for every level of a hierarchy, in one embedding pass and one neighbour pass."""

from __future__ import annotations

from collections.abc import Sequence
from copy import copy
from math import isnan, nan
from statistics import fmean
from typing import Any

import torch
from pytorch_metric_learning.testers import GlobalEmbeddingSpaceTester
from pytorch_metric_learning.utils import common_functions
from torch import Tensor
from tqdm import tqdm

from .accuracy import HierarchicalAccuracyCalculator


class HierarchicalTester(GlobalEmbeddingSpaceTester):
    """PML's ``GlobalEmbeddingSpaceTester`` that ranks once for all the levels.

    Records are named as PML names them: ``precision_at_1_level0`` and, where several levels are
    evaluated, ``AVERAGE_precision_at_1``. Metrics over the hierarchy have no level; they see all
    levels of the labels, whichever ``label_hierarchy_level`` asks for.

    ``HookContainer`` picks the best epoch by its ``primary_metric``, the name of a metric without
    a level: by its average where several levels are evaluated, by ``primary_level`` if that is
    given, and for a metric over the hierarchy by its one value. It takes the largest: name
    ``neg_mistake_severity`` rather than ``mistake_severity``, of which less is better.

    Arguments:
        accuracy_calculator: a :class:`HierarchicalAccuracyCalculator`; by default one with all
            metrics but NMI and AMI, which run k-means.
        label_hierarchy_level: a level, a list of levels, or ``"all"``.
        primary_level: the level that ``HookContainer`` looks at; by default the average.
        progress_bar: whether embedding the data set draws one.
        **kwargs: of PML's ``GlobalEmbeddingSpaceTester``.

    Raises:
        TypeError: for a calculator of another kind, which evaluates one level at a time.
        ValueError: if ``primary_level`` is not among the levels to evaluate.

    Example:
        >>> import torch
        >>> samples = [(torch.eye(4)[i // 2], torch.tensor([i // 2, i // 4])) for i in range(8)]
        >>> tester = HierarchicalTester(
        ...     label_hierarchy_level="all",
        ...     accuracy_calculator=HierarchicalAccuracyCalculator(include=("precision_at_1",)),
        ...     dataloader_num_workers=0,
        ...     progress_bar=False,
        ... )
        >>> tester.test({"val": samples}, epoch=1, trunk_model=torch.nn.Identity())["val"]
        {'epoch': 1, 'precision_at_1_level0': 1.0, 'precision_at_1_level1': 1.0, 'AVERAGE_precision_at_1': 1.0}
    """  # noqa: E501

    accuracy_calculator: HierarchicalAccuracyCalculator
    label_levels: list[int]

    def __init__(
        self,
        *args: Any,
        accuracy_calculator: HierarchicalAccuracyCalculator | None = None,
        label_hierarchy_level: int | Sequence[int] | str = "all",
        primary_level: int | None = None,
        progress_bar: bool = True,
        **kwargs: Any,
    ) -> None:
        super().__init__(
            *args,
            accuracy_calculator=accuracy_calculator,
            label_hierarchy_level=label_hierarchy_level,
            **kwargs,
        )
        self.primary_level = primary_level
        self.progress_bar = progress_bar

    def initialize_accuracy_calculator(self) -> None:
        """Called by PML's constructor."""
        if self.accuracy_calculator is None:
            self.accuracy_calculator = HierarchicalAccuracyCalculator(exclude=("NMI", "AMI"))
        if not isinstance(self.accuracy_calculator, HierarchicalAccuracyCalculator):
            raise TypeError(
                "HierarchicalTester needs a HierarchicalAccuracyCalculator, which takes the same "
                f"arguments as PML's, got {type(self.accuracy_calculator).__name__}"
            )

    def compute_all_embeddings(
        self, dataloader: Any, trunk_model: torch.nn.Module, embedder_model: torch.nn.Module
    ) -> tuple[Tensor, Tensor]:
        """Embeddings and labels of a data set; as PML's, with a progress bar that can be silent."""
        embeddings, labels = [], []
        with torch.no_grad():
            for batch in tqdm(dataloader, "embedding", disable=not self.progress_bar):
                inputs, label = self.data_and_label_getter(batch)
                label = common_functions.process_label(label, "all", self.label_mapper)
                labels.append(label.reshape(len(label), -1).to(self.data_device))
                embeddings.append(
                    self.get_embeddings_for_eval(trunk_model, embedder_model, inputs).to(
                        self.data_device
                    )
                )
        return torch.cat(embeddings), torch.cat(labels)

    def do_knn_and_accuracies(
        self,
        accuracies: dict[str, Any],
        embeddings_and_labels: dict[str, tuple[Tensor, Tensor]],
        query_split_name: str,
        reference_split_names: list[str],
    ) -> None:
        """Evaluate a split; called by PML's ``test``."""
        query, query_labels, reference, reference_labels = self.set_reference_and_query(
            embeddings_and_labels, query_split_name, reference_split_names
        )
        self.label_levels = self._levels(query_labels)
        found = self.accuracy_calculator.get_accuracy(
            query,
            query_labels,
            reference,
            reference_labels,
            self.ref_includes_query(query_split_name, reference_split_names),
            levels=self.label_levels,
        )
        accuracies.update(found)
        self._add_averages(accuracies)

    def accuracies_keyname(
        self, metric: str, label_hierarchy_level: Any = 0, average: bool = False
    ) -> str:
        """The name of a record; ``HookContainer`` asks for those of its ``primary_metric``."""
        if not self.accuracy_calculator.is_per_level(metric):
            return metric
        if average and self.primary_level is not None:
            label_hierarchy_level, average = self.primary_level, False
        return str(super().accuracies_keyname(metric, label_hierarchy_level, average))

    def _levels(self, labels: Tensor) -> list[int]:
        """The levels to evaluate, which a hierarchy of the calculator may add to the labels."""
        hierarchy = self.accuracy_calculator.hierarchy
        available = labels.shape[1] if hierarchy is None else hierarchy.num_levels
        wanted = self.label_hierarchy_level
        if isinstance(wanted, str):
            levels = list(range(available))
        else:
            levels = [wanted] if isinstance(wanted, int) else list(wanted)
        if not all(0 <= level < available for level in levels):
            raise ValueError(
                f"label_hierarchy_level={wanted!r}, but the labels have the levels "
                f"0..{available - 1}"
            )
        if self.primary_level is not None and self.primary_level not in levels:
            raise ValueError(
                f"primary_level={self.primary_level} is not among the levels to evaluate, {levels}"
            )
        return levels

    def _add_averages(self, accuracies: dict[str, Any]) -> None:
        """PML's average over the levels, of the metrics that have levels and are numbers."""
        if len(self.label_levels) == 1 or self.accuracy_calculator.return_per_class:
            return
        for metric in self._metrics():
            values = [accuracies[f"{metric}_level{level}"] for level in self.label_levels]
            accuracies[f"AVERAGE_{metric}"] = sum(values) / len(values)

    def _metrics(self) -> list[str]:
        """The metrics that have levels."""
        calculator = self.accuracy_calculator
        return [name for name in calculator.get_curr_metrics() if calculator.is_per_level(name)]


class SameParentTester(HierarchicalTester):
    """Retrieval inside the right superclass: PML's ``WithSameParentLabelTester``.

    At every level but the coarsest, a query is compared with the references of the same parent
    alone, and a metric is the mean over the parents. Parents without a query that has a partner
    are left out (PML's number is NaN there). Metrics over the hierarchy have no place here and
    are not computed.

    Arguments:
        *args: as in :class:`HierarchicalTester`.
        **kwargs: as in :class:`HierarchicalTester`.

    Raises:
        ValueError: if no level has a level above it, or for a calculator with
            ``return_per_class``: the parents' lists have no mean.
    """

    def initialize_accuracy_calculator(self) -> None:
        """Called by PML's constructor."""
        super().initialize_accuracy_calculator()
        if self.accuracy_calculator.return_per_class:
            raise ValueError("SameParentTester averages over parents: return_per_class must be off")

    def do_knn_and_accuracies(
        self,
        accuracies: dict[str, Any],
        embeddings_and_labels: dict[str, tuple[Tensor, Tensor]],
        query_split_name: str,
        reference_split_names: list[str],
    ) -> None:
        """Evaluate a split; called by PML's ``test``."""
        query, query_labels, reference, reference_labels = self.set_reference_and_query(
            embeddings_and_labels, query_split_name, reference_split_names
        )
        query_labels, reference_labels = map(self._all_levels, (query_labels, reference_labels))
        self.label_levels = [
            level for level in self._levels(query_labels) if level < query_labels.shape[1] - 1
        ]
        if not self.label_levels:
            raise ValueError(
                f"label_hierarchy_level={self.label_hierarchy_level!r} names no level with a "
                f"parent; the labels have {query_labels.shape[1]} levels"
            )
        calculator = copy(self.accuracy_calculator)
        calculator.hierarchy = None  # within a parent there is one level of labels
        names = calculator.get_curr_metrics()
        over_hierarchy = [name for name in names if not calculator.is_per_level(name)]
        for level in self.label_levels:
            per_parent = []
            for parent in query_labels[:, level + 1].unique():
                mine = query_labels[:, level + 1] == parent
                others = reference_labels[:, level + 1] == parent
                if others.any():
                    found = calculator.get_accuracy(
                        query[mine],
                        query_labels[mine, level],
                        reference[others],
                        reference_labels[others, level],
                        self.ref_includes_query(query_split_name, reference_split_names),
                        exclude=over_hierarchy,
                    )
                    per_parent.append(found)
            for metric in self._metrics():
                values = [found[metric] for found in per_parent if not isnan(found[metric])]
                accuracies[f"{metric}_level{level}"] = fmean(values) if values else nan
        self._add_averages(accuracies)

    def _all_levels(self, labels: Tensor) -> Tensor:
        hierarchy = self.accuracy_calculator.hierarchy
        if hierarchy is None:
            return labels
        levels = [hierarchy.ancestors(labels[:, 0], n) for n in range(hierarchy.num_levels)]
        return torch.stack(levels, dim=1)
