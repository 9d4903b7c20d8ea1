"""A model in a folder: what comes back, where, and what is refused."""

import ast
import json
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import pml_hierarchical
from pml_hierarchical import Hierarchy
from pml_hierarchical.search import RetrievalModel
from pml_hierarchical.search.model import build
from pml_hierarchical.search.pictures import open_picture

NAMES = ["red apple", "green apple", "soy milk"]


def step(name, **arguments):
    return {"builder": f"torchvision.transforms.{name}", "arguments": arguments}


def layer(name, **arguments):
    return {"builder": f"torch.nn.{name}", "arguments": arguments}


TRANSFORM = [step("Resize", size=8, interpolation="bicubic"), step("CenterCrop", size=8)]
TRANSFORM += [step("ToTensor"), step("Normalize", mean=[0.5] * 3, std=[0.25] * 3)]


def layers(channels=4, size=6):
    trunk = [layer("Conv2d", in_channels=3, out_channels=channels, kernel_size=3)]
    trunk += [layer("BatchNorm2d", num_features=channels), layer("Flatten")]
    return [trunk, layer("Linear", in_features=36 * channels, out_features=size)]


@pytest.fixture
def model():
    torch.manual_seed(0)
    made = RetrievalModel(
        layers(),
        TRANSFORM,
        NAMES,
        torch.randn(3, 6),
        Hierarchy([[0, 0], [1, 0], [2, 1]]),
        training={"data": "a test"},
    )
    made.network[0][1].running_mean.normal_()
    return made


@pytest.fixture
def pictures(tmp_path):
    """Files in three formats and modes, one turned by its EXIF data."""
    random = np.random.default_rng(0)
    colours = Image.fromarray(random.integers(0, 256, (20, 30, 3), dtype=np.uint8))
    clear = colours.convert("RGBA")
    clear.putalpha(Image.fromarray(random.integers(0, 256, (20, 30), dtype=np.uint8)))
    deep = Image.fromarray(random.integers(0, 65536, (20, 30), dtype=np.uint16))
    exif = Image.Exif()
    exif[0x0112] = 6  # the orientation
    files = [tmp_path / name for name in ("turned.jpg", "clear.png", "deep.png")]
    colours.save(files[0], exif=exif)
    clear.save(files[1])
    deep.save(files[2])
    return files


def test_a_model_comes_back_as_it_was(model, pictures, tmp_path):
    model.save(tmp_path / "a" / "model")
    before = torch.get_rng_state()
    loaded = RetrievalModel.load(tmp_path / "a" / "model")
    assert torch.equal(torch.get_rng_state(), before)
    np.testing.assert_array_equal(loaded.embed(pictures), model.embed(pictures))
    torch.testing.assert_close(loaded.proxies, model.proxies, rtol=0, atol=0)
    assert not any(module.training for module in loaded.modules())
    for name in ("class_names", "hierarchy", "embedding_size", "fingerprint", "training_record"):
        assert getattr(loaded, name) == getattr(model, name)
    assert loaded.hierarchy.names == (tuple(NAMES), ("apple", "milk"))


def test_embeddings_are_those_of_the_network(model, pictures):
    """By hand: open, transform, network, length 1; the same for files and opened pictures."""
    inputs = torch.stack([model.transform(open_picture(file)) for file in pictures])
    with torch.no_grad():
        wanted = model.network(inputs)
    wanted = wanted / wanted.norm(dim=1, keepdim=True)
    for batch_size in (1, 2, 32):
        found = model.embed(pictures, batch_size)
        assert found.dtype == np.float32
        np.testing.assert_allclose(found, wanted.numpy(), atol=1e-6)
    opened = [Image.open(file) for file in pictures]
    np.testing.assert_array_equal(model.embed(opened), model.embed([str(one) for one in pictures]))
    for one in (pictures[0], str(pictures[0]), opened[0]):
        np.testing.assert_array_equal(model.embed(one), model.embed(pictures[:1]))
    assert model.embed([]).shape == (0, 6)


def test_nearest_classes(model):
    embeddings = np.random.default_rng(0).normal(size=(50, 6))
    proxies = model.proxies.numpy()
    cosines = embeddings @ (proxies / np.linalg.norm(proxies, axis=1, keepdims=True)).T
    np.testing.assert_array_equal(model.nearest_classes(embeddings), cosines.argmax(axis=1))


def test_the_fingerprint_is_of_what_makes_embeddings(model):
    """Weights, buffers and transform count; classes do not."""
    state = model.network.state_dict()
    assert RetrievalModel(layers(), TRANSFORM, weights=state).fingerprint == model.fingerprint
    other = [step("Resize", size=9, interpolation="bicubic"), *TRANSFORM[1:]]
    assert RetrievalModel(layers(), other, weights=state).fingerprint != model.fingerprint
    for name in state:
        changed = {**state, name: state[name] + 1}
        found = RetrievalModel(layers(), TRANSFORM, weights=changed).fingerprint
        assert found != model.fingerprint


def test_a_network_of_your_own_training(tmp_path):
    """Trunk and embedder, trained apart, become one model by their weights."""
    torch.manual_seed(0)
    trunk = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.BatchNorm2d(4),
                                torch.nn.Flatten()).eval()  # fmt: skip
    embedder = torch.nn.Linear(144, 6)
    weights = torch.nn.Sequential(trunk, embedder).state_dict()
    model = RetrievalModel(layers(), TRANSFORM, weights=weights)
    inputs = torch.rand(2, 3, 8, 8)
    wanted = torch.nn.functional.normalize(embedder(trunk(inputs)))
    torch.testing.assert_close(model(inputs), wanted)


def test_what_a_search_needs():
    """Neither the suite nor its packages: whoever searches installs few."""
    folder = Path(pml_hierarchical.__file__).parent / "search"
    imported = set()
    for node in (node for path in folder.glob("*.py") for node in ast.walk(parse(path))):
        names = [alias.name for alias in getattr(node, "names", [])]
        if isinstance(node, ast.ImportFrom):
            names = [node.module or ""] if node.level == 0 else []
        if isinstance(node, (ast.Import, ast.ImportFrom)):
            imported |= {name.partition(".")[0] for name in names}
    needed = {"numpy", "torch", "torchvision", "PIL", "safetensors"}
    assert {"torch", "safetensors"} <= imported
    assert imported - needed - sys.stdlib_module_names == set()


def parse(path):
    return ast.parse(path.read_text())


def change(folder, **changes):
    path = folder / "model.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def test_folders_that_cannot_be_loaded(model, tmp_path, monkeypatch):
    """Each says what is wrong, and what to do."""
    folder = tmp_path / "model"
    with pytest.raises(FileNotFoundError, match=r"not a model folder.*train and export"):
        RetrievalModel.load(folder)
    model.save(folder)
    weights = (folder / "model.safetensors").read_bytes()

    def refused(message):
        with pytest.raises(ValueError, match=message):
            RetrievalModel.load(folder)
        model.save(folder)

    change(folder, version=2)
    refused("version 2.*pip install --upgrade pml-hierarchical")
    change(folder, format="a gallery")
    refused("'a gallery'")
    change(folder, architecture=layers(channels=5))
    refused("do not fit.*size mismatch")
    change(folder, transform=[])
    refused("do not fit")
    change(folder, class_names=NAMES[:2])
    refused("2")
    for content in (b"{", b"\xff\xfe\x00", b'"\xc3"'):
        (folder / "model.json").write_bytes(content)
        refused("damaged.*copy it again")
    (folder / "model.safetensors").write_bytes(weights[:-9])
    refused("damaged.*copy it again")
    (folder / "model.safetensors").unlink()
    refused("damaged.*copy it again")
    RetrievalModel(layers(), TRANSFORM, NAMES, model.proxies).save(tmp_path / "other")
    (tmp_path / "other" / "model.safetensors").replace(folder / "model.safetensors")
    refused("two models")
    timm = {"builder": "timm.create_model", "arguments": {"model_name": "resnet10t"}}
    change(folder, architecture=timm)
    monkeypatch.setitem(sys.modules, "timm", None)
    refused("pip install timm")
    assert RetrievalModel.load(folder).fingerprint == model.fingerprint


@pytest.mark.parametrize(
    "part",
    [
        {"builder": "os.system", "arguments": {"command": "true"}},
        {"builder": "torch.load", "arguments": {"f": "x"}},
        {"builder": "torch.nn.functional.relu", "arguments": {}},
        {"builder": "torch.nn.modules.sys.exit", "arguments": {}},
        {"builder": "torchvision.transforms.Lambda", "arguments": {"lambd": "x"}},
        {"builder": "torchvision.transforms.RandomErasing"},  # embeddings would be random
        {"builder": "timm.create_model", "arguments": {"model_name": "x", "checkpoint_path": "x"}},
        {"builder": "timm.create_model", "arguments": {"model_name": "x", "pretrained": True}},
        {"builder": "timm.create_model", "arguments": {"model_name": "hf-hub:someone/model"}},
        {"builder": "timm.create_model", "arguments": {"model_name": "local-dir:folder"}},
        {"builder": "torchvision.models.get_model", "arguments": {"name": "x", "weights": "x"}},
        {
            "builder": "torchvision.models.get_model",
            "arguments": {"name": "retinanet_resnet50_fpn"},
        },
        {"builder": "torch.nn.Linear", "arguments": {"in_features": 2}},
        {"builder": "torch.nn.Linear"},
        {"arguments": {}},
        "torch.nn.ReLU",
    ],
)
def test_a_folder_runs_no_code_and_fetches_nothing(part):
    with pytest.raises(ValueError, match=r"no part|is not allowed: use|cannot be built"):
        build(part)


def test_what_does_not_fit_is_refused(tmp_path):
    cases = [
        ({"class_names": ["a"], "proxies": torch.ones(2, 6)}, r"need proxies, got \(2, 6\)"),
        ({"class_names": ["a"], "proxies": torch.ones(1, 5)}, "do not fit"),
        ({"class_names": ["a"]}, r"1 classes need proxies, got \(0,\)"),
        ({"weights": {"0.weight": torch.ones(1)}}, "do not fit"),
        ({"class_names": ["a", "b"], "proxies": torch.ones(2, 6),
          "hierarchy": Hierarchy.flat(3)}, "3"),
        ({"class_names": ["a", "a"], "proxies": torch.ones(2, 6)}, "2 different strings.*'a'"),
    ]  # fmt: skip
    for arguments, message in cases:
        with pytest.raises(ValueError, match=message):
            RetrievalModel(layers(), TRANSFORM, **arguments)
    with pytest.raises(ValueError, match="do not fit"):
        RetrievalModel([layer("ReLU")], TRANSFORM)


def test_a_tree_in_any_form():
    tree = {"pear": "fruit", "apple": "fruit", "milk": "dairy"}
    for given in (tree, Hierarchy.of(tree).to_dict(), Hierarchy.of(tree).class_labels):
        made = RetrievalModel(layers(), TRANSFORM, [*tree], torch.ones(3, 6), given)
        assert made.hierarchy.class_labels.tolist() == [[0, 0], [1, 0], [2, 1]]
        assert made.hierarchy.names[0] == tuple(tree)


@pytest.mark.parametrize("broken", ["training", "disk"])
def test_a_model_that_cannot_be_saved_leaves_the_earlier_one(model, tmp_path, monkeypatch, broken):
    model.save(tmp_path)
    other = RetrievalModel(layers(), TRANSFORM, NAMES, model.proxies)
    if broken == "training":  # no plain value
        other.training_record = {"rate": np.float32(1)}
    else:
        write = Path.write_bytes
        monkeypatch.setattr(
            Path, "write_bytes", lambda path, some: write(path, some[: len(some) // 2]) // 0
        )
    with pytest.raises((TypeError, ZeroDivisionError)):
        other.save(tmp_path)
    assert RetrievalModel.load(tmp_path).fingerprint == model.fingerprint


@pytest.mark.parametrize("format", ["JPEG", "PNG"])
def test_a_picture_that_is_cut_off_is_named(tmp_path, format):
    file = tmp_path / "half.jpg"
    random = np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)
    Image.fromarray(random).save(file, format)
    file.write_bytes(file.read_bytes()[:2000])
    with pytest.raises(OSError, match=r"half\.jpg' is cut off or damaged .*: copy it again"):
        open_picture(file)


def test_what_is_no_picture_is_named(model, tmp_path):
    file = tmp_path / "list.txt"
    file.write_text("apple")
    with pytest.raises(
        OSError, match=r"list\.txt' cannot be read \([\w ]*\): .*such as JPEG or PNG"
    ):
        model.embed([file])
    with pytest.raises(ValueError, match="batch_size must be at least 1, got -1"):
        model.embed([file], batch_size=-1)
    with pytest.raises(FileNotFoundError, match="missing"):
        model.embed([tmp_path / "missing.png"])
