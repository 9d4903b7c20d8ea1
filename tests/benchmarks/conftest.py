import numpy as np
import pytest
import torch
from PIL import Image

from benchmarks import suite
from benchmarks.datasets import DATASETS, DatasetEntry
from benchmarks.datasets.base import RetrievalData
from benchmarks.settings import SETTINGS, TrainingSettings


def make_small_data() -> RetrievalData:
    """32 classes of 8 features vectors each, in 8 groups and 2 kinds; and pictures of them."""
    generator = torch.Generator().manual_seed(0)
    fine = torch.arange(256) % 32
    labels = torch.stack([fine, fine // 4, fine // 16], dim=1).numpy()
    centres = torch.randn(32, 12, generator=generator)
    inputs = centres[fine] + 0.6 * torch.randn(256, 12, generator=generator)
    return RetrievalData(
        name="small",
        inputs=inputs,
        labels=labels,
        level_names=("class", "group", "kind"),
        class_names=tuple(
            tuple(f"{name} {i}" for i in range(count))
            for name, count in (("class", 32), ("group", 8), ("kind", 2))
        ),
        untrained=inputs.numpy(),
        untrained_name="raw features",
        picture=lambda i: Image.fromarray(np.full((8, 8), i % 256, dtype=np.uint8)),
    )


@pytest.fixture
def small_dataset(monkeypatch):
    """A data set of the registry, by the name "small", on which a run takes a second."""
    data = make_small_data()
    entry = DatasetEntry("small", "vectors", (0,), False, lambda root: data)
    monkeypatch.setitem(DATASETS, "small", entry)
    monkeypatch.setitem(
        SETTINGS,
        "small",
        TrainingSettings(
            embedding_size=8,
            epochs=3,
            iterations_per_epoch=4,
            batch_size=16,
            samples_per_class=4,
            learning_rate=1e-2,
            weight_decay=1e-4,
            losses={"hpl": {"warmup": 4, "recluster_every": 2}},
        ),
    )
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
