"""The examples in the docstrings run."""

import doctest
import importlib
import pkgutil

import pytest
import torch

import pml_hierarchical
from pml_hierarchical.accuracy import metrics

MODULES = [
    module.name
    for module in pkgutil.walk_packages(pml_hierarchical.__path__, "pml_hierarchical.")
    if not module.name.endswith("__main__")
]


@pytest.mark.parametrize("name", MODULES)
def test_examples(name):
    module = importlib.import_module(name)
    # examples use torch, and those of the losses the names of their own package
    namespace = dict(vars(module), losses=pml_hierarchical.losses, torch=torch)
    assert doctest.testmod(module, globs=namespace).failed == 0


def test_every_metric_has_an_example():
    for name in metrics.__all__:
        assert ">>>" in getattr(metrics, name).__doc__, name
