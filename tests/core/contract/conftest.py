"""The names that the contract is checked on: of the core's files, the plugin, or a tree of PML.

``CONTRACT=upstream`` is set by ``tests/core/test_upstream.py``, which copies this folder and runs
it in a process that cannot import ``pml_hierarchical``.
"""

from __future__ import annotations

import os
import sys
from importlib import import_module

import pytest
import torch

_UTILS = "pytorch_metric_learning.utils"
MODULES = {  # where each name is
    "core": {
        "HierarchicalProxyLoss": "pml_hierarchical.core.hierarchical_proxy_loss",
        "Hierarchy": "pml_hierarchical.core.hierarchy",
        "ReclusterHook": "pml_hierarchical.core.recluster_hook",
        "HierarchicalAccuracyCalculator": "pml_hierarchical.core.hierarchical_accuracy_calculator",
        "HierarchicalTester": "pml_hierarchical.core.hierarchical_tester",
    },
    "plugin": {
        "HierarchicalProxyLoss": "pml_hierarchical.losses",
        "Hierarchy": "pml_hierarchical",
        "ReclusterHook": "pml_hierarchical.hooks",
        "HierarchicalAccuracyCalculator": "pml_hierarchical.accuracy",
        "HierarchicalTester": "pml_hierarchical.testers",
    },
    "upstream": {
        "HierarchicalProxyLoss": "pytorch_metric_learning.losses",
        "Hierarchy": f"{_UTILS}.hierarchy",
        "ReclusterHook": f"{_UTILS}.recluster_hook",
        "HierarchicalAccuracyCalculator": f"{_UTILS}.hierarchical_accuracy_calculator",
        "HierarchicalTester": "pytorch_metric_learning.testers",
    },
}
IS_UPSTREAM = os.environ.get("CONTRACT") == "upstream"
if IS_UPSTREAM:
    sys.modules["pml_hierarchical"] = None  # type: ignore[assignment]  # an import is an error


class Api:
    """The public names of one implementation, each imported when it is asked for."""

    def __init__(self, places: dict[str, str]) -> None:
        self._places = places

    def __getattr__(self, name: str):
        return getattr(import_module(self._places[name]), name)


@pytest.fixture(params=["upstream"] if IS_UPSTREAM else ["core", "plugin"])
def api(request):
    torch.manual_seed(0)
    return Api(MODULES[request.param])
