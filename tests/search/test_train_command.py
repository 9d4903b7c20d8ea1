"""Training on all classes of a folder: no class is left out, and an interruption costs nothing."""

import numpy as np
import pytest
import torch
import typer
from shop_folder import NETWORK, SHOP, build_shop, quick_folder
from typer.testing import CliRunner

from benchmarks.search import training
from benchmarks.search.train import train
from benchmarks.training.checkpoints import write_checkpoint
from pml_hierarchical.search import RetrievalModel

app = typer.Typer()
app.command()(train)
CLASSES = sorted(name for names in SHOP.values() for name in names)


@pytest.fixture(scope="module")
def shop(tmp_path_factory):
    root = tmp_path_factory.mktemp("shop")
    with quick_folder(root / "cache"):
        yield build_shop(root / "pictures")


def command(shop, out, *more):
    network = ["--backbone", NETWORK.name, "--crop", "32"]
    return CliRunner().invoke(app, [str(shop), "--out", str(out), *network, *more])


def test_all_classes_are_trained(shop, tmp_path):
    """Also by the flat loss that the hierarchical one builds on, for comparison."""
    outcome = command(shop, tmp_path / "model", "--compare-flat")
    assert outcome.exit_code == 0, outcome.exception
    assert "4 superclasses" in outcome.output
    models = [RetrievalModel.load(tmp_path / name) for name in ("model", "model-flat")]
    for model in models:
        assert sorted(model.class_names) == CLASSES
        assert model.training_record["num_images"] == 48
        assert {file.name for file in (tmp_path / "model").iterdir()} == {
            "model.json",
            "model.safetensors",
        }
    hierarchical, flat = models
    assert hierarchical.training_record["loss_settings"]["num_superclasses"] == 4  # as are given
    assert hierarchical.hierarchy.sizes == flat.hierarchy.sizes == (12, 4)
    assert set(flat.hierarchy.names[1]) == set(SHOP)
    assert hierarchical.fingerprint != flat.fingerprint


def test_the_network_was_trained_on_every_picture(shop, tmp_path):
    """Each class is nearest to its own proxy more often than a frozen network would place it."""
    command(shop, tmp_path / "model", "--epochs", "12", "--loss", "proxy_nca")
    model = RetrievalModel.load(tmp_path / "model")
    files = sorted(shop.glob("*/*/*.png"))
    nearest = model.nearest_classes(model.embed(files))
    right = [
        model.class_names[c] == file.parent.name for c, file in zip(nearest, files, strict=True)
    ]
    assert np.mean(right) > 0.6  # by chance 1 of 12


def test_an_interrupted_training_ends_as_if_it_had_not_been(shop, tmp_path, monkeypatch):
    command(shop, tmp_path / "whole")
    epochs = []

    def interrupted(session, path):
        write_checkpoint(session, path)
        epochs.append(session.finished_epochs)
        if len(epochs) == 1:
            raise KeyboardInterrupt

    monkeypatch.setattr("benchmarks.training.session.write_checkpoint", interrupted)
    first = command(shop, tmp_path / "again")
    assert first.exit_code == 130
    assert not (tmp_path / "again" / "model.json").exists()
    assert command(shop, tmp_path / "again").exit_code == 0
    assert epochs == [1, 2]  # the first was not trained twice
    models = [RetrievalModel.load(tmp_path / name) for name in ("whole", "again")]
    assert models[0].fingerprint == models[1].fingerprint
    torch.testing.assert_close(models[0].proxies, models[1].proxies, rtol=0, atol=0)


def test_a_model_is_not_trained_twice_nor_replaced(shop, tmp_path, monkeypatch):
    out = tmp_path / "model"
    assert command(shop, out, "--loss", "proxy_nca").exit_code == 0
    before = (out / "model.json").read_text()
    other = command(shop, out, "--loss", "proxy_anchor").exception
    assert isinstance(other, FileExistsError)
    assert "choose another --out" in str(other)
    monkeypatch.setattr(training, "_train", None)
    again = command(shop, out, "--loss", "proxy_nca", "--compare-flat")
    assert "no hierarchy to leave out" in str(again.exception)
    assert command(shop, out, "--loss", "proxy_nca").exit_code == 0
    assert (out / "model.json").read_text() == before


def test_pictures_that_changed_start_again(shop, tmp_path, monkeypatch):
    """A checkpoint of other pictures is not continued."""
    pictures = build_shop(tmp_path / "pictures", {"a": ("b", "c", "d"), "e": ("f", "g", "h")})
    monkeypatch.setattr(training, "trained_model", None)
    assert isinstance(command(pictures, tmp_path / "model").exception, TypeError)
    (pictures / "a/b/0.png").unlink()
    with pytest.raises(ValueError, match="other images"):
        raise command(pictures, tmp_path / "model").exception


def test_a_loss_without_proxies_has_the_means_of_its_classes(shop, tmp_path):
    command(shop, tmp_path / "model", "--loss", "contrastive")
    model = RetrievalModel.load(tmp_path / "model")
    for name, proxy in zip(model.class_names, model.proxies.numpy(), strict=True):
        (folder,) = shop.glob(f"*/{name}")
        mean = model.embed(sorted(folder.iterdir())).mean(axis=0)
        np.testing.assert_allclose(proxy, mean / np.linalg.norm(mean), atol=1e-5)


@pytest.mark.parametrize(
    ("shop_of", "number"),
    [
        ({"a": ("b", "c", "d"), "e": ("f", "g", "h"), "i": ("j",)}, 3),
        ({"": ("b", "c", "d", "e", "f", "g", "h", "i", "j")}, 3),  # the square root of 9
        ({"a": ("b",), "c": ("d",), "e": ("f",), "g": ("h",)}, 2),
    ],
)
def test_how_many_superclasses_are_discovered(tmp_path, shop_of, number):
    """As many as are given; the square root where none are, or all of one class."""
    pictures = build_shop(tmp_path / "pictures", shop_of)
    with quick_folder(tmp_path / "cache"):
        command(pictures, tmp_path / "model")
    assert RetrievalModel.load(tmp_path / "model").hierarchy.sizes[1] == number
