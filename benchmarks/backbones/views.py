"""Random crops of pictures that are the same every time."""

from __future__ import annotations

import numpy as np
import torch
from torch.utils.data import Dataset

from .pictures import Pictures

VIEW_SEED = 0  # of all views, whatever the seed of a run is: one cache serves all runs


class View(Dataset[torch.Tensor]):
    """One random view of each of some pictures, which depends on nothing but their position.

    Arguments:
        pictures: with a random transform, which draws from torch's global generator. The generator
            is left as it was.
        view: the number of the view, from 0.
        seed: of all views.
    """

    def __init__(self, pictures: Pictures, view: int, seed: int = VIEW_SEED) -> None:
        self.pictures = pictures
        self.view = view
        self.seed = seed

    def __len__(self) -> int:
        return len(self.pictures)

    def __getitem__(self, index: int) -> torch.Tensor:
        sequence = np.random.SeedSequence([self.seed, self.view, index])
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(int(sequence.generate_state(1, np.uint64)[0]))
            return self.pictures[index]
