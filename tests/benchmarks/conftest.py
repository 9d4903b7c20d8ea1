import pytest
from small_data import SMALL_SETTINGS, make_small_data

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
        arguments = {
            "dataset": "small",
            "data_root": None,
            "losses": ["proxy_anchor", "hpl:proxy_anchor"],
            "seeds": [0],
            "folds": None,
            "epochs": None,
            "out": tmp_path / "runs",
            "device": "cpu",
        }
        return suite.plan(**(arguments | changes))

    return make
