"""How well a clustering of the embeddings agrees with the labels."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from pytorch_metric_learning.utils.inference import FaissKMeans
from sklearn.metrics import adjusted_mutual_info_score, normalized_mutual_info_score
from torch import Tensor

KMeansFunction = Callable[[Tensor, int], Tensor]


def nmi(query_labels: np.ndarray, cluster_labels: np.ndarray) -> float:
    """Mutual information normalised by the mean entropy: Vinh et al., JMLR 2010."""
    return float(normalized_mutual_info_score(query_labels, cluster_labels))


def ami(query_labels: np.ndarray, cluster_labels: np.ndarray) -> float:
    """Mutual information adjusted for chance: Vinh et al., JMLR 2010."""
    return float(adjusted_mutual_info_score(query_labels, cluster_labels))


CLUSTERING_METRICS: dict[str, Callable[..., float]] = {"NMI": nmi, "AMI": ami}


def default_kmeans(device: torch.device) -> KMeansFunction:
    """The k-means of PML's ``AccuracyCalculator``: by faiss, 20 iterations."""
    return FaissKMeans(niter=20, gpu=device.type == "cuda")


def cluster(embeddings: Tensor, labels: np.ndarray, kmeans_func: KMeansFunction) -> np.ndarray:
    """Cluster the embeddings into as many clusters as there are labels.

    Arguments:
        embeddings: of shape ``(num_samples, embedding_size)``.
        labels: of shape ``(num_samples,)``.
        kmeans_func: of PML's interface: embeddings and a number of clusters in, the cluster of
            every sample out.

    Returns:
        The clusters, integers of shape ``(num_samples,)``.
    """
    return kmeans_func(embeddings, len(np.unique(labels))).cpu().numpy()
