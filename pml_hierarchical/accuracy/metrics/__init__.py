"""Pure functions on ranked lists: usable alone, and all that the calculator computes."""

from .flat import (
    average_precision,
    average_precision_at_r,
    precision_at_k,
    r_precision,
    recall_at_k,
    reciprocal_rank,
)
from .hierarchical import (
    average_set_intersection,
    count_levels,
    hierarchical_average_precision,
    ndcg,
)
from .hierarchical_precision import hierarchical_precision_area, hierarchical_precision_at_k
from .severity import mistake_severity, mistake_severity_at_k

__all__ = [
    "average_precision",
    "average_precision_at_r",
    "average_set_intersection",
    "count_levels",
    "hierarchical_average_precision",
    "hierarchical_precision_area",
    "hierarchical_precision_at_k",
    "mistake_severity",
    "mistake_severity_at_k",
    "ndcg",
    "precision_at_k",
    "r_precision",
    "recall_at_k",
    "reciprocal_rank",
]
