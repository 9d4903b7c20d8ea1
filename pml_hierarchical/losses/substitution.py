"""Calls of a PML loss with other proxies than its own, or with its own left as they are."""

from __future__ import annotations

from typing import Any

import torch


def call_with(
    loss_func: Any,
    attribute: str,
    proxies: torch.Tensor | None,
    inputs: tuple[torch.Tensor, torch.Tensor, Any],
) -> Any:
    """The loss of ``(embeddings, labels, indices_tuple)``, without a cast of its parameters.

    PML's losses cast their own proxies, for good, to what the embeddings are (half, say). Here the
    loss sees a cast copy instead, and the gradient flows back to the parameter. Under autocast it
    is the embeddings that are cast: autocast itself chooses what is computed in less precision.

    Arguments:
        loss_func: a proxy loss of PML.
        attribute: where its proxies are.
        proxies: what it shall see in their place, in the form in which it stores them; ``None``
            for its own.
        inputs: as of its ``forward``.
    """
    embeddings, labels, indices_tuple = inputs
    stored = getattr(loss_func, attribute)
    wanted = stored if proxies is None else proxies
    if torch.is_autocast_enabled(embeddings.device.type):
        embeddings = embeddings.to(wanted.dtype)
    seen = wanted.to(embeddings.device, embeddings.dtype)
    if seen is stored:
        return loss_func(embeddings, labels, indices_tuple)
    return torch.func.functional_call(
        loss_func, {attribute: seen}, (embeddings, labels, indices_tuple)
    )


def logits_with(
    loss_func: Any,
    attribute: str,
    proxies: torch.Tensor | None,
    embeddings: torch.Tensor,
) -> torch.Tensor:
    """As :func:`call_with`, of the logits of a loss."""
    logits: torch.Tensor
    if proxies is None:
        logits = loss_func.get_logits(embeddings)
        return logits
    logits = torch.func.functional_call(
        _Logits(loss_func), {f"loss_func.{attribute}": proxies.to(embeddings)}, (embeddings,)
    )
    return logits


class _Logits(torch.nn.Module):
    """``get_logits`` as a ``forward``, which is what ``functional_call`` calls."""

    def __init__(self, loss_func: Any) -> None:
        super().__init__()
        self.loss_func = loss_func

    def forward(self, embeddings: torch.Tensor) -> torch.Tensor:
        """The logits."""
        logits: torch.Tensor = self.loss_func.get_logits(embeddings)
        return logits
