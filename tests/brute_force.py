"""Every metric once more: one query at a time, in plain Python floats, straight from the formulas.

A ranked list is a list of levels, nearest first: how many levels each item shares with the query.
"""

import itertools
import math

import numpy as np


def ranked_lists(query, query_labels, reference, reference_labels, includes_query=False):
    """For every query its list, by Euclidean distance in float64 and then by index."""
    query, reference = (np.asarray(x, dtype=np.float64) for x in (query, reference))
    lists = []
    for i, vector in enumerate(query):
        distances = ((reference - vector) ** 2).sum(axis=1)
        order = sorted(range(len(reference)), key=lambda j: (distances[j], j))
        lists.append(
            [
                int((query_labels[i] == reference_labels[j]).sum())
                for j in order
                if not (includes_query and j == i)
            ]
        )
    return lists


def precision_at_k(levels, k, at_least):
    return sum(level >= at_least for level in levels[:k]) / k


def recall_at_k(levels, k, at_least):
    return float(any(level >= at_least for level in levels[:k]))


def r_precision(levels, at_least):
    return precision_at_k(levels, sum(level >= at_least for level in levels), at_least)


def average_precision(levels, at_least, at_r=False):
    num_relevant = sum(level >= at_least for level in levels)
    last = num_relevant if at_r else len(levels)
    precisions = [
        precision_at_k(levels, rank, at_least)
        for rank in range(1, last + 1)
        if levels[rank - 1] >= at_least
    ]
    return sum(precisions) / num_relevant


def reciprocal_rank(levels, at_least):
    return 1 / next(rank for rank, level in enumerate(levels, 1) if level >= at_least)


def hierarchical_average_precision(levels, num_levels, alpha=1.0):
    def rel(level):
        return (level / num_levels) ** alpha / levels.count(level)

    related = [(rank, level) for rank, level in enumerate(levels, 1) if level > 0]
    total = 0.0
    for rank, level in related:
        above = [min(rel(level), rel(other)) for r, other in related if r < rank]
        total += (rel(level) + sum(above)) / rank
    return total / sum(rel(level) for _, level in related)


def average_set_intersection(levels, num_levels):
    ideal = sorted(levels, reverse=True)
    num_related = sum(level > 0 for level in levels)
    total = 0.0
    for k in range(1, num_related + 1):
        shared = [min(levels[:k].count(v), ideal[:k].count(v)) for v in range(1, num_levels + 1)]
        total += sum(shared) / k
    return total / num_related


def ndcg(levels):
    def dcg(ranking):
        return sum((2**v - 1) / math.log2(1 + rank) for rank, v in enumerate(ranking, 1))

    return dcg(levels) / dcg(sorted(levels, reverse=True))


def hierarchical_precision_at_k(levels, k):
    return sum(levels[:k]) / sum(sorted(levels, reverse=True)[:k])


def hierarchical_precision_area(levels, k):
    curve = [hierarchical_precision_at_k(levels, i) for i in range(1, k + 1)]
    if k == 1:
        return curve[0]
    return sum((a + b) / 2 for a, b in itertools.pairwise(curve)) / (k - 1)


def mistake_severity(levels, num_levels):
    height = num_levels - levels[0]
    return height if height > 0 else math.nan


def mistake_severity_at_k(levels, num_levels, k):
    return sum(num_levels - level for level in levels[:k]) / k


def mean(values):
    values = [value for value in values if not math.isnan(value)]
    return sum(values) / len(values) if values else math.nan


def all_metrics(lists, num_levels, ks=(1, 10, 100)):
    """What the calculator returns, but for NMI and AMI, from the lists of all the queries."""
    result = {}
    for level in range(num_levels):
        least = num_levels - level
        kept = [x for x in lists if any(v >= least for v in x)]
        values = {f"recall_at_{k}": [recall_at_k(x, k, least) for x in kept] for k in ks}
        values["precision_at_1"] = [precision_at_k(x, 1, least) for x in kept]
        values["r_precision"] = [r_precision(x, least) for x in kept]
        values["mean_average_precision_at_r"] = [average_precision(x, least, True) for x in kept]
        values["mean_average_precision"] = [average_precision(x, least) for x in kept]
        values["mean_reciprocal_rank"] = [reciprocal_rank(x, least) for x in kept]
        result |= {f"{name}_level{level}": mean(v) for name, v in values.items()}
    related = [x for x in lists if any(x)]
    fine = [x for x in lists if num_levels in x]
    size = len(lists[0])
    of_hierarchy = {
        "hierarchical_average_precision": [
            hierarchical_average_precision(x, num_levels) for x in related
        ],
        "average_set_intersection": [average_set_intersection(x, num_levels) for x in related],
        "ndcg": [ndcg(x) for x in related],
        "hierarchical_precision_area_at_250": [
            hierarchical_precision_area(x, min(250, size)) for x in related
        ],
        "mistake_severity": [mistake_severity(x, num_levels) for x in fine],
    }
    for k in ks:
        of_hierarchy[f"hierarchical_precision_at_{k}"] = [
            hierarchical_precision_at_k(x, k) for x in related
        ]
        of_hierarchy[f"mistake_severity_at_{k}"] = [
            mistake_severity_at_k(x, num_levels, min(k, size)) for x in fine
        ]
    return result | {name: mean(values) for name, values in of_hierarchy.items()}
