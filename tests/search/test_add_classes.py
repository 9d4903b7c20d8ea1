"""New classes of a catalogue: placed in the tree, and nothing that was embedded is out of date."""

import numpy as np
import pytest
import torch
import typer
from PIL import Image
from typer.testing import CliRunner

from benchmarks.search.add_classes import add_classes
from benchmarks.search.all_classes import means_of_classes
from benchmarks.search.new_classes import with_classes_of
from pml_hierarchical import Hierarchy
from pml_hierarchical.search import RetrievalModel

TREE = Hierarchy(
    [[0, 0, 0], [1, 1, 0], [2, 2, 1]],
    [["apple", "leek", "milk"], ["fruit", "vegetables", "dairy"], ["plants", "animals"]],
)
PROXIES = {"apple": (1.0, 0.0, 0.0), "leek": (0.0, 1.0, 0.0), "milk": (0.0, 0.0, 1.0)}


@pytest.fixture
def model():
    """The embedding is the mean colour: red is fruit, green vegetables, blue dairy."""
    layers = [
        {"builder": "torch.nn.AdaptiveAvgPool2d", "arguments": {"output_size": 1}},
        {"builder": "torch.nn.Flatten"},
    ]
    transform = [{"builder": "torchvision.transforms.ToTensor"}]
    return RetrievalModel(layers, transform, [*PROXIES], [*PROXIES.values()], TREE)


def build(root, colours):
    for name, several in colours.items():
        (root / name).mkdir(parents=True)
        for number, colour in enumerate(several):
            Image.new("RGB", (6, 6), colour).save(root / name / f"{number}.png")
    return root


def test_means_are_of_directions():
    """However long the vectors are, which proxies need not be alike in."""
    vectors = torch.tensor([[9.0, 0.0], [0.0, 1.0], [0.0, 5.0]])
    found = means_of_classes(vectors, torch.tensor([7, 7, 3]))
    torch.testing.assert_close(found, torch.tensor([[0.0, 1.0], [0.5**0.5, 0.5**0.5]]))


def test_the_network_and_what_was_there_stay(model, tmp_path):
    folder = build(tmp_path / "new", {"fruit/plum": [(90, 0, 30), (30, 0, 90)]})
    grown, added = with_classes_of(model, folder)
    assert grown.fingerprint == model.fingerprint
    assert grown.class_names == ("apple", "leek", "milk", "plum")
    torch.testing.assert_close(grown.proxies[:3], model.proxies, rtol=0, atol=0)
    directions = model.embed(sorted((folder / "fruit/plum").iterdir()))
    mean = directions.mean(axis=0)
    np.testing.assert_allclose(grown.proxies[3], mean / np.linalg.norm(mean), atol=1e-6)
    assert [one.name for one in added] == ["plum"]
    assert len(model.class_names) == 3  # the model given is as it was
    picture = Image.new("RGB", (6, 6), (70, 0, 70))
    np.testing.assert_array_equal(grown.embed([picture]), model.embed([picture]))


def test_a_superclass_is_the_one_named_or_the_nearest(model, tmp_path):
    """Blue fruit is fruit since its folder says so; of an unknown folder its colour decides, and
    within plants only plants are looked at.
    """
    blue = [(10, 20, 200)]
    shelves = {"fruit/blueberry": blue, "novelties/blue cheese": blue, "plants/violet": blue}
    grown, added = with_classes_of(model, build(tmp_path / "new", shelves))
    found = {one.name: (one.superclass, one.named) for one in added}
    assert found == {
        "blueberry": ("fruit", "fruit"),
        "blue cheese": ("dairy", None),
        "violet": ("vegetables", "plants"),
    }
    tree = grown.hierarchy
    assert tree.sizes == (6, 3, 2)
    assert tree.names[1:] == TREE.names[1:]
    np.testing.assert_array_equal(tree.class_labels[:3], TREE.class_labels)
    above = {
        name: (tree.names[1][row[1]], tree.names[2][row[2]])
        for name, row in zip(tree.names[0], tree.class_labels, strict=True)
    }
    assert above["violet"] == ("vegetables", "plants")
    assert above["blue cheese"] == ("dairy", "animals")


def test_superclasses_of_one_name_are_told_apart_by_what_is_above_them(tmp_path):
    names = [["apple", "pear", "milk"], ["food/fruit", "toys/fruit", "dairy"], ["food", "toys"]]
    tree = Hierarchy([[0, 0, 0], [1, 1, 1], [2, 2, 1]], names)
    layers = [
        {"builder": "torch.nn.AdaptiveAvgPool2d", "arguments": {"output_size": 1}},
        {"builder": "torch.nn.Flatten"},
    ]
    transform = [{"builder": "torchvision.transforms.ToTensor"}]
    model = RetrievalModel(layers, transform, names[0], [*PROXIES.values()], tree)
    blue = [(10, 20, 200)]  # nearest to dairy, which is among the toys
    for name in ("toys/fruit", "food/fruit"):
        folder = build(tmp_path / name.replace("/", "-"), {f"{name}/lemon": blue})
        ((lemon,),) = with_classes_of(model, folder)[1:]
        assert (lemon.superclass, lemon.named) == (name, name)


def test_classes_that_are_there_are_not_looked_at(model, tmp_path):
    folder = build(tmp_path / "all", {"fruit/apple": [(0, 0, 9)], "fruit/fig": [(9, 0, 0)]})
    (folder / "fruit/apple/1.png").write_text("broken")
    grown, _ = with_classes_of(model, folder)
    assert grown.class_names[3:] == ("fig",)
    torch.testing.assert_close(grown.proxies[0], model.proxies[0])
    (folder / "fruit/fig/1.png").write_text("broken")
    with pytest.raises(OSError, match=r"1\.png"):
        with_classes_of(model, folder)
    assert with_classes_of(model, folder, skip_broken=True)[0].class_names[3:] == ("fig",)
    with pytest.raises(ValueError, match="nothing to add"):
        with_classes_of(grown, build(tmp_path / "old", {"fruit/apple": [(0, 0, 9)]}))


def test_a_model_without_a_tree_or_without_classes(model, tmp_path):
    folder = build(tmp_path / "new", {"fruit/fig": [(9, 0, 0)], "fruit/kiwi": [(0, 9, 0)]})
    plan = model.description["architecture"], model.description["transform"]
    flat = RetrievalModel(*plan, ["apple"], [PROXIES["apple"]])
    grown, added = with_classes_of(flat, folder)
    assert (grown.class_names, grown.hierarchy) == (("apple", "fig", "kiwi"), None)
    assert {one.superclass for one in added} == {None}
    grown, _ = with_classes_of(RetrievalModel(*plan), folder)
    nearest = grown.nearest_classes(grown.embed([Image.new("RGB", (5, 5), (1, 8, 0))]))
    assert grown.class_names[nearest[0]] == "kiwi"


def test_the_bar_counts_pictures(model, tmp_path, capsys):
    build(tmp_path / "new", {"fruit/fig": [(9, 0, 0)] * 70})
    with_classes_of(model, tmp_path / "new")
    lines = capsys.readouterr().err.split("\r")
    assert "70/70" in [line for line in lines if "new classes" in line][-1]


def test_the_command(model, tmp_path):
    model.save(tmp_path / "model")
    build(
        tmp_path / "new",
        {"fruit/fig": [(9, 0, 0)], "other/ice": [(0, 1, 9)], "plants/moss": [(1, 9, 2)]},
    )
    app = typer.Typer()
    app.command()(add_classes)
    arguments = [str(tmp_path / name) for name in ("model", "new")]
    outcome = CliRunner().invoke(app, [*arguments, "--out", str(tmp_path / "model2")])
    assert outcome.exit_code == 0, outcome.exception
    assert "added fig in fruit\n" in outcome.output
    assert "added ice in dairy (the nearest)\n" in outcome.output
    assert "added moss in vegetables (the nearest within plants)\n" in outcome.output
    loaded = RetrievalModel.load(tmp_path / "model2")
    assert loaded.hierarchy.sizes == (6, 3, 2)
    again = CliRunner().invoke(app, [*arguments, "--out", str(tmp_path / "model2")]).exception
    assert isinstance(again, FileExistsError)
