"""Random configurations against PML's own losses in float64: the value, every gradient, and the
gradient of a gradient.
"""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from bases import BASES
from hypothesis import given, settings
from hypothesis import strategies as st
from pytorch_metric_learning import distances, miners, reducers, regularizers
from torch.nn.functional import normalize

from pml_hierarchical.losses import HierarchicalProxyLoss

SIZES = (11, 6, 4, 2)
C, D, B = SIZES[0], 5, 14

# Moderate scales: with a scale of 64, rounding in half precision alone changes a gradient by half.
MODERATE = {
    "ProxyAnchorLoss": {"alpha": 6, "margin": 0.15},
    "ProxyNCALoss": {"softmax_scale": 3},
    "NormalizedSoftmaxLoss": {"temperature": 0.3},
    "ArcFaceLoss": {"scale": 5, "margin": 20},
    "CosFaceLoss": {"scale": 5, "margin": 0.2},
    "SubCenterArcFaceLoss": {"scale": 5, "margin": 20},
    "SoftTripleLoss": {"la": 4, "gamma": 0.5},
    "LargeMarginSoftmaxLoss": {"scale": 1, "margin": 3},
    "SphereFaceLoss": {"scale": 3, "margin": 3},
}
DISTANCES = {
    "cosine": distances.CosineSimilarity,
    "dot": lambda: distances.DotProductSimilarity(normalize_embeddings=False),
    "l2": lambda: distances.LpDistance(power=2),
    "l1 of unnormalised": lambda: distances.LpDistance(normalize_embeddings=False, p=1),
}
TAKES_DISTANCE = {
    "ProxyAnchorLoss": list(DISTANCES),
    "ProxyNCALoss": list(DISTANCES),
    "NormalizedSoftmaxLoss": list(DISTANCES),
    "SoftTripleLoss": ["cosine", "dot"],
}
REDUCERS = {
    "mean": reducers.MeanReducer,
    "sum": reducers.SumReducer,
    "class weighted": lambda: reducers.ClassWeightedReducer(torch.linspace(0.1, 1, C)),
    "per anchor": reducers.PerAnchorReducer,
    "average of non-zero": reducers.AvgNonZeroReducer,
    "threshold": lambda: reducers.ThresholdReducer(low=0.4, high=3.0),
}
COUNTING = ("average of non-zero", "threshold")  # which elements count hangs on their last digits
REGULARIZED = {
    "weights": {"weight_regularizer": regularizers.LpRegularizer(), "weight_reg_weight": 0.2},
    "embeddings": {"embedding_regularizer": regularizers.LpRegularizer(power=2)},
}
LABELS = {
    "uint8": lambda labels: labels.to(torch.uint8),
    "int16": lambda labels: labels.to(torch.int16),
    "int32": lambda labels: labels.int(),
    "int64": lambda labels: labels,
    "list": lambda labels: labels.tolist(),
    "numpy int32": lambda labels: labels.int().numpy(),
    "numpy uint16": lambda labels: labels.numpy().astype(np.uint16),
    "every second": lambda labels: labels.repeat_interleave(2)[::2],
}
LAYOUTS = {
    "contiguous": lambda values: values.clone(),
    "transposed": lambda values: values.t().contiguous().t(),
    "every second column": lambda values: values.repeat_interleave(2, dim=1)[:, ::2],
    "one row expanded": lambda values: values[:1].expand(B, D),
}
TYPES = [  # of embeddings and proxies, beside equal ones
    (torch.float64, torch.float32),
    (torch.float32, torch.float64),
    (torch.float16, torch.float32),
    (torch.bfloat16, torch.float32),
    (torch.bfloat16, torch.bfloat16),
    (torch.float16, torch.float64),
]
# Relative to the largest entry of a gradient.
TOLERANCES = {torch.float64: 1e-9, torch.float32: 2e-4, torch.float16: 2e-2, torch.bfloat16: 0.12}


@st.composite
def configurations(draw: Any) -> SimpleNamespace:
    """Up to three departures from the defaults: more of them hide each other."""
    departures = ["types", "autocast", "engine", "distance", "reducer", "miner", "regularizer"]
    departs = draw(st.lists(st.sampled_from([*departures, "margin"]), max_size=3, unique=True))

    def pick_from(name: str, values: Any, default: Any = None) -> Any:
        values = list(values)
        return draw(st.sampled_from(values)) if name in departs and values else default

    pick = SimpleNamespace()
    pick.name = draw(st.sampled_from(list(BASES)))
    pick.num_levels = draw(st.integers(1, 4))
    pick.num_given = draw(st.integers(1, pick.num_levels))
    weights = st.sampled_from([0.0, 0.3, 1.0, 1.7])
    of_levels = {"min_size": pick.num_levels, "max_size": pick.num_levels}
    pick.weights = draw(st.lists(weights, **of_levels).filter(any))
    pick.coarse_proxies = draw(st.sampled_from(["fixed", "live", "learned"]))
    # P2SGrad checks the lengths of its proxies to 1e-5, which half precision passes by luck
    types = TYPES[:2] if pick.name == "P2SGradLoss" else TYPES
    plain = draw(st.sampled_from([torch.float32, torch.float64]))
    pick.embeddings, pick.proxies = pick_from("types", types, (plain, plain))
    pick.autocast = "autocast" in departs
    pick.engine = "pml" if "engine" in departs else None
    pick.distance = pick_from("distance", TAKES_DISTANCE.get(pick.name, ()))
    exact = not pick.autocast and {pick.embeddings, pick.proxies} <= {torch.float32, torch.float64}
    pick.reducer = pick_from("reducer", [r for r in REDUCERS if exact or r not in COUNTING])
    pick.miner = pick_from("miner", ["triplets", "pairs", "nothing"])
    regularized = () if pick.name == "P2SGradLoss" else REGULARIZED  # which takes none
    pick.regularizer = pick_from("regularizer", regularized)
    pick.margin_of_level_1 = "margin" in departs and pick.name in ("ProxyAnchorLoss", "CosFaceLoss")
    pick.labels = draw(st.sampled_from(list(LABELS)))
    pick.layout = draw(st.sampled_from(list(LAYOUTS)))
    pick.seed = draw(st.integers(0, 10**6))
    return pick


def settings_of(pick: SimpleNamespace, level: int = 0) -> dict[str, Any]:
    """The settings of the base loss at a level, as new objects."""
    found = {**BASES[pick.name].kwargs, **MODERATE.get(pick.name, {})}
    if pick.distance is not None:
        found["distance"] = DISTANCES[pick.distance]()
    of_fine_classes = pick.reducer == "class weighted"  # whose numbers mean others above
    if pick.reducer is not None and not (of_fine_classes and level > 0):
        found["reducer"] = REDUCERS[pick.reducer]()
    if pick.regularizer is not None and level == 0:
        found |= REGULARIZED[pick.regularizer]
    if level == 1:
        found |= level_kwargs_of(pick).get(1, {})
    return found


def level_kwargs_of(pick: SimpleNamespace) -> dict[int, dict[str, Any]]:
    return {1: {"margin": 0.05}} if pick.margin_of_level_1 and pick.num_levels > 1 else {}


def tree_of(pick: SimpleNamespace) -> np.ndarray:
    """The labels of the classes at the given levels."""
    rng = np.random.default_rng(pick.seed)
    table = [np.arange(C)]
    for size in SIZES[1 : pick.num_given]:
        below = int(table[-1].max()) + 1
        parents = rng.permutation(np.r_[np.arange(size), rng.integers(size, size=below - size)])
        table.append(parents[table[-1]])
    return np.stack(table, axis=1)


def ours_of(pick: SimpleNamespace) -> HierarchicalProxyLoss:
    """The loss after an update, its fine proxies (and those that are learned) moved since then."""
    base = BASES[pick.name]
    loss_func = HierarchicalProxyLoss(
        C,
        D,
        base_loss=base.loss_class,
        hierarchy=tree_of(pick),
        num_superclasses=SIZES[pick.num_given : pick.num_levels],
        level_weights=pick.weights if pick.num_levels > 1 else 1.0,
        coarse_proxies=pick.coarse_proxies,
        recluster_every=None,
        coarse_scale=1,
        level_kwargs=level_kwargs_of(pick),
        engine=pick.engine,
        **settings_of(pick),
    ).to(pick.proxies)
    pick.proxies_at_update = stored(loss_func, base, 0).double()
    loss_func.recluster()
    with torch.no_grad():
        for proxies in loss_func.parameters():
            proxies += 0.3 * torch.randn_like(proxies)
            if pick.name == "P2SGradLoss":
                proxies.copy_(normalize(proxies.double(), dim=0))
    return loss_func


def stored(loss_func: HierarchicalProxyLoss, base: Any, level: int) -> torch.Tensor:
    return getattr(loss_func.level_loss(level), base.attribute).detach().clone()


def means(pick: SimpleNamespace, fine: torch.Tensor, labels: torch.Tensor, size: int) -> Any:
    """The proxies of a coarse level, as PML's loss stores them, one class at a time."""
    base = BASES[pick.name]
    rows = fine if base.class_dim == 0 else fine.t()
    by_distance = pick.name in ("ProxyAnchorLoss", "ProxyNCALoss", "SoftTripleLoss")
    is_unnormalised = by_distance and pick.distance in ("dot", "l1 of unnormalised")
    if base.direction_only and not is_unnormalised:
        rows = normalize(rows)
    vectors = rows.reshape(C, base.centers, D).mean(dim=1)
    found = torch.stack([vectors[labels == node].mean(dim=0) for node in range(size)])
    if pick.name == "P2SGradLoss":
        found = normalize(found)
    found = found.repeat_interleave(base.centers, dim=0)
    return found if base.class_dim == 0 else found.t()


class OfPml:
    """The weighted sum of PML's losses, one for each level, with the proxies of ours."""

    def __init__(
        self, pick: SimpleNamespace, ours: Any, dtype: torch.dtype = torch.float64
    ) -> None:
        base, self.pick, self.ours, labels = BASES[pick.name], pick, ours, ours.class_labels
        self.losses = [
            base.make(size, D, **settings_of(pick, n)) for n, size in enumerate(ours.sizes)
        ]
        trained = range(pick.num_levels if pick.coarse_proxies == "learned" else 1)
        self.leaves = [stored(ours, base, level).to(dtype).requires_grad_() for level in trained]
        is_live = pick.coarse_proxies == "live"
        fine = self.leaves[0] if is_live else pick.proxies_at_update.to(dtype)
        rest = list(enumerate(ours.sizes))[len(trained) :]
        fixed = [means(pick, fine, labels[:, level], size) for level, size in rest]
        self.proxies = [*self.leaves, *fixed]

    def to(self, dtype: torch.dtype) -> OfPml:
        return OfPml(self.pick, self.ours, dtype)

    def __call__(self, embeddings: torch.Tensor, labels: torch.Tensor, pairs: Any) -> torch.Tensor:
        weights = self.pick.weights if self.pick.num_levels > 1 else [1]
        table, total = self.ours.class_labels[labels].t(), torch.zeros((), dtype=embeddings.dtype)
        for loss, proxies, of_level, weight in zip(
            self.losses, self.proxies, table, weights, strict=True
        ):
            own = {BASES[self.pick.name].attribute: proxies}
            inputs = (embeddings, of_level, pairs)
            total = total + weight * torch.func.functional_call(loss, own, inputs)
        return total


def pairs_of(pick: SimpleNamespace, labels: torch.Tensor) -> Any:
    if pick.miner == "triplets":
        return tuple(torch.randint(B, (3, 9)))
    if pick.miner == "pairs":
        return miners.MultiSimilarityMiner()(torch.randn(B, D), labels)
    return (torch.zeros(0, dtype=torch.int64),) * 3 if pick.miner == "nothing" else None


def assert_near(found: Any, expected: Any, tolerance: float, by_pml: Any) -> None:
    """Relative to the largest of all entries; or twice as far away as PML is in the same types,
    whose Proxy-NCA for example rounds small exponentials to zero.
    """
    scale = max([0.01, *[float(one.detach().abs().max()) for one in expected]])
    for one, theirs, same in zip(found, expected, by_pml, strict=True):
        distance, of_pml = (
            float((values.detach().double() - theirs.detach()).abs().max())
            for values in (one, same)
        )
        assert distance <= tolerance * scale + 2 * of_pml, (distance, scale, of_pml)


def gradients_of(value: torch.Tensor, inputs: list[torch.Tensor]) -> Any:
    return torch.autograd.grad(
        value, inputs, create_graph=True, allow_unused=True, materialize_grads=True
    )


@given(configurations())
@settings(max_examples=250, derandomize=True, database=None)
def test_value_and_gradients_are_those_of_pml_in_float64(pick: SimpleNamespace) -> None:
    torch.manual_seed(pick.seed)
    loss_func = ours_of(pick)
    embeddings = LAYOUTS[pick.layout](torch.randn(B, D).to(pick.embeddings)).requires_grad_()
    labels = torch.randint(C, (B,))
    given_labels, pairs = LABELS[pick.labels](labels), pairs_of(pick, labels)
    exact, theirs = embeddings.detach().double().requires_grad_(), OfPml(pick, loss_func)

    same = theirs.to(pick.proxies if pick.autocast else pick.embeddings)
    same_inputs = [embeddings.detach().clone().requires_grad_(), *same.leaves]
    with torch.autocast("cpu", torch.bfloat16, enabled=pick.autocast):
        try:
            by_pml = same(same_inputs[0], labels, pairs)
            gradients_by_pml = gradients_of(by_pml, same_inputs)
        except (AssertionError, NotImplementedError, RuntimeError, ValueError) as error:
            with pytest.raises(type(error)):  # what PML cannot compute, or not in this type
                loss_func(embeddings, given_labels, pairs).backward()
            return
        found = loss_func(embeddings, given_labels, pairs)

    types = [pick.embeddings, pick.proxies, *[torch.bfloat16] * pick.autocast]
    tolerance = max(TOLERANCES[one] for one in types)
    expected = theirs(exact, labels, pairs)
    assert_near([found], [expected], tolerance, [by_pml])
    inputs, wanted_inputs = [embeddings, *loss_func.parameters()], [exact, *theirs.leaves]
    if pick.num_levels > 1:  # with one level, it is the loss of PML, which casts its proxies
        assert all(one.dtype == pick.proxies for one in inputs[1:])
    gradients, wanted = gradients_of(found, inputs), gradients_of(expected, wanted_inputs)
    assert [one.dtype for one in gradients] == [one.dtype for one in inputs]
    assert_near(gradients, wanted, tolerance, gradients_by_pml)

    if types == [torch.float64] * 2:
        found, expected = (sum(one.square().sum() for one in g) for g in (gradients, wanted))
        assert found.requires_grad == expected.requires_grad
        if expected.requires_grad:
            gradients, wanted = gradients_of(found, inputs), gradients_of(expected, wanted_inputs)
            assert_near(gradients, wanted, 1e-6, wanted)
