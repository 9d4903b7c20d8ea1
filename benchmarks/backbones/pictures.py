"""Pictures as a network takes them, opened one at a time."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch.utils.data import Dataset

from .backbone import Transform


class Pictures(Dataset[torch.Tensor]):
    """Items are ``float32`` tensors ``(3, height, width)``; nothing is kept in memory.

    Arguments:
        items: what pictures are made of, e.g. files.
        open_item: from an item to its picture in RGB. A module-level function, so that workers of
            a ``DataLoader`` can be started by any method.
        transform: from the picture to the tensor. Random ones draw from torch's global generator.
    """

    def __init__(
        self,
        items: Sequence[Any] | np.ndarray,
        open_item: Callable[[Any], Image.Image],
        transform: Transform,
    ) -> None:
        self.items = items
        self.open_item = open_item
        self.transform = transform

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, index: int) -> torch.Tensor:
        return self.transform(self.open_item(self.items[index]))


class LabelledPictures(Dataset[tuple[torch.Tensor, torch.Tensor]]):
    """Some rows of a data set with their labels, for PML's trainers and testers.

    Arguments:
        inputs: a tensor with one row per image of the data set, or its pictures.
        indices: the rows.
        labels: one per row of ``indices``, of shape ``(len(indices),)`` or
            ``(len(indices), levels)``.

    Raises:
        ValueError: if there are not as many labels as rows.
    """

    def __init__(
        self, inputs: torch.Tensor | Dataset[torch.Tensor], indices: np.ndarray, labels: np.ndarray
    ) -> None:
        if len(indices) != len(labels):
            raise ValueError(f"got {len(labels)} labels for {len(indices)} images")
        self.inputs = inputs
        self.indices = np.asarray(indices).tolist()
        self.labels = torch.as_tensor(labels)

    def __len__(self) -> int:
        return len(self.indices)

    def __getitem__(self, index: int) -> tuple[torch.Tensor, torch.Tensor]:
        return self.inputs[self.indices[index]], self.labels[index]
