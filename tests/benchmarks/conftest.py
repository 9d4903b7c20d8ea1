import numpy as np
import pytest
from small_data import SMALL_SETTINGS, make_small_data, small_request

from benchmarks import suite
from benchmarks.datasets import DATASETS, DatasetEntry
from benchmarks.settings import SETTINGS


def pytest_configure(config):
    config.addinivalue_line("markers", "umap: a test of UMAP itself, which takes long to compile")


@pytest.fixture(autouse=True)
def _quick_maps(request, monkeypatch):
    """The two directions with the largest variance, where it does not matter what a map shows."""

    def project(embeddings):
        centred = embeddings - embeddings.mean(axis=0)
        directions = np.linalg.svd(centred, full_matrices=False)[2][:2]
        return (centred @ directions.T).astype(np.float32)

    if request.node.get_closest_marker("umap") is None:
        monkeypatch.setattr("benchmarks.report.embedding_map.project", project)


@pytest.fixture
def small_dataset(monkeypatch):
    """A data set of the registry, by the name "small", on which a run takes a second."""
    data = make_small_data()
    entry = DatasetEntry("small", "vectors", (0,), lambda root: data)
    monkeypatch.setitem(DATASETS, "small", entry)
    monkeypatch.setitem(SETTINGS, "small", SMALL_SETTINGS)
    return data


@pytest.fixture
def make_plan(small_dataset, tmp_path):
    def make(**changes):
        usual = {"losses": ("proxy_anchor", "hpl:proxy_anchor"), "out": tmp_path / "runs"}
        return suite.plan(small_request(**(usual | changes)))

    return make
