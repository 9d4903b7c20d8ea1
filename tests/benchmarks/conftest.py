import pytest
from small_data import SMALL_SETTINGS, make_small_data, small_request

from benchmarks import suite
from benchmarks.datasets import DATASETS, DatasetEntry
from benchmarks.settings import SETTINGS


@pytest.fixture
def small_dataset(monkeypatch):
    """A data set of the registry, by the name "small", on which a run takes a second."""
    data = make_small_data()
    entry = DatasetEntry("small", "vectors", (0,), False, lambda root: data)
    monkeypatch.setitem(DATASETS, "small", entry)
    monkeypatch.setitem(SETTINGS, "small", SMALL_SETTINGS)
    return data


@pytest.fixture
def make_plan(small_dataset, tmp_path):
    def make(**changes):
        usual = {"losses": ("proxy_anchor", "hpl:proxy_anchor"), "out": tmp_path / "runs"}
        return suite.plan(small_request(**(usual | changes)))

    return make
