"""Evaluation: every metric at every level, in one exact pass and bounded memory."""

from . import metrics
from .calculator import HierarchicalAccuracyCalculator

__all__ = ["HierarchicalAccuracyCalculator", "metrics"]
