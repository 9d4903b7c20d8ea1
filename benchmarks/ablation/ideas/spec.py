"""A loss with an idea, as the suite describes losses."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields
from functools import partial
from typing import Any

import torch

from ...losses import LossSpec
from . import IDEAS
from .experimental_loss import ExperimentalLoss


@dataclass(frozen=True)
class IdeaSpec(LossSpec):
    """A hierarchical loss that is changed by an idea.

    Attributes:
        idea: its name in ``IDEAS``.
        amount: how much of it there is.
        idea_rate: the learning rate of its parameters, if it has any.
    """

    idea: str = ""
    amount: float = 0.0
    idea_rate: float = 0.0

    @classmethod
    def of(cls, spec: LossSpec, idea: str, amount: float, idea_rate: float) -> IdeaSpec:
        """The spec of a hierarchical loss, with an idea."""
        own = {one.name: getattr(spec, one.name) for one in fields(spec)}
        return cls(**own, idea=idea, amount=amount, idea_rate=idea_rate)

    def settings(self) -> dict[str, Any]:
        """See :class:`LossSpec`."""
        return {**super().settings(), "idea": self.idea, "amount": self.amount}

    @property
    def hierarchical_class(self) -> Callable[..., Any]:
        """See :class:`LossSpec`."""
        return partial(ExperimentalLoss, IDEAS[self.idea](self.amount))

    def parameter_groups(self, loss: torch.nn.Module) -> list[dict[str, Any]]:
        """See :class:`LossSpec`."""
        assert isinstance(loss, ExperimentalLoss)
        own = list(loss.idea.parameters())
        ids = {id(parameter) for parameter in own}
        groups = super().parameter_groups(loss)
        for group in groups:
            group["params"] = [one for one in group["params"] if id(one) not in ids]
        return groups + [{"params": own, "lr": self.idea_rate}] * bool(own)
