"""Coarse proxies as the means of the proxies of their member classes."""

from __future__ import annotations

from typing import Any

import torch

from .proxy_access import class_vectors, direction_only, stored_form


def means_of_members(vectors: torch.Tensor, labels: torch.Tensor, size: int) -> torch.Tensor:
    """The mean vector of each superclass, of shape ``(size, embedding_size)``; differentiable.

    Arguments:
        vectors: one for each fine class, ``(num_classes, embedding_size)``.
        labels: the superclass of each, ``int64`` of shape ``(num_classes,)``; all occur.
        size: how many superclasses there are.

    Example:
        >>> vectors = torch.tensor([[1.0], [3.0], [5.0]])
        >>> means_of_members(vectors, torch.tensor([0, 0, 1]), 2).tolist()
        [[2.0], [5.0]]
    """
    sums = vectors.new_zeros(size, vectors.shape[1])
    counts = vectors.new_zeros(size, 1)
    counts.index_add_(0, labels, counts.new_ones(len(labels), 1))
    return sums.index_add(0, labels, vectors) / counts


def live_proxies(loss_func: Any) -> dict[int, torch.Tensor]:
    """The proxies of every coarse level as means of the fine ones now, in the form that the losses
    of the levels store; gradients flow through them to the fine proxies. None where the loss does
    not take live proxies, or not yet.
    """
    if loss_func.coarse_proxies != "live" or not loss_func.is_active:
        return {}
    layout, fine = loss_func.layout, loss_func.level_loss(0)
    vectors = class_vectors(fine, layout)
    live = {}
    for level in range(1, len(loss_func.sizes)):
        labels = loss_func.class_labels[:, level]
        means = means_of_members(vectors, labels, loss_func.sizes[level])
        if direction_only(fine, layout):  # P2SGrad would do so behind autograd's back
            means = torch.nn.functional.normalize(means)
        live[level] = stored_form(means, loss_func.level_loss(level), layout)
    return live
