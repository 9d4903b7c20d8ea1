"""Names whose accents follow their letters, as a Mac writes them (NFD), and names in NFC."""

import unicodedata

import numpy as np
import pytest
from PIL import Image

from benchmarks.datasets.classes import number_classes
from benchmarks.search.answers import find_answers
from benchmarks.search.embed_folder import classes_of
from benchmarks.search.embed_pictures import find_pictures
from benchmarks.search.new_classes import with_classes_of
from benchmarks.search_page.classes import ClassNames
from pml_hierarchical import Hierarchy
from pml_hierarchical.search import Index, RetrievalModel

NAMES = ["café/thé", "café/crème", "bar/thé"]
FORMS = [("NFC", "NFD"), ("NFD", "NFC")]


def written(names, form):
    return [unicodedata.normalize(form, name) for name in names]


def make_model(form):
    layers = [
        {"builder": "torch.nn.AdaptiveAvgPool2d", "arguments": {"output_size": 1}},
        {"builder": "torch.nn.Flatten"},
    ]
    transform = [{"builder": "torchvision.transforms.ToTensor"}]
    names = written(NAMES, form)
    tree = Hierarchy([[0, 0], [1, 0], [2, 1]], [names, written(["café", "bar"], form)])
    return RetrievalModel(layers, transform, names, np.eye(3), tree)


def write_pictures(root, names):
    for name in names:
        (root / name).mkdir(parents=True)
        Image.new("RGB", (6, 6), "red").save(root / name / "0.png")


def test_classes_that_look_the_same_have_their_parents():
    (one,), (other,) = written(["café"], "NFC"), written(["café"], "NFD")
    _, names = number_classes([("bar", one), ("pub", other), ("pub", "thé")])
    assert names == ((f"bar/{one}", f"pub/{other}", "thé"), ("bar", "pub"))


@pytest.mark.parametrize(("of_model", "of_folders"), FORMS)
def test_folders_are_classes_of_the_model(tmp_path, of_model, of_folders):
    paths = [f"{name}/0.png" for name in written([*NAMES, "crème"], of_folders)]
    model = make_model(of_model)
    classes, known = classes_of(model, paths, tmp_path, np.ones((4, 3), np.float32))
    assert (classes.tolist(), known.all()) == ([0, 1, 2, 1], True)


@pytest.mark.parametrize(("of_model", "of_folders"), FORMS)
def test_classes_and_superclasses_are_not_added_again(tmp_path, of_model, of_folders):
    write_pictures(tmp_path, written([*NAMES, "café/gâteau"], of_folders))
    _, added = with_classes_of(make_model(of_model), tmp_path)
    ((superclass,),) = [written(["café"], of_model)]
    (name,) = written(["gâteau"], of_folders)
    assert [(one.name, one.superclass, one.named) for one in added] == [
        (name, superclass, superclass)
    ]


@pytest.mark.parametrize(("of_model", "typed"), FORMS)
def test_only_the_class_that_is_typed_is_searched(tmp_path, of_model, typed):
    write_pictures(tmp_path, NAMES)
    model, found = make_model(of_model), find_pictures([tmp_path])
    index = Index.build(np.eye(3, dtype=np.float32), NAMES, [0, 1, 2], model.hierarchy)
    (first, _, _) = find_answers(index, model, found, 3, 1, written(["café"], typed)).queries
    assert len(first.answers) == 2


@pytest.mark.parametrize(("of_model", "typed"), FORMS)
def test_names_that_are_typed_on_the_page(of_model, typed):
    tree = make_model(of_model).hierarchy
    names = ClassNames(tree.class_labels, list(tree.names), np.arange(3), np.ones(3, bool))
    whole, short, part = written(["bar/thé", "crème", "CAFÉ"], typed)
    assert (names.find(whole), names.find(short)) == (2, 1)
    assert names.rows(part).tolist() == [0, 1]
    assert names.suggestions(part, 9) == written(["café", "café/thé", "crème"], of_model)
    (ambiguous,) = written(["thé"], typed)
    with pytest.raises(ValueError, match="Several classes are called"):
        names.find(ambiguous)
