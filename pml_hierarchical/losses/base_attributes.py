"""What users reach for on a base loss answers on the hierarchical one too."""

from __future__ import annotations

from typing import Any

import torch
from pytorch_metric_learning.reducers import DoNothingReducer


class BaseLossAttributes(torch.nn.Module):
    """Reads and writes of ``loss.proxies``, ``loss.W``, ``loss.margin``, ... reach the base loss.

    The base loss is that of level 0. A ``distance`` or ``reducer`` is set at every level.
    """

    def __getattr__(self, name: str) -> Any:
        """What is not an attribute of this loss is one of the base loss."""
        try:
            return super().__getattr__(name)
        except AttributeError:
            levels = self.__dict__.get("_modules", {}).get("level_losses")
            if levels is None or name.startswith("_"):
                raise
            return getattr(levels["level0"], name)

    def __setattr__(self, name: str, value: Any) -> None:
        """What is not an attribute of this loss is set on the base loss, if it has it."""
        levels = self.__dict__.get("_modules", {}).get("level_losses")
        if levels is None or name.startswith("_"):
            super().__setattr__(name, value)
        elif name in ("distance", "reducer"):
            for loss in levels.values():
                setattr(loss, name, value)
            if name == "distance" or self._flat_names or isinstance(value, DoNothingReducer):
                super().__setattr__(name, value)
        elif not self._is_own(name) and hasattr(levels["level0"], name):
            setattr(levels["level0"], name, value)
        else:
            super().__setattr__(name, value)

    def _is_own(self, name: str) -> bool:
        own = (self.__dict__, self._buffers, self._modules)
        return hasattr(type(self), name) or any(name in names for names in own)
