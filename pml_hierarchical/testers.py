"""What the plugin adds to the tester of the core, and retrieval inside the right superclass."""

from __future__ import annotations

from collections.abc import Sequence
from copy import copy
from math import isnan, nan
from statistics import fmean
from typing import Any

import torch
from pytorch_metric_learning.utils import common_functions
from torch import Tensor
from tqdm import tqdm

from .accuracy import HierarchicalAccuracyCalculator
from .accuracy.inputs import with_ancestors
from .core import hierarchical_tester as core


class HierarchicalTester(core.HierarchicalTester):
    """PML's ``GlobalEmbeddingSpaceTester``, which here ranks once for all levels.

    Records are named as PML names them: ``precision_at_1_level0`` and, where several levels are
    evaluated, ``AVERAGE_precision_at_1``. Metrics over the hierarchy have no level; they see all
    levels of the labels, whichever ``label_hierarchy_level`` asks for.

    ``HookContainer`` picks the best epoch by its ``primary_metric``, the name of a metric without
    a level: by its average where several levels are evaluated, by ``primary_level`` if that is
    given, and for a metric over the hierarchy by its one value. It takes the largest: name
    ``neg_mistake_severity`` rather than ``mistake_severity``, where smaller is better.

    Arguments:
        accuracy_calculator: a :class:`HierarchicalAccuracyCalculator`; by default one with all
            metrics but NMI and AMI, which run k-means.
        label_hierarchy_level: a level, a list of levels, or ``"all"``.
        primary_level: the level that ``HookContainer`` looks at; by default the average.
        progress_bar: whether to show one while the data set is embedded.
        **kwargs: those of PML's ``GlobalEmbeddingSpaceTester``.

    Raises ``TypeError`` for another kind of calculator, and ``ValueError`` if ``primary_level`` is
    not evaluated, or ``HookContainer`` asks a calculator with ``return_per_class`` for a number.

    >>> samples = [(torch.eye(4)[i // 2], torch.tensor([i // 2, i // 4])) for i in range(8)]
    >>> calculator = HierarchicalAccuracyCalculator(include=("recall_at_1",))
    >>> options = {"dataloader_num_workers": 0, "progress_bar": False, "label_hierarchy_level": 0}
    >>> tester = HierarchicalTester(accuracy_calculator=calculator, **options)
    >>> tester.test({"val": samples}, epoch=1, trunk_model=torch.nn.Identity())["val"]
    {'epoch': 1, 'recall_at_1_level0': 1.0}
    """

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
        kwargs |= {"accuracy_calculator": accuracy_calculator}
        super().__init__(*args, label_hierarchy_level=label_hierarchy_level, **kwargs)
        self.primary_level, self.progress_bar = primary_level, progress_bar

    def initialize_accuracy_calculator(self) -> None:
        """Called by PML's constructor."""
        if self.accuracy_calculator is None:
            self.accuracy_calculator = HierarchicalAccuracyCalculator(exclude=("NMI", "AMI"))
        if not isinstance(self.accuracy_calculator, HierarchicalAccuracyCalculator):
            raise TypeError(
                f"{type(self).__name__} needs a HierarchicalAccuracyCalculator, which takes the "
                f"same arguments as PML's, got {type(self.accuracy_calculator).__name__}"
            )

    def compute_all_embeddings(
        self, dataloader: Any, trunk_model: torch.nn.Module, embedder_model: torch.nn.Module
    ) -> tuple[Tensor, Tensor]:
        """Embeddings and labels of a data set; as in PML; the progress bar can be turned off."""
        embeddings, labels = [], []
        with torch.no_grad():
            for batch in tqdm(dataloader, "embedding", disable=not self.progress_bar):
                inputs, label = self.data_and_label_getter(batch)
                label = common_functions.process_label(label, "all", self.label_mapper)
                labels.append(label.reshape(len(label), -1).to(self.data_device))
                found = self.get_embeddings_for_eval(trunk_model, embedder_model, inputs)
                embeddings.append(found.to(self.data_device))
        return torch.cat(embeddings), torch.cat(labels)

    def maybe_visualize(self, embeddings_and_labels: dict[str, Any], epoch: int) -> None:
        """As in PML, for all levels that are evaluated; called by PML's ``test``."""
        tree, found = self.accuracy_calculator.hierarchy, {}
        for split, (embeddings, labels) in embeddings_and_labels.items() if self.visualizer else ():
            found[split] = embeddings, torch.from_numpy(with_ancestors(labels, "labels", tree))
        super().maybe_visualize(found, epoch)

    def calculate_average_accuracies(
        self, accuracies: dict[str, Any], metrics: Sequence[str], label_levels: Sequence[int]
    ) -> None:
        """PML's averages over the levels, for the metrics that are numbers."""
        if not self.accuracy_calculator.return_per_class:
            for name in metrics:
                values = [accuracies[f"{name}_level{level}"] for level in label_levels]
                accuracies[f"AVERAGE_{name}"] = sum(values) / len(values)

    def accuracies_keyname(
        self, metric: str, label_hierarchy_level: Any = 0, average: bool = False
    ) -> str:
        """The name of a record; ``HookContainer`` asks for those of its ``primary_metric``."""
        if average and self.accuracy_calculator.return_per_class:
            raise ValueError(
                f"HookContainer picks the best epoch by one number, but with return_per_class "
                f"{metric!r} is a list with one per class: use a calculator with avg_of_avgs=True"
            )
        if average and self.primary_level is not None:
            label_hierarchy_level, average = self.primary_level, False
        return super().accuracies_keyname(metric, label_hierarchy_level, average)

    def label_levels_to_evaluate(self, query_labels: Tensor) -> list[int]:
        """The levels to evaluate; the calculator's hierarchy may add levels to the labels."""
        tree, wanted = self.accuracy_calculator.hierarchy, self.label_hierarchy_level
        known = range(query_labels.shape[1] if tree is None else tree.num_levels)
        levels = [*known] if wanted == "all" else [wanted] if isinstance(wanted, int) else [*wanted]
        if not set(levels) <= set(known):
            wrong = f"label_hierarchy_level={wanted!r}"
            raise ValueError(f"{wrong}, but the labels have the levels 0..{known[-1]}")
        if self.primary_level is not None and self.primary_level not in levels:
            wrong = f"primary_level={self.primary_level} is not among the levels to evaluate"
            raise ValueError(f"{wrong}, {levels}")
        return levels


class SameParentTester(HierarchicalTester):
    """Retrieval inside the right superclass: PML's ``WithSameParentLabelTester``.

    At every level but the coarsest, a query is compared only with the references of the same
    parent, and a metric is the mean over the parents. Parents without a query that has a partner
    are left out (PML's number is NaN there). Metrics over the hierarchy are not defined inside a
    parent and are not computed. Arguments: those of :class:`HierarchicalTester`; ``ValueError`` if
    no level has a level above it, or for ``return_per_class``: the parents' lists have no mean.
    """

    def initialize_accuracy_calculator(self) -> None:
        """Called by PML's constructor."""
        super().initialize_accuracy_calculator()
        if self.accuracy_calculator.return_per_class:
            raise ValueError("SameParentTester averages over parents: return_per_class must be off")

    def do_knn_and_accuracies(
        self, accuracies: dict[str, Any], embeddings_and_labels: dict[str, Any], *splits: Any
    ) -> None:
        """Evaluate a split; called by PML's ``test``."""
        found = self.set_reference_and_query(embeddings_and_labels, *splits)
        query, reference, tree = found[0], found[2], self.accuracy_calculator.hierarchy
        labels, others = (
            torch.from_numpy(with_ancestors(x, "labels", tree)).to(x.device) for x in found[1::2]
        )
        levels = self.label_levels_to_evaluate(labels)
        self.label_levels = [level for level in levels if level < labels.shape[1] - 1]
        if not self.label_levels:
            raise ValueError(
                f"label_hierarchy_level={self.label_hierarchy_level!r} names no level with a "
                f"parent; the labels have {labels.shape[1]} levels"
            )
        calculator, includes = copy(self.accuracy_calculator), self.ref_includes_query(*splits)
        calculator.hierarchy = None  # within a parent there is one level of labels
        whole = calculator.over_hierarchy()
        names = [name for name in calculator.get_curr_metrics() if name not in whole]
        if not names:
            raise ValueError(f"{whole} are over the hierarchy: include a metric of single levels")
        for level in self.label_levels:
            per_parent = []
            for parent in labels[:, level + 1].unique():
                mine, same = labels[:, level + 1] == parent, others[:, level + 1] == parent
                if same.any():
                    data = (query[mine], labels[mine, level], reference[same], others[same, level])
                    per_parent.append(calculator.get_accuracy(*data, includes, exclude=whole))
            for metric in names:
                values = [found[metric] for found in per_parent if not isnan(found[metric])]
                accuracies[f"{metric}_level{level}"] = fmean(values) if values else nan
        if len(self.label_levels) > 1:
            self.calculate_average_accuracies(accuracies, names, self.label_levels)
