"""What is searched for one loss, and what its trials depend on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from ..datasets.base import RetrievalData
from ..losses import LossSpec
from ..request import RunRequest
from ..run_config import RunConfig
from ..settings import TrainingSettings
from .space import Space
from .suggesting import bounded_space, default_values, extent_of
from .trials import check_search

FOLDER = "tuning"  # apart from the runs of `run`, which are tested


@dataclass(frozen=True)
class Search:
    """What is searched for one loss.

    Attributes:
        request: says on what data set, seed and folds a trial is trained and judged.
        loss: with the settings that it has without a search.
        settings: of the training, as without a search.
        trials: how many there are, the first with the settings that need no search.
    """

    request: RunRequest
    loss: LossSpec
    settings: TrainingSettings
    trials: int

    @property
    def dataset(self) -> str:
        """A name in ``DATASETS``."""
        return self.request.source.dataset

    @property
    def folds(self) -> tuple[int, ...]:
        """The folds on whose validation classes a trial is judged."""
        return self.request.folds or ()

    @property
    def seed(self) -> int:
        """The seed of training and of the search."""
        return self.request.seeds[0]

    @property
    def folder(self) -> Path:
        """Where the trials of the loss are."""
        return self.request.out / FOLDER / self.dataset / self.loss.name.replace(":", "-")

    @property
    def iterations(self) -> int:
        """The number of iterations of a trial."""
        return len(self.folds) * self.settings.iterations

    @property
    def judged_from(self) -> int:
        """The epoch of the first fold before which no trial is ended early."""
        return self.settings.first_selectable_epoch()

    def trial_folder(self, number: int) -> Path:
        """Where the runs of a trial are."""
        return self.folder / f"trial{number:03d}"

    def runs(self, loss: LossSpec, settings: TrainingSettings) -> list[RunConfig]:
        """The runs of a trial, one per fold."""
        return [
            RunConfig(
                self.dataset,
                loss,
                self.seed,
                fold,
                settings,
                self.request.source.skip_broken,
                self.request.source.backbone,
                self.request.training_workers,
            )
            for fold in self.folds
        ]


@dataclass(frozen=True)
class Planned:
    """A search on a data set that is there: its space and its first trial.

    Attributes:
        search: what is searched.
        space: with plain numbers.
        defaults: the values of the first trial.
        images: the fingerprint of the data set.
    """

    search: Search
    space: Space
    defaults: Mapping[str, Any]
    images: str

    @classmethod
    def on(cls, search: Search, data: RetrievalData, images: str) -> Planned:
        """The search on a data set with this fingerprint."""
        extent = extent_of(data, search.folds, search.settings)
        return cls(
            search,
            bounded_space(search.loss, search.settings, extent),
            default_values(search.loss, search.settings, extent),
            images,
        )

    @cached_property
    def identity(self) -> dict[str, Any]:
        """Everything that its trials depend on, which does not include the number of trials."""
        (run, *_) = self.search.runs(self.search.loss, self.search.settings)
        described = run.to_dict()
        del described["fold"]
        return {
            **described,
            "folds": list(self.search.folds),
            "space": [asdict(parameter) for parameter in self.space],
            "defaults": dict(self.defaults),
            "images": self.images,
        }

    def check(self) -> None:
        """Refuse a folder with another search.

        Raises:
            ValueError: naming what differs.
        """
        check_search(self.search.folder, self.identity)
