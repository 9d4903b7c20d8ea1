"""The testers against PML's, and under PML's ``HookContainer``."""

import pickle
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from pytorch_metric_learning.testers import GlobalEmbeddingSpaceTester, WithSameParentLabelTester
from pytorch_metric_learning.utils import logging_presets
from pytorch_metric_learning.utils.accuracy_calculator import AccuracyCalculator

from pml_hierarchical import Hierarchy
from pml_hierarchical.accuracy import HierarchicalAccuracyCalculator
from pml_hierarchical.accuracy.distances import ReferenceDistances
from pml_hierarchical.testers import HierarchicalTester, SameParentTester

NAMES = ("precision_at_1", "r_precision", "mean_average_precision_at_r")
COMMON = {"dataloader_num_workers": 0, "data_device": torch.device("cpu")}


def data_set(seed, num_samples=120, num_levels=3):
    rng = np.random.default_rng(seed)
    fine = rng.integers(0, 24, num_samples)
    labels = np.stack([fine, fine // 4, fine // 12][:num_levels], axis=1)
    centres = np.random.default_rng(0).standard_normal((24, 8))
    inputs = centres[fine] + centres[fine // 4] + rng.standard_normal((num_samples, 8))
    pairs = zip(torch.tensor(inputs).float(), torch.tensor(labels), strict=True)
    return list(pairs)


class Trunk(torch.nn.Identity):
    """Counts the batches that it has embedded, and adds noise where it is told."""

    def __init__(self, noise=None):
        super().__init__()
        self.batches, self.noise = 0, noise

    def forward(self, inputs):
        self.batches += 1
        if self.noise is None:
            return inputs
        return inputs + self.noise * torch.sin(1e3 * inputs)


def ours(tester=HierarchicalTester, include=NAMES, calculator=None, **kwargs):
    calculator = calculator or {}
    return tester(
        accuracy_calculator=HierarchicalAccuracyCalculator(
            include=include, device="cpu", **calculator
        ),
        progress_bar=False,
        **COMMON,
        **kwargs,
    )


def theirs(tester, calculator=None, **kwargs):
    calculator = AccuracyCalculator(include=NAMES, device=torch.device("cpu"), **(calculator or {}))
    return tester(accuracy_calculator=calculator, **COMMON, **kwargs)


SPLITS = [None, [("val", ["train"])], [("val", ["train", "val"]), ("train", ["train"])]]


@pytest.mark.parametrize("level", ["all", [0, 2], [1], 0, 2])
@pytest.mark.parametrize("splits", SPLITS, ids=["self", "apart", "joint"])
def test_records_are_those_of_pml(level, splits):
    sets = {"train": data_set(1), "val": data_set(2, 60)}

    def results(tester):
        fresh = None if splits is None else [(query, list(names)) for query, names in splits]
        return tester.test(sets, 3, torch.nn.Identity(), splits_to_eval=fresh)

    found = results(ours(label_hierarchy_level=level))
    expected = results(theirs(GlobalEmbeddingSpaceTester, label_hierarchy_level=level))
    assert found.keys() == expected.keys()
    for split in expected:
        assert found[split] == pytest.approx(expected[split], abs=1e-6)
        assert found[split].keys() == expected[split].keys()


@pytest.mark.parametrize("level", ["all", [0, 1], 1])
@pytest.mark.parametrize("splits", SPLITS, ids=["self", "apart", "joint"])
def test_retrieval_inside_the_parent_is_that_of_pml(level, splits):
    sets = {"train": data_set(1), "val": data_set(2)}

    def results(tester):
        fresh = None if splits is None else [(query, list(names)) for query, names in splits]
        return tester.test(sets, 3, torch.nn.Identity(), splits_to_eval=fresh)

    found = results(ours(SameParentTester, (*NAMES, "ndcg"), label_hierarchy_level=level))
    expected = results(theirs(WithSameParentLabelTester, label_hierarchy_level=level))
    for split in expected:
        assert found[split] == pytest.approx(expected[split], abs=1e-6)


def test_a_parent_without_partners_is_left_out():
    inputs = torch.tensor([[0.0, 1], [0.1, 1], [1, 0], [1, 0.1]])
    labels = torch.tensor([[0, 0], [0, 0], [1, 1], [2, 1]])
    samples = list(zip(inputs, labels, strict=True))
    found = ours(SameParentTester, ("precision_at_1",)).test({"val": samples}, 1, Trunk())
    assert found["val"]["precision_at_1_level0"] == 1.0
    lone = ours(SameParentTester, ("precision_at_1",)).test({"val": samples[2:]}, 1, Trunk())
    assert np.isnan(lone["val"]["precision_at_1_level0"])


def test_a_parent_without_references_is_left_out():
    samples = data_set(1)
    gallery = [pair for pair in samples if pair[1][2] == 0]
    tester = ours(SameParentTester, ("precision_at_1",), label_hierarchy_level=1)
    found = tester.test(
        {"val": samples, "gallery": gallery}, 1, Trunk(), splits_to_eval=[("val", ["gallery"])]
    )
    own = [pair for pair in samples if pair[1][2] == 0]
    alone = tester.test(
        {"val": own, "gallery": gallery}, 1, Trunk(), splits_to_eval=[("val", ["gallery"])]
    )
    assert found["val"] == alone["val"]


def test_one_embedding_pass_and_one_neighbour_pass(monkeypatch):
    passes = []
    measure = ReferenceDistances.__call__
    monkeypatch.setattr(
        ReferenceDistances, "__call__", lambda s, rows: passes.append(len(rows)) or measure(s, rows)
    )
    trunk = Trunk()
    ours(include=(*NAMES, "ndcg"), batch_size=40).test({"val": data_set(1)}, 1, trunk)
    assert trunk.batches == 3
    assert sum(passes) == 120


def test_metrics_over_the_hierarchy_have_no_level_and_see_all_levels():
    sets = {"val": data_set(1)}
    every = ours(include=("ndcg", "r_precision")).test(sets, 1, Trunk())["val"]
    fine = ours(include=("ndcg", "r_precision"), label_hierarchy_level=0).test(sets, 1, Trunk())
    assert set(fine["val"]) == {"epoch", "ndcg", "r_precision_level0"}
    assert fine["val"]["ndcg"] == every["ndcg"]


def test_a_hierarchy_of_the_calculator():
    samples = [(x, labels[0]) for x, labels in data_set(1)]
    fine = np.arange(24)
    tree = Hierarchy(np.stack([fine, fine // 4, fine // 12], axis=1))
    for tester in (HierarchicalTester, SameParentTester):
        found = ours(tester, calculator={"hierarchy": tree}).test({"val": samples}, 1, Trunk())
        assert found == ours(tester).test({"val": data_set(1)}, 1, Trunk())


def test_testers_and_calculators_can_be_pickled():
    include = ("recall_at_3", "neg_mistake_severity", "hierarchical_average_precision")
    tester = HierarchicalTester(
        accuracy_calculator=HierarchicalAccuracyCalculator(include=include),
        dataloader_num_workers=0,
        progress_bar=False,
    )
    samples = [(torch.eye(4)[i % 4], torch.tensor([i // 2, i // 4])) for i in range(8)]
    found = [
        one.test({"val": samples}, epoch=1, trunk_model=torch.nn.Identity())
        for one in (tester, pickle.loads(pickle.dumps(tester)))
    ]
    assert found[0] == found[1]


def test_a_visualizer_sees_the_levels_of_a_hierarchy():
    class Visualizer:
        def fit_transform(self, embeddings):
            return embeddings[:, :2]

    fine = np.arange(24)
    tree = Hierarchy(np.stack([fine, fine // 4, fine // 12], axis=1))
    samples = [(x, labels[0]) for x, labels in data_set(1)]
    shown = []
    for options, data in (({"hierarchy": tree}, samples), ({}, data_set(1))):
        tester = ours(calculator=options)
        tester.visualizer = Visualizer()
        tester.visualizer_hook = lambda *args: shown.append((args[2].tolist(), args[4]))
        tester.test({"val": data}, 1, Trunk())
    assert len(shown) == 6
    assert shown[:3] == shown[3:]


def test_per_class_lists_have_no_average():
    found = ours(calculator={"return_per_class": True}).test({"val": data_set(1)}, 1, Trunk())
    assert len(found["val"]["r_precision_level1"]) == 6
    assert not any(key.startswith("AVERAGE") for key in found["val"])


def test_progress_bar(capsys):
    for shown in (True, False):
        tester = ours()
        tester.progress_bar = shown
        tester.test({"val": data_set(1)}, 1, Trunk())
        assert ("embedding" in capsys.readouterr().err) == shown


def test_embeddings_of_a_data_set():
    tester = ours()
    embeddings, labels = tester.get_all_embeddings(data_set(1), Trunk(), return_as_numpy=True)
    assert np.allclose(np.linalg.norm(embeddings, axis=1), 1, atol=1e-6)
    assert labels.tolist() == [label.tolist() for _, label in data_set(1)]
    assert HierarchicalTester(**COMMON).accuracy_calculator.get_curr_metrics()


def test_refused():
    with pytest.raises(TypeError, match="needs a HierarchicalAccuracyCalculator"):
        HierarchicalTester(accuracy_calculator=AccuracyCalculator(device=torch.device("cpu")))
    with pytest.raises(ValueError, match="return_per_class must be off"):
        ours(SameParentTester, calculator={"return_per_class": True})
    sets = {"val": data_set(1)}
    with pytest.raises(ValueError, match=r"label_hierarchy_level=3, but .* 0\.\.2"):
        ours(label_hierarchy_level=3).test(sets, 1, Trunk())
    with pytest.raises(ValueError, match=r"label_hierarchy_level='fine', but .* 0\.\.2"):
        ours(label_hierarchy_level="fine").test(sets, 1, Trunk())
    with pytest.raises(ValueError, match="primary_level=1 is not among the levels"):
        ours(label_hierarchy_level=[0, 2], primary_level=1).test(sets, 1, Trunk())
    with pytest.raises(ValueError, match="names no level with a parent"):
        ours(SameParentTester, label_hierarchy_level=2).test(sets, 1, Trunk())
    with pytest.raises(ValueError, match=r"'ndcg'.* are over the hierarchy"):
        ours(SameParentTester, include=("ndcg",)).test(sets, 1, Trunk())


# ------------------------------------------------------------------ HookContainer
def train(folder, tester, primary_metric, trunks):
    """What the hooks record over epochs in which the trunk is another one."""
    records, _, _ = logging_presets.get_record_keeper(str(folder / "logs"))
    hooks = logging_presets.get_hook_container(
        records, primary_metric=primary_metric, save_models=False
    )
    tester.end_of_testing_hook = hooks.end_of_testing_hook
    seen = []
    trainer = SimpleNamespace(models={}, step_lr_plateau_schedulers=seen.append)
    hook = hooks.end_of_epoch_hook(tester, {"val": data_set(1)}, str(folder / "models"), patience=9)
    for epoch, trunk in enumerate(trunks, 1):
        trainer.epoch, trainer.models = epoch, {"trunk": trunk, "embedder": torch.nn.Identity()}
        assert hook(trainer)
    best = hooks.get_best_epoch_and_accuracy(tester, "val")
    return best, seen, hooks.get_accuracy_history(tester, "val")


@pytest.mark.parametrize(
    ("primary_metric", "column"),
    [
        ("mean_average_precision_at_r", "AVERAGE_mean_average_precision_at_r"),
        ("ndcg", "ndcg"),
        ("hierarchical_average_precision", "hierarchical_average_precision"),
        ("hierarchical_precision_at_10", "hierarchical_precision_at_10"),
        ("neg_mistake_severity_at_10", "neg_mistake_severity_at_10"),
    ],
)
def test_best_epoch(tmp_path, primary_metric, column):
    tester = ours(include=("mean_average_precision_at_r", primary_metric))
    trunks = [Trunk(noise) for noise in (3.0, 0.0, 1.0)]
    (epoch, accuracy), seen, history = train(tmp_path, tester, primary_metric, trunks)
    assert epoch == 2
    assert accuracy == max(seen) == seen[1] > seen[2] > seen[0]
    assert list(history[column]) == pytest.approx(seen)


class PerfectAt(torch.nn.Module):
    """Embeds the classes of a level perfectly and knows nothing of the other levels."""

    def __init__(self, level):
        super().__init__()
        self.level = level

    def forward(self, inputs):
        samples, labels = map(torch.stack, zip(*data_set(1), strict=True))
        row = (inputs[:, None] == samples).all(dim=2).int().argmax(dim=1)
        classes = torch.nn.functional.one_hot(labels[row, self.level], 24).float()
        return classes + 1e-3 * torch.sin(1e3 * inputs).repeat(1, 3)


@pytest.mark.parametrize(("primary_level", "best"), [(None, 2), (0, 1), (1, 2)])
def test_best_epoch_by_a_level(tmp_path, primary_level, best):
    tester = ours(primary_level=primary_level)
    found, seen, history = train(tmp_path, tester, "r_precision", [PerfectAt(0), PerfectAt(1)])
    key = "AVERAGE_r_precision" if primary_level is None else f"r_precision_level{primary_level}"
    assert found[0] == best
    assert list(history[key]) == pytest.approx(seen)


def test_one_level_alone_is_primary(tmp_path):
    found, _, history = train(
        tmp_path, ours(label_hierarchy_level=0), "r_precision", [PerfectAt(0), PerfectAt(1)]
    )
    assert found[0] == 1
    assert "r_precision_level0" in history


@pytest.mark.parametrize("primary_metric", ["r_precision", "ndcg"])
@pytest.mark.parametrize("level", ["all", 0])
def test_lists_per_class_cannot_choose_an_epoch(tmp_path, primary_metric, level):
    include = ("r_precision", "ndcg")
    tester = ours(
        include=include, calculator={"return_per_class": True}, label_hierarchy_level=level
    )
    with pytest.raises(ValueError, match="use a calculator with avg_of_avgs=True"):
        train(tmp_path, tester, primary_metric, [Trunk()])
    tester = ours(include=include, calculator={"avg_of_avgs": True}, label_hierarchy_level=level)
    (epoch, _), _, _ = train(tmp_path / "again", tester, primary_metric, [Trunk()])
    assert epoch == 1
