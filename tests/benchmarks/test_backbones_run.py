"""The suite on photographs, through networks other than the default."""

import json

import pytest
import torch
from dataset_trees import build_folder, write_image
from rich.console import Console
from small_data import small_request

from benchmarks import suite
from benchmarks.backbones import BackboneChoice
from benchmarks.command_line import main
from benchmarks.report import embedding_map
from benchmarks.settings import SETTINGS, TrainingSettings

SETTING = TrainingSettings(
    embedding_size=4,
    epochs=2,
    iterations_per_epoch=2,
    batch_size=8,
    samples_per_class=4,
    learning_rate=1e-3,
    weight_decay=0.0,
    losses={"hpl_given": {"warmup": 1}},
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


def test_the_command_line_chooses_the_network(photographs, tmp_path, monkeypatch):
    monkeypatch.setattr(embedding_map, "project", lambda embeddings: embeddings[:, :2])
    out = tmp_path / "runs"
    command = f"run --dataset folder --data-root {photographs} --losses hpl_given:proxy_anchor"
    network = "--backbone efficientnet_lite0 --crop 64 --batch-size 12"
    assert main(f"{command} {network} --epochs 1 --folds 0 --out {out}".split()) == 0
    (path,) = out.glob("folder/*/*/config.json")
    config = json.loads(path.read_text())
    assert config["backbone"]["crop"] == 64
    assert config["training"]["batch_size"] == 12
