import pytest
from dataset_trees import CARS_CLASSES, build_cars196, build_cars196_as_published

from benchmarks.datasets import look_at_dataset
from benchmarks.datasets.cars196 import BODY_TYPE_OF, body_type_of, list_cars196, make_of, tree_of


@pytest.fixture(params=[build_cars196, build_cars196_as_published])
def root(request, tmp_path):
    request.param(tmp_path)
    return tmp_path


def test_three_nested_levels(root):
    data = list_cars196(root)
    assert data.level_names == ("model", "make and body type", "body type")
    models = {name.replace("/", "-") for name in CARS_CLASSES.values()}
    assert {name.replace("/", "-") for name in data.class_names[0]} == models
    assert data.class_names[1] == (
        "Audi Convertible",
        "Acura Coupe",
        "Aston Martin Coupe",
        "Ram Minivan",
        "Ford Pickup",
        "AM General SUV",
        "Land Rover SUV",
    )
    assert data.class_names[2] == ("Convertible", "Coupe", "Minivan", "Pickup", "SUV")


def test_the_first_98_models_train(root):
    data = list_cars196(root)
    names = {data.class_names[0][i] for i in data.labels[data.test_half, 0]}
    assert names == {CARS_CLASSES[99], CARS_CLASSES[196]}
    assert data.test_half.sum() == 8
    assert len(data.files) == 28


def test_published_layout_has_no_missing_images(tmp_path, monkeypatch):
    monkeypatch.setenv("PML_HIERARCHICAL_CACHE", str(tmp_path / "cache"))
    build_cars196_as_published(tmp_path)
    assert not look_at_dataset("cars196", tmp_path).left_out
    (tmp_path / "car_ims/000003.jpg").unlink()
    with pytest.raises(FileNotFoundError, match=r"car_ims/000003\.jpg"):
        look_at_dataset("cars196", tmp_path)


@pytest.mark.parametrize(
    ("model", "make", "body_type"),
    [
        ("Infiniti G Coupe IPL 2012", "Infiniti", "Coupe"),
        ("Ford E-Series Wagon Van 2012", "Ford", "Van"),
        ("Ram C-V Cargo Van Minivan 2012", "Ram", "Minivan"),
        ("Rolls-Royce Phantom Drophead Coupe Convertible 2012", "Rolls-Royce", "Convertible"),
        ("Ford Ranger SuperCab 2011", "Ford", "Pickup"),
        ("Aston Martin Virage Coupe 2012", "Aston Martin", "Coupe"),
        ("Chevrolet HHR SS 2010", "Chevrolet", "Wagon"),
        ("smart fortwo Convertible 2012", "smart", "Convertible"),
    ],
)
def test_make_and_body_type(model, make, body_type):
    assert (make_of(model), body_type_of(model)) == (make, body_type)
    assert tree_of(model) == (body_type, f"{make} {body_type}", model)


def test_names_without_a_word_for_the_type_are_needed():
    for name, body_type in BODY_TYPE_OF.items():
        assert body_type not in name.split()
        assert body_type_of(f"{name} 2012") == body_type


def test_a_name_that_is_none_of_the_196():
    with pytest.raises(ValueError, match="'Fiat Panda 1980' of Cars196 has no body type"):
        body_type_of("Fiat Panda 1980")


@pytest.mark.parametrize("name", ["names.csv", "anno_train.csv", "anno_test.csv"])
def test_a_missing_list_is_named(tmp_path, name):
    build_cars196(tmp_path)
    (tmp_path / name).unlink()
    with pytest.raises(FileNotFoundError, match=rf"has no {name}\. Expected"):
        list_cars196(tmp_path)


@pytest.mark.parametrize(("name", "content"), [("anno_test.csv", "a.jpg,1,x\n"), ("names.csv", "")])
def test_malformed_lists(tmp_path, name, content):
    build_cars196(tmp_path)
    (tmp_path / name).write_text(content)
    with pytest.raises(ValueError, match=r"cars196 in .* cannot be read .*Expected in the folder"):
        list_cars196(tmp_path)


def test_a_mat_file_that_is_none(tmp_path):
    (tmp_path / "cars_annos.mat").write_text("404")
    with pytest.raises(ValueError, match=r"cars196 in .* cannot be read .*Expected in the folder"):
        list_cars196(tmp_path)
