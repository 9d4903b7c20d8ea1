"""The examples in the docstrings run."""

import doctest
import importlib
import pkgutil

import pytest

import pml_hierarchical.accuracy

MODULES = [
    module.name
    for module in pkgutil.walk_packages(
        pml_hierarchical.accuracy.__path__, "pml_hierarchical.accuracy."
    )
]


@pytest.mark.parametrize(
    "name", [*MODULES, "pml_hierarchical.testers", "pml_hierarchical.evaluate"]
)
def test_examples(name):
    assert doctest.testmod(importlib.import_module(name)).failed == 0


def test_every_metric_has_an_example():
    for name in pml_hierarchical.accuracy.metrics.__all__:
        assert ">>>" in getattr(pml_hierarchical.accuracy.metrics, name).__doc__, name
