"""One loss of PML for each level of the hierarchy."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from pytorch_metric_learning.losses import BaseMetricLossFunction

from .proxy_access import ProxyLayout, hold_fixed, layout_of, size_argument

_FINE_LEVEL_ONLY = (
    "weight_regularizer",
    "weight_reg_weight",
    "embedding_regularizer",
    "embedding_reg_weight",
)


class LevelLossFactory:
    """Makes the loss of a level, of any number of classes.

    Arguments:
        base_loss: a class of proxy losses, or a callable that takes ``num_classes``,
            ``embedding_size`` and the settings by keyword and returns such a loss.
        embedding_size: of all levels.
        kwargs: the settings of all levels; regularizers go to the finest alone.
        level_kwargs: for each level the settings that are its own, regularizers included.
        is_learned: whether the coarse proxies stay parameters.
    """

    def __init__(
        self,
        base_loss: Callable[..., BaseMetricLossFunction],
        embedding_size: int,
        kwargs: Mapping[str, Any],
        level_kwargs: Sequence[Mapping[str, Any]],
        is_learned: bool,
    ) -> None:
        self.base_loss = base_loss
        self.size_argument = size_argument(base_loss)
        self.embedding_size = embedding_size
        self.kwargs = dict(kwargs)
        self.level_kwargs = tuple(level_kwargs)
        self.is_learned = is_learned

    def make(self, level: int, num_classes: int) -> BaseMetricLossFunction:
        """A new loss with proxies as the base loss draws them."""
        settings = {**self._settings(level), **self.level_kwargs[level]}
        settings[self.size_argument] = self.embedding_size
        if level == 0:
            loss = self.base_loss(num_classes=num_classes, **settings)
            layout_of(loss, num_classes)
            return loss
        # A script sees the same random numbers whether it uses the base loss or the hierarchical
        # one: coarse losses leave the generator as it was.
        with torch.random.fork_rng(devices=[]):
            loss = self.base_loss(num_classes=num_classes, **settings)
        layout = layout_of(loss, num_classes)
        if not self.is_learned:
            hold_fixed(loss, layout)
        return loss

    def make_all(self, sizes: Sequence[int]) -> tuple[list[BaseMetricLossFunction], ProxyLayout]:
        """The losses of all levels, finest first, and where their proxies are."""
        losses = [self.make(level, size) for level, size in enumerate(sizes)]
        return losses, layout_of(losses[0], sizes[0])

    def _settings(self, level: int) -> dict[str, Any]:
        if level == 0:
            return self.kwargs
        return {key: value for key, value in self.kwargs.items() if key not in _FINE_LEVEL_ONLY}
