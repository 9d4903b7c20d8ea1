"""Settings that no loss can be trained with are refused before the training, in plain words."""

from dataclasses import replace

import numpy as np
import pytest
from rich.console import Console
from small_data import SMALL_SETTINGS, make_small_data, small_request

from benchmarks import suite
from benchmarks.ablation.runs import plan_ablation, run_ablation
from benchmarks.command_line import main
from benchmarks.datasets import DATASETS
from benchmarks.loss_checks import check_loss
from benchmarks.losses import ALL_LOSSES, HPL_PREFIXES, find_loss, hierarchical_bases
from benchmarks.run_config import RunConfig, differences
from benchmarks.tuning.plan import plan_tuning, run_tuning
from pml_hierarchical import Hierarchy

TREE = Hierarchy.from_parents([np.arange(12) // 3])


@pytest.mark.parametrize(
    ("loss", "setting", "message"),
    [
        ("proxy_anchor", "margin=x", "margin of 'proxy_anchor' must be a number, got 'x'"),
        ("proxy_anchor", "margin=none", "margin of 'proxy_anchor' must be a number, got None"),
        ("proxy_anchor", "margin=true", "must be a number, got True"),
        ("proxy_anchor", "margin=1,2", "the settings of proxy_anchor: unsupported operand"),
        ("proxy_anchor", "margin=nan", "the settings of proxy_anchor make a loss of nan"),
        ("proxy_anchor", "proxy_learning_rate=a", "a finite number of at least 0, got 'a'"),
        ("proxy_anchor", "proxy_learning_rate=-1", "a finite number of at least 0, got -1"),
        ("proxy_anchor", "proxy_learning_rate=inf", "a finite number of at least 0, got inf"),
        ("hpl:proxy_anchor", "coarse_rate=a", "a finite number of at least 0, got 'a'"),
        ("hpl:proxy_anchor", "coarse_rate=-1", "a finite number of at least 0, got -1"),
        ("hpl:proxy_anchor", "hpl.alpha=x", "alpha of 'hpl:proxy_anchor' must be a number"),
        ("hpl:proxy_anchor", "level_weights=a", "level_weights must be a number or one per level"),
        ("proxy_nca", "softmax_scale=-1", "softmax_scale of 'proxy_nca' must be above 0, got -1"),
        ("normalized_softmax", "temperature=0", "of 'normalized_softmax' must be above 0, got 0"),
        ("multi_similarity", "miner.epsilon=x", "miner.epsilon of 'multi_similarity' must be a"),
    ],
)
def test_run_refuses_what_is_no_value(small_dataset, tmp_path, capsys, loss, setting, message):
    out = str(tmp_path / "runs")
    assert main(["run", "small", "--losses", loss, "--set", setting, "--out", out]) == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "runs").exists()


def test_ablate_refuses_what_is_no_value(small_dataset, tmp_path, capsys):
    arguments = ["ablate", "small", "--bases", "proxy_nca", "--what", "hpl"]
    arguments += ["--set", "embedding_reg_weight=a", "--out", str(tmp_path / "runs")]
    assert main(arguments) == 2
    assert "embedding_reg_weight of 'proxy_nca' must be a number" in capsys.readouterr().err


@pytest.mark.parametrize(
    "name",
    [
        *ALL_LOSSES,
        *(f"{prefix}:{base}" for prefix in HPL_PREFIXES for base in hierarchical_bases()),
    ],
)
def test_every_loss_passes_with_its_own_settings(name):
    check_loss(RunConfig("small", find_loss(name), 0, 0, SMALL_SETTINGS), TREE)


def test_a_pair_loss_needs_two_images_of_a_class():
    settings = replace(SMALL_SETTINGS, samples_per_class=1)
    with pytest.raises(ValueError, match=r"triplet_margin compares .* set it to at least 2"):
        check_loss(RunConfig("small", find_loss("triplet_margin"), 0, 0, settings), TREE)
    check_loss(RunConfig("small", find_loss("proxy_nca"), 0, 0, settings), TREE)


def test_the_check_counts_no_step_and_draws_no_number():
    import torch

    spec = find_loss("hpl:proxy_anchor").with_settings({"warmup": 0})
    before = torch.get_rng_state()
    check_loss(RunConfig("small", spec, 0, 0, SMALL_SETTINGS), TREE)
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("hierarchy", ["given", "mixed"])
@pytest.mark.parametrize("levels", [[0], [0, 1]])
def test_a_given_tree_needs_superclasses(small_dataset, tmp_path, monkeypatch, hierarchy, levels):
    """None, or one that holds all."""
    data = make_small_data()
    labels = data.labels[:, levels] * [1, 0][: len(levels)]
    flat = replace(
        data,
        labels=labels,
        level_names=data.level_names[: len(levels)],
        class_names=data.class_names[: len(levels)],
    )
    entry = replace(DATASETS["small"], load=lambda source: flat)
    monkeypatch.setitem(DATASETS, "small", entry)
    planned = suite.plan(small_request(tmp_path, ["hpl_given:proxy_anchor"], epochs=1))
    runs = tuple(
        replace(run, loss=run.loss.with_settings({"hierarchy": hierarchy})) for run in planned.runs
    )
    with pytest.raises(ValueError, match=r"needs superclasses.*use hpl:proxy_anchor$"):
        suite.run(replace(planned, runs=runs), Console(quiet=True))
    assert not list(tmp_path.rglob("*.pt"))


@pytest.fixture
def no_superclasses(small_dataset, monkeypatch):
    """The data set "small" with its classes alone."""
    data = make_small_data()
    names = {"level_names": data.level_names[:1], "class_names": data.class_names[:1]}
    flat = replace(data, labels=data.labels[:, :1], **names)
    monkeypatch.setitem(DATASETS, "small", replace(DATASETS["small"], load=lambda source: flat))


@pytest.mark.parametrize("what", ["hpl_given", "tree", "level_weights"])
def test_an_ablation_of_a_given_tree_needs_superclasses(no_superclasses, tmp_path, what):
    planned = plan_ablation(small_request(tmp_path, ["proxy_anchor"], epochs=1), [what])
    with pytest.raises(ValueError, match=r"needs superclasses.*`ablate` that is --what hpl, or"):
        run_ablation(planned, Console(quiet=True))
    assert not list(tmp_path.iterdir())


def test_tuning_on_a_given_tree_needs_superclasses(no_superclasses, tmp_path):
    request = small_request(tmp_path, ["proxy_anchor", "hpl_given:proxy_anchor"], epochs=1)
    with pytest.raises(ValueError, match=r"needs superclasses.*use hpl:proxy_anchor$"):
        run_tuning(plan_tuning(request, 2, tmp_path / "small.yaml"), Console(quiet=True))
    assert not list(tmp_path.iterdir())


def test_what_differs_is_named_by_its_path():
    there = {"seed": 0, "training": {"epochs": 4, "size": {}}, "workers": 2}
    assert differences(there, there) == ""
    assert differences(there, {"seed": 0, "training": {"epochs": 5, "size": {}}}) == (
        "training.epochs: 4 there, 5 asked for; workers: 2 there, not asked for"
    )


def test_an_unfinished_run_of_other_settings_is_not_dropped_in_silence(
    small_dataset, tmp_path, monkeypatch
):
    def interrupted(epochs):
        def write(session, path):
            original(session, path)
            raise KeyboardInterrupt

        with monkeypatch.context() as patch:
            patch.setattr("benchmarks.training.session.write_checkpoint", write)
            request = small_request(tmp_path, ["contrastive"], epochs=epochs)
            with pytest.raises(KeyboardInterrupt):
                suite.run(suite.plan(request), Console(quiet=True))

    from benchmarks.training.checkpoints import write_checkpoint as original

    # of a checkpoint that is no best model, only the last is looked for
    monkeypatch.setattr("benchmarks.training.session.BEST", "last.pt")
    interrupted(epochs=3)
    with pytest.warns(UserWarning, match=r"training\.epochs: 3 there, 4 asked for.*starts again"):
        interrupted(epochs=4)
