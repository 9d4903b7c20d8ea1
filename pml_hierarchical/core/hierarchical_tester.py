"""``HierarchicalTester``: PML's ``GlobalEmbeddingSpaceTester`` with one search for all levels."""

from typing import Any

from pytorch_metric_learning.testers import GlobalEmbeddingSpaceTester

from .hierarchical_accuracy_calculator import HierarchicalAccuracyCalculator


class HierarchicalTester(GlobalEmbeddingSpaceTester):
    """PML's ``GlobalEmbeddingSpaceTester`` on a :class:`HierarchicalAccuracyCalculator`.

    Records are named as PML names them: ``precision_at_1_level0`` and, where several levels are
    evaluated, ``AVERAGE_precision_at_1``. Metrics over the hierarchy have no level and no average;
    they see all levels of the labels, whichever ``label_hierarchy_level`` asks for. The default
    calculator leaves out NMI and AMI, which run k-means."""

    accuracy_calculator: Any

    def initialize_accuracy_calculator(self) -> None:
        """Called by PML's constructor."""
        if self.accuracy_calculator is None:
            self.accuracy_calculator = HierarchicalAccuracyCalculator(exclude=("NMI", "AMI"))

    def do_knn_and_accuracies(
        self, accuracies: dict[str, Any], embeddings_and_labels: dict[str, Any], *splits: Any
    ) -> None:
        """Evaluate the query split against the reference splits; called by PML's ``test``."""
        arguments = self.set_reference_and_query(embeddings_and_labels, *splits)
        self.label_levels = list(self.label_levels_to_evaluate(arguments[1]))
        calculator, includes = self.accuracy_calculator, self.ref_includes_query(*splits)
        accuracies.update(calculator.get_accuracy(*arguments, includes, levels=self.label_levels))
        if len(self.label_levels) > 1:
            names = sorted({*calculator.get_curr_metrics()} - {*calculator.over_hierarchy()})
            self.calculate_average_accuracies(accuracies, names, self.label_levels)

    def accuracies_keyname(self, metric: str, *args: Any, **kwargs: Any) -> str:
        """The name of a record; ``HookContainer`` asks for those of its ``primary_metric``."""
        has_no_level = metric in self.accuracy_calculator.over_hierarchy()
        return metric if has_no_level else str(super().accuracies_keyname(metric, *args, **kwargs))
