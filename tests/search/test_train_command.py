"""Training on all classes of a folder: no class is left out, and an interruption costs nothing."""

import os

import numpy as np
import pytest
import torch
import typer
from PIL import Image
from shop_folder import NETWORK, SHOP, build_shop, quick_folder
from torch.nn.functional import normalize
from typer.testing import CliRunner

from benchmarks.search import training
from benchmarks.search.train import train
from benchmarks.search.trained import tree_to_search
from benchmarks.training.checkpoints import write_checkpoint
from pml_hierarchical import Hierarchy
from pml_hierarchical.losses import HierarchicalProxyLoss
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
    assert hierarchical.hierarchy.sizes == (12, 2)  # discovered, and given
    assert flat.hierarchy.sizes == (12, 4)
    assert set(flat.hierarchy.names[1]) == set(SHOP)
    assert hierarchical.fingerprint != flat.fingerprint


def test_classes_are_the_means_of_their_pictures(shop, tmp_path):
    """So that those that add-classes adds, which have no proxies, compare with them."""
    assert command(shop, tmp_path / "model", "--loss", "proxy_anchor").exit_code == 0
    model = RetrievalModel.load(tmp_path / "model")
    for name, found in zip(model.class_names, model.proxies, strict=True):
        vectors = torch.from_numpy(model.embed(sorted(shop.glob(f"*/{name}/*"))))
        mean = normalize(vectors).mean(dim=0)
        torch.testing.assert_close(found.cpu(), normalize(mean, dim=0).cpu(), rtol=0, atol=1e-4)


def test_one_class_is_refused(tmp_path):
    folder = tmp_path / "pictures" / "apple"
    folder.mkdir(parents=True)
    for number in range(4):
        Image.new("RGB", (32, 32), (40 * number, 0, 0)).save(folder / f"{number}.png")
    for loss in ("proxy_anchor", "contrastive"):
        error = command(tmp_path / "pictures", tmp_path / "model", "--loss", loss).exception
        assert "there is one class to train on, and training needs two" in str(error)


def test_upper_blocks_are_trained_on_all_classes(shop, tmp_path):
    """Views are then kept of every picture: what a run keeps is of its training half alone."""
    out = tmp_path / "model"
    outcome = command(shop, out, "--loss", "proxy_nca", "--train-from", "15", "--views", "1")
    assert outcome.exit_code == 0, outcome.exception
    model = RetrievalModel.load(out)
    assert model.training_record["backbone"]["cut"] == "15"
    assert sorted(model.class_names) == CLASSES
    picture = next(shop.rglob("*.png"))
    assert model.embed([picture]).shape == (1, 8)


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
    assert "other settings or pictures (loss: proxy_nca there, proxy_anchor asked for" in str(other)
    monkeypatch.setattr(training, "_train", None)
    again = command(shop, out, "--loss", "proxy_nca", "--compare-flat")
    assert "no hierarchy to leave out" in str(again.exception)
    assert command(shop, out, "--loss", "proxy_nca").exit_code == 0
    assert (out / "model.json").read_text() == before


def test_a_place_that_cannot_be_written_is_refused_first(shop, tmp_path, monkeypatch):
    monkeypatch.setattr(training.AllClasses, "of", None)  # pictures are not read
    (tmp_path / "file").write_text("x")
    assert isinstance(command(shop, tmp_path / "file").exception, NotADirectoryError)
    monkeypatch.setattr("os.access", lambda place, mode: mode != os.W_OK)
    found = command(shop, tmp_path / "a" / "model").exception
    assert isinstance(found, PermissionError)
    assert f"may not write to {tmp_path};" in str(found)


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


def test_settings_of_the_command_line_decide(shop, tmp_path):
    given = ["--set", "num_superclasses=5", "--set", "embedding_size=6", "--epochs", "1"]
    outcome = command(shop, tmp_path / "model", *given)
    assert outcome.exit_code == 0, outcome.exception
    model = RetrievalModel.load(tmp_path / "model")
    assert (model.hierarchy.sizes, model.embedding_size) == ((12, 5), 6)
    wrong = command(shop, tmp_path / "other", "--set", "num_superclases=5").exception
    assert "num_superclasses" in str(wrong)
    assert not (tmp_path / "other").exists()


@pytest.mark.parametrize("discovered", [None, 4])
def test_given_superclasses_keep_their_names(discovered):
    named = Hierarchy.from_paths(["b/x", "a/y", "b/z", "a/v", "b/w", "a/u"])
    given = Hierarchy(named.class_labels)  # as the loss of a run gets it
    loss = HierarchicalProxyLoss(6, 3, hierarchy=given, num_superclasses=discovered, warmup=0)
    loss.recluster()
    found = tree_to_search(loss, named)
    assert (found.class_labels == loss.hierarchy.class_labels).all()
    assert (found.names[0], found.names[-1]) == (named.names[0], named.names[1])
    if discovered:
        assert found.names[1] is None
