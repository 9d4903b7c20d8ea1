"""Results of validated runs as ``result.json`` has them, with known numbers and no training."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

MAP = "mean_average_precision_at_r_level"


def made_up_result(
    loss: str, seed: int, fold: int, by_level: Sequence[float], severity: float = 1.5
) -> dict[str, Any]:
    """A run whose second epoch is the best; ``by_level`` is its MAP@R there."""
    return {
        "config": {"loss": loss, "seed": seed, "fold": fold, "loss_settings": {}},
        "seconds": 2.0,
        "update_seconds": 0.004 if ":" in loss else None,
        "sizes": [24, 5],
        "best_epoch": 2,
        "validation": {
            "epoch": [1, 2],
            "precision_at_1_level0": [0.1, 0.9],
            **{f"{MAP}{level}": [0.1, value] for level, value in enumerate(by_level)},
            "hierarchical_average_precision": [0.1, 0.3],
            "average_set_intersection": [0.1, 0.2],
            "mistake_severity": [2.0, severity],
        },
    }
