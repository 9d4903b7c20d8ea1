"""One run: a loss trained by PML's trainer, selected on validation, evaluated on unseen classes."""

from .helping import help_to_train
from .session import (
    HIERARCHY_NAMES,
    METRIC_NAMES,
    OBJECTIVE,
    Session,
    Stop,
    evaluate_untrained,
    selected,
)
from .testing import train
from .tree import training_tree
from .validation import train_and_validate

__all__ = [
    "HIERARCHY_NAMES",
    "METRIC_NAMES",
    "OBJECTIVE",
    "Session",
    "Stop",
    "evaluate_untrained",
    "help_to_train",
    "selected",
    "train",
    "train_and_validate",
    "training_tree",
]
