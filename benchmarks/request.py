"""What a command was asked for: plain values that any process can be handed."""

from __future__ import annotations

import warnings
from dataclasses import dataclass, field
from pathlib import Path

from .backbones import DEFAULT_BACKBONE, BackboneChoice
from .datasets import load_dataset
from .datasets.base import RetrievalData, left_out_files
from .given_settings import GivenSettings
from .settings import FULL


@dataclass(frozen=True)
class DataSource:
    """Where every process reads the data set from.

    Attributes:
        dataset: a name in ``DATASETS``.
        data_root: where the data set is, for those that are read from a folder.
        skip_broken: leave out missing and broken images instead of refusing them.
        backbone: the network that the images go through.
        device: where features are computed and networks are trained, as torch names it.
        all_train: whether the images of the test classes are trained on, too.
        workers: processes that load images, for features and for training on the images
            themselves; 0 for none but the one that needs them.
    """

    dataset: str
    data_root: Path | None = None
    skip_broken: bool = False
    backbone: BackboneChoice = DEFAULT_BACKBONE
    device: str = "cpu"
    all_train: bool = False
    workers: int = 0

    @property
    def title(self) -> str:
        """What people call the data set: a folder of one's own has that folder's name."""
        if self.dataset == "folder" and self.data_root is not None:
            return self.data_root.resolve().name or self.dataset
        return self.dataset

    def load(self, warn: bool = False) -> RetrievalData:
        """The data set in memory.

        Arguments:
            warn: whether to say which files ``skip_broken`` left out; only one process does.
        """
        data = load_dataset(
            self.dataset,
            self.data_root,
            self.skip_broken,
            self.backbone,
            self.device,
            self.all_train,
            self.workers,
        )
        if warn and self.skip_broken and data.left_out:
            message = f"{left_out_files(len(data.left_out))} (first {data.left_out[0]})"
            warnings.warn(message, stacklevel=2)
        return data


@dataclass(frozen=True)
class RunRequest:
    """Which runs are asked for; checked by :func:`benchmarks.suite.plan`.

    Attributes:
        source: where the data set is, and on which device.
        losses: their names.
        seeds: of the training runs.
        folds: of the training classes; ``None`` for those of the data set.
        out: the folder of all results.
        regime: how long training is, "full" or "short".
        jobs: how many runs take place at a time.
        given: settings that were chosen for these runs, over those of the data set and of a search.
    """

    source: DataSource
    losses: tuple[str, ...]
    seeds: tuple[int, ...] = (0,)
    folds: tuple[int, ...] | None = None
    out: Path = Path("runs")
    regime: str = FULL
    jobs: int = 1
    given: GivenSettings = field(default_factory=GivenSettings)

    @property
    def training_workers(self) -> int:
        """Workers of each training run: none if it reads activations or features that are kept."""
        backbone = self.source.backbone
        return self.source.workers if backbone.trained and backbone.cut is None else 0

    @property
    def folder(self) -> Path:
        """Where the runs of the data set and their report are."""
        return self.out / self.source.dataset
