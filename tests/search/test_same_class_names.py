"""Classes of one name in several superclasses: added once each, and told apart."""

import warnings

import numpy as np
import pytest
from PIL import Image

from benchmarks.search.embed_folder import classes_of
from benchmarks.search.new_classes import with_classes_of
from pml_hierarchical import Hierarchy
from pml_hierarchical.search import RetrievalModel

LAYERS = [
    {"builder": "torch.nn.AdaptiveAvgPool2d", "arguments": {"output_size": 1}},
    {"builder": "torch.nn.Flatten"},
]
TRANSFORM = [{"builder": "torchvision.transforms.ToTensor"}]
CATALOGUE = ("fruit/apple", "fruit/pear", "dairy/cream", "dairy/milk")
NAMES = ["cream", "milk", "apple", "pear"]
PARENTS = [0, 0, 1, 1]
BY_SUITE = {"dataset": "folder", "loss": "hpl_given:proxy_anchor"}


def make_model(names, parents=None, superclasses=("dairy", "fruit"), record=None):
    tree = None
    if parents is not None:
        tree = Hierarchy(
            np.stack([np.arange(len(names)), parents], axis=1), [names, superclasses or None]
        )
    proxies = np.random.default_rng(0).random((len(names), 3))
    return RetrievalModel(LAYERS, TRANSFORM, names, proxies, tree, training=record)


def build(root, *classes):
    for name in classes:
        (root / name).mkdir(parents=True)
        Image.new("RGB", (6, 6), (len(name), 9, 9)).save(root / name / "0.png")
    return root


def added(model, root, *classes):
    grown, new = with_classes_of(model, build(root, *classes))
    return grown, [one.name for one in new]


def test_the_whole_catalogue_with_one_class_more(tmp_path):
    """``apple`` is in the model; the folder's names of it and of the new class are longer."""
    model = make_model(NAMES, PARENTS)
    grown, names = added(model, tmp_path / "new", *CATALOGUE, "toys/apple")
    assert names == ["toys/apple"]
    assert grown.class_names == (*NAMES, "toys/apple")


def test_a_class_whose_name_is_longer_in_the_model(tmp_path):
    model = make_model(["fruit/apple", "toys/apple"], [0, 1], ("fruit", "toys"))
    with pytest.raises(ValueError, match=r"all classes of .* \(1\)"):
        added(model, tmp_path / "old", "toys/apple")
    _, names = added(model, tmp_path / "new", "toys/apple", "tools/apple", "toys/kite")
    assert names == ["tools/apple", "kite"]


@pytest.mark.parametrize("record", [None, BY_SUITE])
def test_another_class_of_the_name_in_a_known_superclass(tmp_path, record):
    model = make_model([*NAMES, "kite"], [*PARENTS, 2], ("dairy", "fruit", "toys"), record)
    assert added(model, tmp_path / "new", "toys/apple")[1] == ["toys/apple"]


def test_another_class_of_the_name_in_a_new_superclass(tmp_path):
    model = make_model(NAMES, PARENTS, record=BY_SUITE)
    assert added(model, tmp_path / "new", "toys/apple")[1] == ["toys/apple"]


def test_two_new_classes_of_one_name(tmp_path):
    _, names = added(make_model(NAMES, PARENTS), tmp_path, *CATALOGUE, "toys/fig", "fruit/fig")
    assert sorted(names) == ["fruit/fig", "toys/fig"]


@pytest.mark.parametrize("parents", [None, PARENTS], ids=["flat", "discovered"])
def test_without_given_superclasses_the_name_decides(tmp_path, parents):
    model = make_model(NAMES, parents, superclasses=None, record=BY_SUITE)
    _, names = added(model, tmp_path / "new", *CATALOGUE, "toys/kite")
    assert names == ["kite"]
    with pytest.raises(ValueError, match="fruit/apple and toys/apple cannot be told apart"):
        added(model, tmp_path / "two", "fruit/apple", "toys/apple")


def test_superclasses_with_names_that_are_not_those_of_the_folders(tmp_path):
    model = make_model(NAMES, PARENTS, ("things of milk", "things from trees"))
    assert added(model, tmp_path / "new", *CATALOGUE, "toys/kite")[1] == ["kite"]


def test_the_same_folder_twice(tmp_path):
    """Also if a class was placed in a superclass that is not its folder's."""
    model = make_model(NAMES, PARENTS, record=BY_SUITE)
    grown, names = added(model, tmp_path / "new", *CATALOGUE, "toys/apple", "novelties/kite")
    assert names == ["kite", "toys/apple"]
    with pytest.raises(ValueError, match=r"all classes of .* \(6\)"):
        with_classes_of(grown, tmp_path / "new")
    again, names = added(grown, tmp_path / "more", "fruit/kite", "toys/apple", "toys/top")
    assert names == ["fruit/kite", "top"]
    with pytest.raises(ValueError, match=r"all classes of .* \(3\)"):
        with_classes_of(again, tmp_path / "more")


def test_deeper_catalogues(tmp_path):
    table = [[0, 0, 0], [1, 1, 1]]
    names = [["apple", "kite"], ["A/x", "B/x"], ["A", "B"]]
    model = RetrievalModel(
        LAYERS, TRANSFORM, names[0], np.eye(2, 3), Hierarchy(table, names), training=BY_SUITE
    )
    new = added(model, tmp_path, "A/x/apple", "B/x/kite", "B/x/apple", "A/y/kite")[1]
    assert sorted(new) == ["A/y/kite", "B/x/apple"]


def test_the_folder_that_is_given_counts_as_a_superclass(tmp_path):
    """The pictures of ``photos/fruit/apple`` are as known as those of ``photos/fruit``."""
    model = make_model(["fruit/apple", "toys/apple"], [0, 1], ("fruit", "toys"))
    embeddings = np.ones((1, 3), np.float32)
    for folder, path in (("fruit/apple", "0.png"), ("fruit", "apple/0.png"), ("", "fruit/apple/0")):
        classes, known = classes_of(model, [path], tmp_path / folder, embeddings)
        assert (classes.tolist(), known.tolist()) == ([0], [True])


def test_classes_of_one_name_in_several_superclasses_are_named(tmp_path):
    """They are different classes, which may not be what was meant."""
    model = make_model(NAMES, PARENTS, record=BY_SUITE)
    new = ("toys/apple", "toys/fig", "fruit/fig", "toys/top")
    with pytest.warns(UserWarning, match="count as different classes") as caught:
        added(model, tmp_path / "new", *CATALOGUE, *new)
    (message,) = [str(one.message) for one in caught]
    assert (
        "differ: fruit/fig and toys/fig; toys/apple and the model's apple in fruit. If" in message
    )
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        added(model, tmp_path / "one", "toys/kite", *CATALOGUE)


def test_a_superclass_that_the_model_has_elsewhere(tmp_path):
    table = [[0, 0, 0], [1, 1, 1]]
    names = [["apple", "kite"], ["fruit", "games"], ["food", "toys"]]
    tree = Hierarchy(table, names)
    model = RetrievalModel(LAYERS, TRANSFORM, names[0], np.eye(2, 3), tree, training=BY_SUITE)
    with pytest.warns(UserWarning, match="is in toys") as caught:
        _, (plush,) = with_classes_of(model, build(tmp_path / "new", "toys/fruit/plush"))
    (message,) = [str(one.message) for one in caught]
    said = "the folder of plush is in toys, but the model's fruit is not: plush was placed in "
    assert f"{said}food/fruit. " in message
    assert plush.superclass == "fruit"
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # another fruit in toys is a new superclass
        with_classes_of(model, build(tmp_path / "two", "toys/fruit/plush", "food/fruit/fig"))


def test_a_superclass_that_the_model_has_beside_the_other(tmp_path):
    names = [["apple", "kite"], ["fruit", "toys"]]
    tree = Hierarchy([[0, 0], [1, 1]], names)
    model = RetrievalModel(LAYERS, TRANSFORM, names[0], np.eye(2, 3), tree, training=BY_SUITE)
    said = "the folder of plush is in toys, but the model's fruit is not: plush was placed in fruit"
    with pytest.warns(UserWarning, match=said):
        with_classes_of(model, build(tmp_path / "new", "toys/fruit/plush"))
