"""The suite on photographs, through networks other than the default."""

import json

import pytest
import torch
from dataset_trees import build_folder, write_image
from rich.console import Console
from small_data import small_request

from benchmarks import suite
from benchmarks.ablation.runs import plan_ablation
from benchmarks.backbones import BackboneChoice, find_backbone
from benchmarks.backbones.upper import build_upper
from benchmarks.command_line import main
from benchmarks.losses import find_loss
from benchmarks.report import embedding_map
from benchmarks.report.provenance import introduction
from benchmarks.settings import SETTINGS, TrainingSettings, about_length, settings_for
from benchmarks.stored import read_stored
from benchmarks.tuning.plan import plan_tuning
from benchmarks.tuning.suggesting import default_values, extent_of

SETTING = TrainingSettings(
    embedding_size=4,
    epochs=2,
    iterations_per_epoch=2,
    batch_size=8,
    samples_per_class=4,
    learning_rate=1e-3,
    weight_decay=0.0,
    losses={"hpl_given": {"warmup": 1}, "hpl": {"warmup": 1, "num_superclasses": 2}},
    upper_blocks={
        "learning_rate": 0.02,
        "trunk_factor": 0.25,
        "weight_decay": 0.01,
        "losses": {"proxy_anchor": {"proxy_learning_rate": 0.5}},
    },
)


@pytest.fixture
def photographs(tmp_path, monkeypatch):
    """30 small photographs in 10 classes, and training of seconds."""
    build_folder(tmp_path / "photographs")
    for name in ("food/dairy/cheese", "tools/power/lathe"):
        for i in range(3):
            write_image(tmp_path / "photographs" / name / f"{i}.png")
    monkeypatch.setenv("PML_HIERARCHICAL_CACHE", str(tmp_path / "cache"))
    monkeypatch.setitem(SETTINGS, "folder", SETTING)
    return tmp_path / "photographs"


def run(photographs, out, **changes):
    usual = {"losses": ("proxy_anchor",), "folds": (0,), "data_root": photographs}
    request = small_request(out, dataset="folder", **(usual | changes))
    return suite.run(suite.plan(request), Console(quiet=True)).results


def test_a_trunk_is_trained_or_its_features_are(photographs, tmp_path):
    """Trained: other weights in ``best.pt`` than at the start; frozen: a head on features alone."""
    name = "torchvision:shufflenet_v2_x0_5"
    trained = BackboneChoice(name, "none", trained=True, batch_norm="trained", crop=32)
    (result,) = run(photographs, tmp_path / "trained", backbone=trained)
    assert result["config"]["backbone"] == trained.to_dict()
    weights = torch.load(result["folder"] / "best.pt", weights_only=True)["models"]["trunk"]
    counters = [value for key, value in weights.items() if key.endswith("num_batches_tracked")]
    assert counters
    assert all(counter == 2 * result["best_epoch"] for counter in counters)
    frozen = BackboneChoice(name, "none", crop=32)
    (result,) = run(photographs, tmp_path / "frozen", backbone=frozen)
    assert not torch.load(result["folder"] / "best.pt", weights_only=True)["models"]["trunk"]


def test_results_of_another_backbone_are_not_taken_for_these(photographs, tmp_path):
    run(photographs, tmp_path / "runs")
    other = BackboneChoice("torchvision:shufflenet_v2_x0_5", "none", crop=32)
    with pytest.raises(ValueError, match=r"other settings .*backbone"):
        run(photographs, tmp_path / "runs", backbone=other)
    with pytest.raises(ValueError, match=r"another backbone \(backbone differ"):
        run(photographs, tmp_path / "runs", backbone=other, losses=["contrastive"])


def test_what_was_not_chosen_is_not_in_the_records(photographs, tmp_path):
    (result,) = run(photographs, tmp_path / "runs", learning_rate=0.5)
    assert not {"backbone", "workers"} & result["config"].keys()
    training = vars(SETTING) | {"learning_rate": 0.5}
    for name in ("losses", "trainings", "short_epochs", "upper_blocks"):
        del training[name]
    assert result["config"]["training"] == training


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--backbone", "torchvision:resnet5"], "resnet50"),
        (["--backbone", "glyph"], "for drawings of 32 x 32"),
        (["--train-batch-norm"], "add --train-trunk"),
        (["--train-from", "16"], "Training can start from 1 to 15"),
        (["--train-from", "--train-trunk"], "not both"),
        (["--views", "3"], "add --train-from"),
        (["--train-from", "--views", "0"], "--views must be at least 1"),
        (["--weights", "/no/such/file"], "/no/such/file"),
        (["--learning-rate", "0"], "--learning-rate must be above 0"),
        (["--batch-size", "-4"], "must be a multiple of 4"),
        (["--batch-size", "10"], "must be a multiple of 4"),
        (["--workers", "-1"], "--workers must not be negative"),
    ],
)
def test_bad_networks_are_refused_first(photographs, tmp_path, capsys, arguments, message):
    out = tmp_path / "runs"
    command = ["run", "--dataset", "folder", "--data-root", str(photographs), "--out", str(out)]
    assert main([*command, *arguments]) == 2
    assert message in capsys.readouterr().err
    assert not out.exists()


def test_the_upper_blocks_alone_are_trained(photographs, tmp_path):
    """From activations on disk: weights below the cut are nowhere in the run, those above change.

    The settings are those of such a training, and the report says what was trained on what.
    """
    choice = BackboneChoice(
        "efficientnet_lite0", "none", batch_norm="trained", crop=32, cut="14", views=2
    )
    out = tmp_path / "runs"
    (result,) = run(photographs, out, backbone=choice, losses=("hpl:proxy_anchor",))
    assert result["config"]["backbone"] == choice.to_dict()
    assert result["config"]["training"]["learning_rate"] == 0.02
    assert result["config"]["loss_settings"]["proxy_learning_rate"] == 0.5
    weights = torch.load(result["folder"] / "best.pt", weights_only=True)["models"]["trunk"]
    start = build_upper(find_backbone(choice)).state_dict()
    assert weights.keys() == start.keys()
    assert {name.split(".")[1] for name in weights} == {"_blocks", "_conv_head", "_bn1"}
    assert {name.split(".")[2] for name in weights if "_blocks" in name} == {"14", "15"}
    for name, before in start.items():
        if before.is_floating_point():
            assert not torch.equal(weights[name], before), name
    stored = read_stored(out / "folder")
    assert "from block 14 on" in introduction(stored)
    assert "on 2 augmented views of each training picture" in introduction(stored)


def test_the_usual_training_of_upper_blocks():
    """Of all photographs, whose frozen features are trained as before; not of drawings."""
    cut, frozen = BackboneChoice(cut="11"), BackboneChoice()
    for name in ("grocery", "cub", "cars196", "sop", "inshop", "inaturalist", "folder"):
        settings, usual = settings_for(name, cut), settings_for(name)
        epochs, share = (48, 21) if name == "cars196" else (12, 83)
        assert (settings.embedding_size, settings.epochs) == (128, epochs)
        rates = settings.learning_rate, settings.trunk_factor * settings.learning_rate
        assert rates == pytest.approx((1e-3, 1e-4))
        assert settings.weight_decay == 1e-2
        loss = find_loss("hpl:proxy_anchor", settings.loss_overrides)
        assert loss.proxy_learning_rate == 1e-2
        assert loss.hpl_arguments["level_weights"] == usual.losses["hpl"]["level_weights"]
        assert usual == SETTINGS[name] == settings_for(name, frozen)
        assert about_length(name, 10) is None
        assert f"{share}% of the full {epochs}" in about_length(name, 10, cut)
    assert settings_for("cars196", cut).batch_size == 64
    assert settings_for("glyphs", BackboneChoice("timm:test_resnet", cut="layer3")).epochs == 192


def test_tuning_and_ablation_train_the_upper_blocks(photographs, tmp_path):
    """With the same settings as a run, and the rate of the trunk is searched."""
    choice = BackboneChoice("efficientnet_lite0", crop=32, cut="15", views=1)
    changes = {"data_root": photographs, "backbone": choice, "folds": (0,), "epochs": 1}
    request = small_request(tmp_path / "runs", ["proxy_nca"], dataset="folder", **changes)
    (search,) = plan_tuning(request, 1, tmp_path / "tuned.yaml").searches
    (flat,) = plan_ablation(request, ["hpl_given"]).flat.runs
    assert search.settings == flat.settings == suite.plan(request).runs[0].settings
    assert search.settings.learning_rate == 0.02
    (searched,) = search.runs(search.loss, search.settings)
    assert searched.backbone == flat.backbone == choice
    extent = extent_of(request.source.load(), (0,), search.settings)
    assert default_values(search.loss, search.settings, extent)["trunk_factor"] == 0.25


def test_the_command_line_chooses_the_network(photographs, tmp_path, monkeypatch):
    monkeypatch.setattr(embedding_map, "project", lambda embeddings: embeddings[:, :2])
    out = tmp_path / "runs"
    command = f"run --dataset folder --data-root {photographs} --losses hpl_given:proxy_anchor"
    network = "--backbone efficientnet_lite0 --crop 64 --batch-size 12 --train-from --views 1"
    assert main(f"{command} {network} --epochs 1 --folds 0 --out {out}".split()) == 0
    (path,) = out.glob("folder/*/*/config.json")
    config = json.loads(path.read_text())
    assert config["backbone"]["crop"] == 64
    assert (config["backbone"]["cut"], config["backbone"]["views"]) == ("11", 1)
    assert config["training"]["batch_size"] == 12
