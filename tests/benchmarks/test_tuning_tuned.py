import copy
import warnings
from dataclasses import replace

import pytest
import yaml

from benchmarks.backbones import BackboneChoice
from benchmarks.given_settings import given_settings
from benchmarks.losses import find_loss
from benchmarks.request import DataSource, RunRequest
from benchmarks.settings import SETTINGS
from benchmarks.suite import plan
from benchmarks.tuning import adapt_to_tuned, apply_tuned, tuned_settings

CONTENT = {
    "dataset": "small",
    "folds": [0],
    "seed": 0,
    "epochs": 4,
    "network": "",
    "losses": {
        "proxy_anchor": {
            "trials": 20,
            "training": {"learning_rate": 0.02, "weight_decay": 0.5, "trunk_factor": 0.2},
            "loss": {"margin": 0.2, "alpha": 24.5, "proxy_learning_rate": 0.07},
        },
        "hpl:proxy_anchor": {
            "trials": 20,
            "training": {"learning_rate": 0.001, "weight_decay": 0.1, "trunk_factor": 1},
            "loss": {"margin": 0.3, "hierarchy": "given", "warmup": 11, "recluster_every": 1},
        },
    },
}


@pytest.fixture
def write(small_dataset, tmp_path):
    def write_content(content):
        path = tmp_path / "small.yaml"
        path.write_text(
            content if isinstance(content, str) else yaml.safe_dump(content, sort_keys=False)
        )
        return path

    return write_content


def changed(path, value):
    """A copy of CONTENT with another value in one place, or without it for ``...``."""
    content = yaml.safe_load(yaml.safe_dump(CONTENT, sort_keys=False))
    inner = content
    for key in path[:-1]:
        inner = inner[key]
    if value is ...:
        del inner[path[-1]]
    else:
        inner[path[-1]] = value
    return content


def test_each_loss_gets_its_own_settings(write):
    tuned = tuned_settings(write(CONTENT))
    settings = SETTINGS["small"].with_epochs(4)
    spec, training = apply_tuned(find_loss("proxy_anchor"), settings, tuned=tuned)
    assert spec.settings() == {"margin": 0.2, "alpha": 24.5, "proxy_learning_rate": 0.07}
    assert (training.learning_rate, training.weight_decay) == (0.02, 0.5)
    assert training.trunk_factor == 0.2
    assert (training.epochs, training.batch_size) == (4, settings.batch_size)
    spec, training = apply_tuned(find_loss("hpl:proxy_anchor"), settings, tuned=tuned)
    assert (spec.name, spec.hierarchy) == ("hpl:proxy_anchor", "given")
    assert spec.arguments == {"margin": 0.3, "alpha": 32.0}
    assert spec.hpl_arguments == {"warmup": 11, "recluster_every": 1}
    assert training.learning_rate == 0.001
    assert tuned["proxy_anchor"].trials == 20


@pytest.mark.parametrize(("epochs", "steps"), [(8, (22, 2)), (2, (6, 1)), (1, (3, 1))])
def test_steps_keep_their_share_of_the_training(write, epochs, steps):
    settings = SETTINGS["small"].with_epochs(epochs)
    tuned = tuned_settings(write(CONTENT))
    spec, _ = apply_tuned(
        find_loss("hpl:proxy_anchor", settings.loss_overrides), settings, tuned=tuned
    )
    assert tuple(spec.hpl_arguments[key] for key in ("warmup", "recluster_every")) == steps


@pytest.mark.parametrize("iterations_per_epoch", [8, 2])
def test_steps_keep_their_share_of_longer_epochs_too(write, iterations_per_epoch):
    settings = SETTINGS["small"].with_epochs(4)
    times = iterations_per_epoch / settings.iterations_per_epoch
    settings = replace(settings, iterations_per_epoch=iterations_per_epoch)
    tuned = tuned_settings(write(CONTENT))
    spec, _ = apply_tuned(
        find_loss("hpl:proxy_anchor", settings.loss_overrides), settings, tuned=tuned
    )
    assert spec.hpl_arguments["warmup"] == round(times * 11)


@pytest.mark.parametrize(
    ("common", "given", "iterations", "warmup"),
    [
        ({}, [], 4, 0.3),
        ({"iterations_per_epoch": 20}, [], 20, 0.3),
        ({"iterations_per_epoch": 20}, ["iterations_per_epoch=5"], 5, 0.3),
        ({"iterations_per_epoch": 20, "warmup": 0.25}, [], 20, 0.25),
        ({"warmup": 0.25}, ["training.warmup=0.75"], 4, 0.75),
    ],
)
def test_warm_up_is_a_share_of_the_training_of_the_file(write, common, given, iterations, warmup):
    """Whether it is the usual one or was searched; the run's own settings take precedence."""
    content = {**CONTENT, "training": common}
    losses = content["losses"]
    content["losses"] = losses | {"proxy_nca": losses["proxy_anchor"] | {"loss": {}}}
    request = RunRequest(
        source=DataSource("small"),
        losses=("hpl:proxy_nca", "hpl:proxy_anchor", "proxy_nca"),
        given=given_settings(given).with_options(epochs=8),
    )
    usual, searched, flat = plan(request, adapt_to_tuned(str(write(content)), request.source)).runs
    assert usual.loss.hpl_arguments["warmup"] == round(warmup * 8 * iterations)
    of_search = CONTENT["epochs"] * common.get("iterations_per_epoch", 4)
    assert searched.loss.hpl_arguments["warmup"] == round(11 * 8 * iterations / of_search)
    assert {run.settings.iterations for run in (usual, searched, flat)} == {8 * iterations}
    assert flat.settings.warmup == warmup


def test_loss_that_was_not_tuned_is_an_error(write):
    tuned = tuned_settings(write(CONTENT))
    with pytest.raises(
        ValueError,
        match=r"for 'arcface', only for proxy_anchor, hpl:proxy_anchor.*--losses arcface",
    ):
        apply_tuned(find_loss("arcface"), SETTINGS["small"], tuned=tuned)


def test_hierarchical_loss_without_an_entry_differs_from_its_base_in_the_hierarchy_alone(write):
    content = copy.deepcopy(CONTENT)
    del content["losses"]["hpl:proxy_anchor"]
    settings, tuned = SETTINGS["small"], tuned_settings(write(content))
    spec = find_loss("hpl:proxy_anchor", settings.loss_overrides)
    found, training = apply_tuned(spec, settings, tuned=tuned)
    flat, flat_training = apply_tuned(find_loss("proxy_anchor"), settings, tuned=tuned)
    assert training == flat_training
    assert found.flat() == flat
    assert found.hpl_arguments == spec.hpl_arguments


OF_ANCHOR = ("losses", "proxy_anchor")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{a: [", "is not YAML"),
        ("", "is not what `tune` writes"),
        ("- 1", "is not what `tune` writes"),
        (changed(["epochs"], ...), "epochs is missing"),
        (changed(["epochs"], "many"), "epochs is missing or of another kind"),
        (changed(["epochs"], 0), "epochs must be at least 1"),
        (changed(["losses"], ["arcface"]), "losses is missing or of another kind"),
        (changed(OF_ANCHOR, 3), "proxy_anchor must have trials, training and loss"),
        (changed([*OF_ANCHOR, "loss"], ...), "proxy_anchor must have trials, training and loss"),
        (
            changed([*OF_ANCHOR, "training"], {}),
            "learning_rate, weight_decay, trunk_factor, got nothing",
        ),
        (
            changed([*OF_ANCHOR, "training", "epochs"], 9),
            "got learning_rate, weight_decay, trunk_factor, epochs",
        ),
        (changed([*OF_ANCHOR, "training", "learning_rate"], "x"), "must be a number, got 'x'"),
        (changed([*OF_ANCHOR, "training", "learning_rate"], -1.0), "must be a number, got -1.0"),
        (changed([*OF_ANCHOR, "training", "weight_decay"], float("nan")), "a number, got nan"),
        (
            changed([*OF_ANCHOR, "loss", "margins"], 1),
            "no setting 'margins'; did you mean 'margin'",
        ),
    ],
)
def test_broken_file(write, content, message):
    path = write(content)
    with pytest.raises(ValueError, match=message) as caught:  # noqa: PT012
        tuned = tuned_settings(path)
        apply_tuned(find_loss("proxy_anchor"), SETTINGS["small"], tuned=tuned)
    assert "small.yaml" in str(caught.value)


def test_missing_file(tmp_path):
    with pytest.raises(OSError, match=r"none\.yaml"):
        tuned_settings(tmp_path / "none.yaml")
    with pytest.raises(OSError, match=rf"settings {tmp_path} cannot be read: Is a directory"):
        tuned_settings(tmp_path)


def test_settings_of_another_network_are_refused(write):
    upper = DataSource("small", backbone=BackboneChoice(cut="default", crop=128))
    path = str(write(changed(["network"], "--crop 128 --train-from 11")))
    assert adapt_to_tuned(path, upper) is not None
    with pytest.raises(
        ValueError,
        match=r"for the network of --crop 128 --train-from 11, and these runs have the default "
        "network: .* `pml-hierarchical tune small --settings FILE`",
    ):
        adapt_to_tuned(path, DataSource("small"))
    path = str(write(CONTENT))
    assert adapt_to_tuned(path, DataSource("small")) is not None
    with pytest.raises(ValueError, match="tune small --crop 128 --train-from 11 --settings FILE"):
        adapt_to_tuned(path, upper)


def test_settings_of_another_data_set_are_taken_and_it_says_so(write):
    path = str(write(CONTENT))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        adapt_to_tuned(path, DataSource("small"))
    with pytest.warns(UserWarning, match=r"small\.yaml were searched on small, not on glyphs"):
        assert adapt_to_tuned(path, DataSource("glyphs")) is not None


@pytest.mark.parametrize(
    ("choice", "options"),
    [
        ({}, ""),
        ({"name": "timm:resnet50", "trained": True}, "--backbone timm:resnet50 --train-trunk"),
        (
            {"cut": "9", "views": 3, "batch_norm": "trained", "weights": "none"},
            "--weights none --train-batch-norm --train-from 9 --views 3",
        ),
    ],
)
def test_options_of_a_network(choice, options):
    assert BackboneChoice(**choice).options() == options
