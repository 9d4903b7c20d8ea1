"""Training on all classes of a data set: nothing is held out, and the last epoch is kept."""

from __future__ import annotations

from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ..datasets.base import RetrievalData, Split
from ..run_config import RunConfig
from ..training import Session


class AllClasses(RetrievalData):
    """A data set whose images are all trained on."""

    @classmethod
    def of(cls, data: RetrievalData) -> AllClasses:
        """The same data set."""
        return cls(**{one.name: getattr(data, one.name) for one in fields(data)})

    def split(self, fold: int) -> Split:
        """All images are trained on, whatever the fold."""
        none = np.empty(0, np.int64)
        return Split(np.arange(len(self.labels)), none, none)


@dataclass(frozen=True)
class WholeConfig(RunConfig):
    """A training run without folds."""

    @property
    def name(self) -> str:
        """The loss alone."""
        return self.loss.name


class WholeSession(Session):
    """A session without validation. The learning rate decays to 0, so the last epoch is the best
    guess there is.
    """

    def validate(self, trainer: Any) -> None:
        """Nothing is left to validate on."""

    def best_epoch(self) -> None:
        """No epoch is selected."""

    def start_again(self, different: str) -> None:
        """Refuse to: training on all classes takes long.

        Raises:
            FileExistsError: with what differs.
        """
        raise other_settings(self.folder.parent, different)


def other_settings(folder: Path, different: str) -> FileExistsError:
    """The error for a folder with an unfinished training run with other settings."""
    return FileExistsError(
        f"{folder} holds an unfinished training with other settings ({different}): give the same "
        "settings to continue it, delete that folder, or choose another --out"
    )


def class_means(session: Session) -> torch.Tensor:
    """The mean direction of the training images of each class, ``(C, embedding_size)``."""
    models = session.trainer.models
    embeddings, labels = session.tester.get_all_embeddings(
        session.images("train")["train"], models["trunk"], models["embedder"]
    )
    return means_of_classes(embeddings.cpu(), labels[:, 0].cpu())


def means_of_classes(embeddings: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """The mean of the directions of the embeddings of each class, of length 1.

    Arguments:
        embeddings: ``(n, embedding_size)``.
        labels: integers of shape ``(n,)``; the classes are numbered in their order.
    """
    classes, rows = labels.unique(return_inverse=True)
    sums = embeddings.new_zeros(len(classes), embeddings.shape[1])
    sums.index_add_(0, rows, torch.nn.functional.normalize(embeddings))
    return torch.nn.functional.normalize(sums)
