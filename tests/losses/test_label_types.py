"""Integer labels of every type, on every way through the loss, against PML's losses of int64."""

import copy

import numpy as np
import pytest
import torch
from pytorch_metric_learning import losses, miners, reducers

from pml_hierarchical import Hierarchy
from pml_hierarchical.losses import HierarchicalProxyLoss

C, D, B = 6, 4, 6
PARENTS = torch.tensor([0, 0, 0, 1, 1, 1])
TREE = Hierarchy.from_parents([PARENTS.tolist()])
WEIGHTS = (1.0, 0.5)

KINDS = {
    "uint8": lambda labels: labels.to(torch.uint8),
    "int8": lambda labels: labels.to(torch.int8),
    "int16": lambda labels: labels.to(torch.int16),
    "int32": lambda labels: labels.int(),
    "list": lambda labels: labels.tolist(),
    "numpy uint8": lambda labels: labels.numpy().astype(np.uint8),
    "numpy uint16": lambda labels: labels.numpy().astype(np.uint16),
}
WAYS = {
    "fast path": {},
    "PML": {"engine": "pml"},
    "reducer": {"reducer": reducers.SumReducer()},
    "live": {"coarse_proxies": "live"},
    "one level": {"hierarchy": Hierarchy.flat(C)},
    "one level, reducer": {"hierarchy": Hierarchy.flat(C), "reducer": reducers.SumReducer()},
    "miner": {},
    "autocast": {},
}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("kind", KINDS)
def test_same_value_and_gradients_as_of_int64(kind, way):
    torch.manual_seed(0)
    settings = {"hierarchy": TREE, "level_weights": WEIGHTS, "warmup": 0, **WAYS[way]}
    if "one level" in way:
        del settings["level_weights"]
    loss_func = HierarchicalProxyLoss(C, D, losses.CosFaceLoss, **settings)
    loss_func.recluster()
    embeddings, labels = torch.randn(B, D, requires_grad=True), torch.arange(B) % C
    pairs = miners.MultiSimilarityMiner()(embeddings, labels) if way == "miner" else None
    levels = [copy.deepcopy(loss) for loss in loss_func.level_losses.values()]
    classes = (labels, PARENTS[labels])
    with torch.autocast("cpu", dtype=torch.bfloat16, enabled=way == "autocast"):
        found = loss_func(embeddings, KINDS[kind](labels), pairs)
        values = [
            weight * level(embeddings, of_level, pairs)
            for weight, level, of_level in zip(WEIGHTS, levels, classes, strict=False)
        ]
    torch.testing.assert_close(found, sum(values))
    wanted = torch.autograd.grad(sum(values), embeddings)
    if way == "live":  # the fine proxies' part of the gradient is in test_levels
        loss_func.zero_grad()
    torch.testing.assert_close(torch.autograd.grad(found, embeddings), wanted)
