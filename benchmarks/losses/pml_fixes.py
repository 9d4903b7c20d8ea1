"""Fixes for losses of PML 2.9 that do not train, or cannot be resumed, as they are."""

from __future__ import annotations

from typing import Any

import torch
from pytorch_metric_learning.utils import common_functions as c_f
from pytorch_metric_learning.utils import loss_and_miner_utils as lmu

from pml_hierarchical import losses


class CrossBatchMemory(losses.CrossBatchMemory):
    """PML's, with its position in the queue as part of its state, so that it can be resumed."""

    def get_extra_state(self) -> dict[str, Any]:
        """What PML keeps besides the buffers."""
        return {"queue_idx": self.queue_idx, "has_been_filled": self.has_been_filled}

    def set_extra_state(self, state: dict[str, Any]) -> None:
        """Take what :meth:`get_extra_state` returned."""
        self.queue_idx = state["queue_idx"]
        self.has_been_filled = state["has_been_filled"]


class DynamicSoftMarginLoss(losses.DynamicSoftMarginLoss):
    """PML's, with a histogram that can be kept from one training step to the next.

    PML's holds the graph of earlier batches, so that the second ``backward()`` fails, and has
    no bin for the largest differences. The histogram only weighs the triplets here, and belongs
    to the state.
    """

    def __init__(
        self, min_val: float = -2.0, num_bins: int = 10, momentum: float = 0.01, **kwargs: Any
    ) -> None:
        super().__init__(min_val=min_val, num_bins=num_bins, momentum=momentum, **kwargs)
        del self.hist_
        # one edge more than bins, and one to the right of a difference of exactly -min_val
        self.register_buffer("hist_", torch.zeros(self.num_bins + 2))

    def update_histogram(self, data: torch.Tensor) -> None:
        """Count the differences of a batch: floats of shape ``(num_triplets,)``."""
        super().update_histogram(data.detach())


class IntraPairVarianceLoss(losses.MultipleLosses):
    """The loss beside the tuplet margin loss, as its authors use it; alone it separates nothing.

    Arguments:
        margin, scale: of ``TupletMarginLoss``.
        pos_eps, neg_eps: of PML's ``IntraPairVarianceLoss``.
        weight: of the latter.
    """

    def __init__(
        self,
        margin: float = 5.73,
        scale: float = 64.0,
        pos_eps: float = 0.01,
        neg_eps: float = 0.01,
        weight: float = 0.5,
    ) -> None:
        tuplet = losses.TupletMarginLoss(margin=margin, scale=scale)
        variance = losses.IntraPairVarianceLoss(pos_eps=pos_eps, neg_eps=neg_eps)
        super().__init__(
            {"tuplet": tuplet, "variance": variance}, weights={"tuplet": 1.0, "variance": weight}
        )


class SmoothAPLoss(losses.SmoothAPLoss):
    """PML's, on batches of any number of classes and of samples, in any order.

    PML's takes the number of samples of each class for the number of classes: it is right only
    where the two are equal and the batch is ordered by class.
    """

    def compute_loss(
        self,
        embeddings: torch.Tensor,
        labels: torch.Tensor,
        indices_tuple: Any,
        ref_emb: torch.Tensor,
        ref_labels: torch.Tensor,
    ) -> dict[str, Any]:
        """PML's ``loss_dict`` with 1 - AP for each embedding as the query."""
        c_f.labels_required(labels)
        c_f.ref_not_supported(embeddings, labels, ref_emb, ref_labels)
        similarities = self.distance(embeddings)
        is_positive = labels[:, None] == labels[None, :]  # as in PML, the query is one of them
        # for query q, how far j is before i: (q, i, j)
        before = torch.sigmoid(
            (similarities[:, None, :] - similarities[:, :, None]) / self.temperature
        )
        before = before * (1 - torch.eye(len(labels), device=before.device, dtype=before.dtype))
        rank = 1 + before.sum(dim=2)
        rank_among_positives = 1 + (before * is_positive[:, None, :]).sum(dim=2)
        precision = rank_among_positives / rank * is_positive
        average = precision.sum(dim=1) / is_positive.sum(dim=1)
        weights = lmu.convert_to_weights(indices_tuple, labels, dtype=average.dtype)
        return {
            "ap_loss": {
                "losses": (1 - average) * weights,
                "indices": c_f.torch_arange_from_size(average),
                "reduction_type": "element",
            }
        }

    def _sub_loss_names(self) -> list[str]:
        return ["ap_loss"]
