"""A data set on which a run takes a second; not in conftest, since other processes import it."""

import numpy as np
import torch
from PIL import Image

from benchmarks.datasets.base import RetrievalData
from benchmarks.given_settings import GivenSettings
from benchmarks.request import DataSource, RunRequest
from benchmarks.settings import TrainingSettings

SMALL_SETTINGS = TrainingSettings(
    embedding_size=8,
    epochs=3,
    iterations_per_epoch=4,
    batch_size=16,
    samples_per_class=4,
    learning_rate=1e-2,
    weight_decay=1e-4,
    losses={"hpl": {"recluster_every": 2}},
)


def small_request(out, losses, dataset="small", **changes) -> RunRequest:
    """A request of runs on a small data set.

    ``changes`` are attributes of it, of its source or of what is given of the training.
    """

    def taken(*names):
        return {name: changes.pop(name) for name in names if name in changes}

    source = taken("data_root", "skip_broken", "backbone", "device")
    options = taken("learning_rate", "batch_size", "epochs")
    given = changes.pop("given", GivenSettings()).with_options(**options)
    return RunRequest(DataSource(dataset, **source), tuple(losses), out=out, given=given, **changes)


def make_small_data(num_images: int = 256) -> RetrievalData:
    """32 classes of 8 features vectors each, in 8 groups and 2 kinds; and pictures of them."""
    generator = torch.Generator().manual_seed(0)
    fine = torch.arange(num_images) % 32
    labels = torch.stack([fine, fine // 4, fine // 16], dim=1).numpy()
    centres = torch.randn(32, 12, generator=generator)
    inputs = centres[fine] + 0.6 * torch.randn(num_images, 12, generator=generator)
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
