"""The model of a run: the same embeddings and the same numbers without the suite."""

import json
import re
import shutil
import sys
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch
import typer
from PIL import Image
from rich.console import Console
from shop_folder import NETWORK, TO_BE_TRAINED, UPPER_BLOCKS, build_shop, quick_folder
from typer.testing import CliRunner

from benchmarks import suite
from benchmarks.backbones import BackboneChoice, find_backbone
from benchmarks.backbones.extraction import build_frozen
from benchmarks.datasets.features import open_drawing
from benchmarks.datasets.folder import list_folder
from benchmarks.datasets.omniglot import decode
from benchmarks.models import build_models
from benchmarks.request import DataSource, RunRequest
from benchmarks.search import exchange
from benchmarks.search.architecture import describe_transform, describe_trunk, renamed
from benchmarks.search.export import export
from benchmarks.search.trained import model_of_run, trained_model
from pml_hierarchical import Hierarchy
from pml_hierarchical.accuracy import HierarchicalAccuracyCalculator
from pml_hierarchical.search import RetrievalModel
from pml_hierarchical.search.model import build


@pytest.fixture(scope="module")
def shop(tmp_path_factory):
    root = tmp_path_factory.mktemp("shop")
    with quick_folder(root / "cache"):
        yield build_shop(root / "pictures")


def run(shop, out, backbone, *losses):
    source = DataSource("folder", shop, backbone=backbone)
    request = RunRequest(source, losses, folds=(0,), out=out)
    return suite.run(suite.plan(request), Console(quiet=True)).results


@pytest.fixture(scope="module")
def frozen(shop, tmp_path_factory):
    """Runs of a hierarchical loss, its base and a loss without proxies on frozen features."""
    results = run(
        shop,
        tmp_path_factory.mktemp("runs"),
        NETWORK,
        "hpl:proxy_anchor",
        "hpl_given:proxy_anchor",
        "normalized_softmax",
        "contrastive",
    )
    return {result["config"]["loss"]: result for result in results}


def embeddings_again(shop, folder):
    """The embeddings of the test pictures through the exported model, and those of the run."""
    photographs = list_folder(shop)
    kept = np.load(folder / "test.npz")
    files = [photographs.files[i] for i in kept["test_indices"]]
    embeddings = model_of_run(folder).embed(files)
    wanted = torch.nn.functional.normalize(torch.from_numpy(kept["test_embeddings"])).numpy()
    return embeddings, wanted, kept["test_labels"]


@pytest.mark.parametrize("loss", ["hpl:proxy_anchor", "normalized_softmax", "contrastive"])
def test_the_numbers_of_a_run_are_found_again(shop, frozen, loss):
    result = frozen[loss]
    embeddings, wanted, labels = embeddings_again(shop, result["folder"])
    np.testing.assert_allclose(embeddings, wanted, atol=1e-5)
    calculator = HierarchicalAccuracyCalculator(include=("precision_at_1",))
    found = calculator.get_accuracy(torch.from_numpy(embeddings), torch.from_numpy(labels))
    for key, value in found.items():
        assert f"{100 * value:.1f}" == f"{100 * result['test'][key]:.1f}"


def test_a_trained_trunk_is_exported_with_its_weights(shop, tmp_path):
    (result,) = run(shop, tmp_path, TO_BE_TRAINED, "proxy_anchor")
    embeddings, wanted, _ = embeddings_again(shop, result["folder"])
    np.testing.assert_allclose(embeddings, wanted, atol=1e-5)


def test_trained_upper_blocks_are_exported_with_what_is_below(shop, tmp_path):
    """The run saw activations in half precision, the whole network has its own."""
    (result,) = run(shop, tmp_path, UPPER_BLOCKS, "proxy_anchor")
    embeddings, wanted, _ = embeddings_again(shop, result["folder"])
    np.testing.assert_allclose(embeddings, wanted, atol=2e-3)
    saved = model_of_run(result["folder"]).state_dict()
    trained = torch.load(result["folder"] / "best.pt", weights_only=True)["models"]["trunk"]
    start = build_frozen(find_backbone(UPPER_BLOCKS)).state_dict()
    found = {name.partition(".")[2].partition(".")[2]: tensor for name, tensor in saved.items()}
    for name, tensor in start.items():
        wanted_one = trained.get(f"network.{name}", tensor)
        assert torch.equal(found[name], wanted_one), name
    assert not torch.equal(found["_conv_head.weight"], start["_conv_head.weight"])


def test_names_and_trees_are_those_of_the_trained_classes(shop, frozen):
    """Discovered superclasses have names of their own, given ones those of the folders."""
    photographs = list_folder(shop)
    trained = np.unique(photographs.labels[photographs.split(0).train, 0])
    names = tuple(photographs.class_names[0][c] for c in trained)
    models = {loss: model_of_run(result["folder"]) for loss, result in frozen.items()}
    found = models["hpl:proxy_anchor"]
    assert found.class_names == found.hierarchy.names[0] == names
    loss_state = torch.load(frozen["hpl:proxy_anchor"]["folder"] / "best.pt")["loss_funcs"]
    fine = loss_state["metric_loss"]["level_losses.level0.proxies"]
    similarities = torch.cosine_similarity(fine, found.proxies)
    torch.testing.assert_close(similarities, torch.ones(len(names)))
    superclasses = np.load(frozen["hpl:proxy_anchor"]["folder"] / "tree.npz")["superclasses"]
    np.testing.assert_array_equal(found.hierarchy.class_labels[:, 1:].T, superclasses)
    folder_of = {file.parent.name: file.parent.parent.name for file in photographs.files}
    for loss in ("hpl_given:proxy_anchor", "normalized_softmax"):
        tree = models[loss].hierarchy
        above = [tree.names[1][node] for node in tree.class_labels[:, 1]]
        assert above == [folder_of[name] for name in names]
    assert models["contrastive"].class_names == ()
    with pytest.raises(ValueError, match="add-classes"):
        models["contrastive"].nearest_classes(np.zeros((1, 8)))


def test_the_command_writes_a_folder_that_loads(shop, frozen, tmp_path):
    app = typer.Typer()
    app.command()(export)
    folder = frozen["hpl:proxy_anchor"]["folder"]
    arguments = [str(folder), "--out", str(tmp_path / "model")]
    outcome = CliRunner().invoke(app, arguments)
    assert outcome.exit_code == 0
    assert "2 superclasses" in outcome.output
    model = RetrievalModel.load(tmp_path / "model")
    assert model.training_record["loss"] == "hpl:proxy_anchor"
    again = CliRunner().invoke(app, arguments).exception
    assert isinstance(again, FileExistsError)
    assert "choose another --out" in str(again)


def test_what_is_no_finished_run_is_refused(frozen, tmp_path):
    with pytest.raises(FileNotFoundError, match="finished run"):
        model_of_run(tmp_path)
    folder = tmp_path / "run"
    shutil.copytree(frozen["hpl:proxy_anchor"]["folder"], folder)
    result = json.loads((folder / "result.json").read_text())
    result["config"]["training"]["embedding_size"] = 9
    (folder / "result.json").write_text(json.dumps(result))
    with pytest.raises(ValueError, match="does not fit"):
        model_of_run(folder)
    (folder / "best.pt").write_bytes(b"\0" * 100)
    with pytest.raises(OSError, match=r"best\.pt"):
        model_of_run(folder)


def test_drawings_are_read_as_omniglot_is(tmp_path):
    """A drawing in a file, black on white, is what the glyph network was trained on."""
    random = np.random.default_rng(0)
    file = tmp_path / "drawing.png"
    Image.fromarray(random.integers(0, 2, (105, 105), dtype=np.uint8) * 255).save(file)
    drawing = torch.from_numpy(decode(file.read_bytes()).copy())[None, None]
    torch.manual_seed(0)
    models = build_models(drawing, 8)
    for model in models.values():
        model.eval()
    states = {name: model.state_dict() for name, model in models.items()}
    model = trained_model(
        "omniglot", BackboneChoice(), states, Flat(), torch.nn.Identity(), Hierarchy.flat(2), {}
    )
    with torch.no_grad():
        wanted = torch.nn.functional.normalize(models["embedder"](models["trunk"](drawing)))
    np.testing.assert_allclose(model.embed([file]), wanted.numpy(), atol=1e-5)


class Flat:
    has_proxies = False


def test_drawings_for_a_network_of_photographs(tmp_path):
    """Other networks see the drawing of 32 x 32, white on black, in three channels."""
    file = tmp_path / "drawing.png"
    ink = np.full((64, 64), 255, dtype=np.uint8)
    ink[10:40, 20:30] = 0
    Image.fromarray(ink).save(file)
    transform = torch.nn.Sequential(*map(Step, describe_transform(NETWORK, of_drawings=True)))
    wanted = find_backbone(NETWORK).transform(open_drawing(decode(file.read_bytes())))
    with Image.open(file) as image:
        found = transform(image.convert("RGB"))
    torch.testing.assert_close(found, wanted, atol=2 / 255 / 0.22, rtol=0)  # resized after, before


class Step(torch.nn.Module):
    def __init__(self, description):
        super().__init__()
        self.apply_to = build(description)

    def forward(self, value):
        return self.apply_to(value)


@pytest.mark.parametrize(
    "name",
    [
        "efficientnet_lite0",
        "torchvision:squeezenet1_1",
        "torchvision:googlenet",
        "torchvision:vit_b_32",
        "torchvision:vgg11_bn",
        "timm:resnet10t",
        "timm:vit_tiny_patch16_224.augreg_in21k",
    ],
)
def test_networks_of_all_sources_are_described(name):
    """What is built again has the tensors of the suite's network, in the same order."""
    choice = BackboneChoice(name, "none")
    with torch.device("meta"):
        found, wanted = build(describe_trunk(choice)), find_backbone(choice).build()
    shapes = [(key, one.shape) for key, one in wanted.state_dict().items()]
    assert [(key, one.shape) for key, one in found.state_dict().items()] == shapes
    assert str(found) == str(wanted)


def layer(name, **arguments):
    return {"builder": f"torch.nn.{name}", "arguments": arguments}


@pytest.fixture
def small_model():
    torch.manual_seed(0)
    layers = [layer("Conv2d", in_channels=3, out_channels=4, kernel_size=3), layer("BatchNorm2d",
              num_features=4), layer("ReLU"), layer("AdaptiveAvgPool2d", output_size=2),
              layer("Flatten"), layer("Linear", in_features=16, out_features=5)]  # fmt: skip
    return RetrievalModel(layers, [{"builder": "torchvision.transforms.ToTensor"}])


@pytest.mark.parametrize("write", [exchange.write_onnx, exchange.write_torchscript])
def test_other_runtimes_give_the_same_embeddings(small_model, tmp_path, write):
    """In a batch of another size than the one that the network was exported with."""
    path = write(small_model, tmp_path)
    inputs = torch.rand(7, 3, 64, 64)
    if path.suffix == ".onnx":
        session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
        (found,) = session.run(None, {"inputs": inputs.numpy()})
    else:
        found = torch.jit.load(path)(inputs).detach().numpy()
    with torch.no_grad():
        np.testing.assert_allclose(found, small_model(inputs).numpy(), atol=1e-5)


def test_an_export_that_differs_is_not_kept(small_model, tmp_path, monkeypatch):
    monkeypatch.setattr(exchange, "TOLERANCE", -1.0)
    with pytest.raises(ValueError, match=r"differ by .* it was not kept"):
        exchange.write_torchscript(small_model, tmp_path)
    assert not list(tmp_path.iterdir())


def test_a_missing_package_is_named(small_model, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(ValueError, match=r"onnxruntime: pip install .*\[export\]"):
        exchange.write_onnx(small_model, tmp_path)


def test_weights_of_another_network_are_refused():
    wanted = [layer("Linear", in_features=2, out_features=2)]
    linear, norm = torch.nn.Linear(2, 2).state_dict(), torch.nn.BatchNorm1d(2).state_dict()
    assert [*renamed(wanted, linear)] == ["0.weight", "0.bias"]
    for states in ((norm,), (linear, linear), ({"bias": torch.ones(2), "weight": torch.ones(2)},)):
        with pytest.raises(ValueError, match="another network"):
            renamed(wanted, *states)


def test_the_python_of_the_docs(shop, frozen, tmp_path, monkeypatch):
    """Every block of the page, in a folder with what it names."""
    page = (Path(__file__).parents[2] / "docs/models.md").read_text(encoding="utf-8")
    blocks = re.findall(r"^```py(?:thon)?\n(.*?)^```", page, re.DOTALL | re.MULTILINE)
    assert len(blocks) >= 5
    monkeypatch.chdir(tmp_path)
    run_folder = tmp_path / "runs/folder/hpl-proxy_anchor/seed0_fold0"
    run_folder.parent.mkdir(parents=True)
    run_folder.symlink_to(frozen["hpl:proxy_anchor"]["folder"])
    build_shop(tmp_path / "new_photos", {"fruit": ("kiwi",)}, pictures=1)
    Image.new("RGB", (30, 20), "green").save("query.jpg")
    model_of_run(run_folder).save("model")
    named = {}
    for block in blocks:
        found = {"__name__": "__main__"}
        exec(compile(block, "docs/models.md", "exec"), found)
        named |= found
    for stage in (named["resnet"], named["vit"]):
        with torch.device("meta"):
            assert isinstance(build(stage), torch.nn.Module)
    assert RetrievalModel.load("model2").class_names[-1] == "kiwi"
