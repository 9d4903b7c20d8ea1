"""``train`` and ``export`` lose nothing: pictures, epochs that are done, a chance to try again."""

import json
import sys
import warnings

import pytest
import torch
import typer
from shop_folder import NETWORK, SHOP, build_shop, quick_folder
from small_gallery import make_model
from typer.testing import CliRunner

from benchmarks.command_line import main
from benchmarks.locking import only_one_in
from benchmarks.search import saving, training
from benchmarks.search.train import train
from benchmarks.search.work_folder import WORK_FOLDER
from benchmarks.training.checkpoints import write_checkpoint
from pml_hierarchical.search import RetrievalModel

app = typer.Typer()
app.command()(train)


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    with quick_folder(tmp_path_factory.mktemp("cache")):
        yield


@pytest.fixture(scope="module")
def shop(cache, tmp_path_factory):
    return build_shop(tmp_path_factory.mktemp("shop") / "pictures")


@pytest.fixture
def no_features(monkeypatch):
    """Whatever is refused is refused before the features of the pictures are computed."""
    monkeypatch.setattr(training.AllClasses, "of", None)


def command(pictures, *more):
    network = ["--backbone", NETWORK.name, "--crop", "32"]
    return CliRunner().invoke(app, [str(pictures), *network, *map(str, more)])


def failure(pictures, *more):
    outcome = command(pictures, *more)
    assert isinstance(outcome.exception, (ValueError, OSError)), outcome.output
    return outcome.exception


# ---------------------------------------------------------------- pictures
@pytest.mark.parametrize("name", ["training", "pictures"])
def test_pictures_survive_a_training_beside_them(cache, tmp_path, monkeypatch, name):
    pictures = build_shop(tmp_path / name)
    before = sorted(pictures.rglob("*"))
    monkeypatch.chdir(tmp_path)
    outcome = command(name, "--loss", "proxy_nca", "--epochs", "1", "--out", ".")
    assert outcome.exit_code == 0, outcome.exception
    assert sorted(pictures.rglob("*")) == before
    assert not (tmp_path / WORK_FOLDER).exists()
    RetrievalModel.load(tmp_path)


@pytest.mark.usefixtures("no_features")
@pytest.mark.parametrize(
    ("pictures", "out"),
    [
        (f"{WORK_FOLDER}", "."),
        (f"{WORK_FOLDER}/shop", "."),
        ("shop", "shop"),
        ("shop", "shop/model"),
        (".", "model"),
    ],
)
def test_a_model_and_the_pictures_are_kept_apart(cache, tmp_path, monkeypatch, pictures, out):
    root = build_shop(tmp_path / pictures)
    before = sorted(tmp_path.rglob("*"))
    monkeypatch.chdir(tmp_path)
    assert "folder of the pictures" in str(failure(pictures, "--out", out))
    assert sorted(tmp_path.rglob("*")) == before
    assert root.exists()


@pytest.mark.usefixtures("no_features")
@pytest.mark.parametrize("name", ["a.jpg", "fruit/apple.jpg", "hpl-proxy_anchor/1.jpg"])
def test_what_others_put_into_the_work_folder_is_not_removed(shop, tmp_path, name):
    theirs = tmp_path / WORK_FOLDER / name
    theirs.parent.mkdir(parents=True)
    theirs.write_text("x")
    found = failure(shop, "--out", tmp_path)
    assert isinstance(found, FileExistsError)
    assert "is not part of a training run" in str(found)
    assert theirs.read_text() == "x"


# ---------------------------------------------------------------- epochs
@pytest.fixture
def interrupted(shop, tmp_path, monkeypatch):
    """The folder of a training that was interrupted after its first epoch."""

    def write(session, path):
        write_checkpoint(session, path)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("benchmarks.training.session.write_checkpoint", write)
        assert command(shop, "--out", tmp_path / "model").exit_code == 130
    return tmp_path / "model"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--epochs", "3"], r"training\.epochs: 2 there, 3 asked for"),
        (["--seed", "1"], "seed: 0 there, 1 asked for"),
        (["--loss", "proxy_nca"], "loss: hpl:proxy_anchor there, proxy_nca asked for"),
    ],
)
def test_an_unfinished_training_of_other_settings_is_kept(
    shop, interrupted, monkeypatch, options, message
):
    before = {path: path.stat().st_mtime_ns for path in interrupted.rglob("*.pt")}
    assert before
    with monkeypatch.context() as patch:
        patch.setattr(training.AllClasses, "of", None)
        with pytest.raises(FileExistsError, match=message):
            raise failure(shop, "--out", interrupted, *options)
    assert {path: path.stat().st_mtime_ns for path in interrupted.rglob("*.pt")} == before
    outcome = command(shop, "--out", interrupted)
    assert outcome.exit_code == 0, outcome.exception
    RetrievalModel.load(interrupted)


def test_an_unfinished_training_of_other_pictures_is_named_by_the_folder_given(
    shop, interrupted, tmp_path
):
    other = build_shop(tmp_path / "other", {"fruit": ("fig", "kiwi"), "toys": ("top", "kite")})
    message = str(failure(other, "--out", interrupted))
    assert message.startswith(f"{interrupted} holds an unfinished training run on other images")
    assert "delete that folder, or choose another --out" in message


def test_what_is_not_read_is_said_once(cache, tmp_path):
    pictures = build_shop(tmp_path / "pictures")
    (pictures / "notes.txt").write_text("no picture")
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        outcome = command(pictures, "--epochs", "1", "--out", tmp_path / "model")
    assert outcome.exit_code == 0, outcome.exception
    assert sum("not all of" in str(one.message) for one in caught) == 1


def test_a_full_disk_leaves_no_half_model(tmp_path, monkeypatch):
    model = make_model()

    def save(folder):
        (folder / "model.safetensors").write_bytes(b"half")
        (folder / "model.json.pmlh-tmp").write_bytes(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(model, "save", save)
    with pytest.raises(OSError, match=r"No space left on device while writing: '.*model'"):
        saving.save_model(model, tmp_path / "model")
    assert not (tmp_path / "model").exists()
    monkeypatch.undo()
    saving.save_model(model, tmp_path / "model")
    RetrievalModel.load(tmp_path / "model")


# ---------------------------------------------------------------- settings
@pytest.mark.usefixtures("no_features")
@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("level_weights=a", "settings of hpl:proxy_anchor: level_weights must be a number"),
        ("num_superclasses=nan", 'num_superclasses must be integers or "auto", got nan'),
        ("num_superclasses=()", "num_superclasses must be integers"),
        ("margin=x", "margin of 'hpl:proxy_anchor' must be a number, got 'x'"),
        ("margin=nan", "make a loss of nan"),
        ("coarse_rate=-1", "coarse_rate .* must be a finite number of at least 0, got -1"),
    ],
)
def test_wrong_settings_are_refused_before_the_features(shop, tmp_path, setting, message):
    with pytest.raises(ValueError, match=message):
        raise failure(shop, "--out", tmp_path / "model", "--set", setting)
    assert not (tmp_path / "model").exists()


@pytest.mark.usefixtures("no_features")
@pytest.mark.usefixtures("no_features")
def test_what_is_in_the_way_is_refused_before_the_features(shop, tmp_path):
    out = tmp_path / "model"
    out.mkdir()
    about = {"training": {"loss": "contrastive", "seed": 7}}
    (out / "model.json").write_text(json.dumps(about))
    found = str(failure(shop, "--out", out))
    assert "holds a model with other settings or pictures (" in found
    assert "loss: contrastive there, hpl:proxy_anchor asked for; seed: 7 there, 0" in found
    (out / "pictures.json").write_text("{}")
    found = str(failure(shop, "--out", out))
    assert found == f"{out} holds embeddings: choose another --out for the model"
    with only_one_in(tmp_path / "busy" / ".training"):
        found = str(failure(shop, "--out", tmp_path / "busy"))
    assert "another command is running in " in found


def test_folders_without_superclasses_are_no_given_tree(cache, tmp_path):
    pictures = build_shop(tmp_path / "pictures", {".": SHOP["fruit"]})
    found = failure(pictures, "--out", tmp_path / "model", "--loss", "hpl_given:proxy_anchor")
    assert "needs superclasses" in str(found)
    assert str(found).endswith("use hpl:proxy_anchor")


@pytest.mark.usefixtures("no_features")
def test_two_classes_need_a_flat_loss(cache, tmp_path):
    pictures = build_shop(tmp_path / "pictures", {"a": ("b", "c")})
    options = ["--out", tmp_path / "model", "--set", "num_superclasses=auto"]
    found = str(failure(pictures, *options))
    assert "2 are trained on" in found
    assert found.endswith("use proxy_anchor")


# ---------------------------------------------------------------- words
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["train"], "the data set folder needs its folder: name it after the command"),
        (["train", "nosuch"], "the folder nosuch does not exist. Expected in the folder of the"),
        (["train", "nosuch"], "the same number everywhere. An image is any file"),
        (["train", "nosuch", "--dataset", "cars196"], "`describe cars196 --download` fetches"),
        (["train", "nosuch", "--seed", "-1"], "a seed must not be negative, got -1"),
    ],
)
def test_messages_name_no_option_that_train_does_not_have(
    tmp_path, monkeypatch, capsys, arguments, message
):
    monkeypatch.chdir(tmp_path)
    assert main(arguments) == 2
    said = capsys.readouterr().err
    assert message in said
    assert "--data-root" not in said
    assert "--seeds" not in said


# ---------------------------------------------------------------- two models
@pytest.mark.parametrize(
    ("place", "out", "flat"),
    [("model", ".", "model-flat"), ("a/b", "..", "a-flat"), (".", "both", "both-flat")],
)
def test_the_flat_model_lies_beside_the_other(shop, tmp_path, monkeypatch, place, out, flat):
    (tmp_path / place).mkdir(parents=True, exist_ok=True)
    monkeypatch.chdir(tmp_path / place)
    described = []
    monkeypatch.setattr(
        "benchmarks.progress.Progress.update",
        lambda self, task, description: described.append(description.partition(" ")[0]),
    )
    outcome = command(shop, "--epochs", "1", "--compare-flat", "--out", out)
    assert outcome.exit_code == 0, outcome.exception
    for folder in (tmp_path / place / out, tmp_path / flat):
        RetrievalModel.load(folder)
    assert list(dict.fromkeys(described)) == ["1/2", "2/2"]


# ---------------------------------------------------------------- export
@pytest.fixture
def model():
    return RetrievalModel(
        [{"builder": "torch.nn.Flatten"}],
        [
            {"builder": "torchvision.transforms.Resize", "arguments": {"size": [2, 2]}},
            {"builder": "torchvision.transforms.ToTensor"},
        ],
        ["a", "b"],
        torch.eye(2, 12),
    )


def test_an_export_that_fails_can_be_repeated(model, tmp_path, monkeypatch):
    def fails(model, folder):
        raise ValueError("this network cannot be written")

    monkeypatch.setattr(saving, "write_onnx", fails)
    with pytest.raises(ValueError, match="cannot be written"):
        saving.save_model(model, tmp_path / "model", ["onnx"])
    saving.save_model(model, tmp_path / "model")
    RetrievalModel.load(tmp_path / "model")


def test_a_missing_package_is_named_before_the_run_is_read(tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    run, out = str(tmp_path / "no run"), tmp_path / "model"
    assert main(["export", run, "--format", "onnx", "--out", str(out)]) == 2
    assert "pip install" in capsys.readouterr().err
    assert not out.exists()
