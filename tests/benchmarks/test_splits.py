from dataclasses import replace
from itertools import combinations

import numpy as np
import pytest
from PIL import Image
from small_data import SMALL_SETTINGS, make_small_data

from benchmarks import suite
from benchmarks.command_line import main
from benchmarks.datasets import DATASETS, DatasetEntry
from benchmarks.datasets.base import NUM_FOLDS, LabelledImages, split_by_class
from benchmarks.settings import SETTINGS

NUM_CLASSES = 43  # neither half nor quarter is whole


@pytest.fixture(scope="module")
def labels():
    """Classes of 1 to 9 images in no order, five to a superclass."""
    rng = np.random.default_rng(7)
    fine = rng.permutation(np.repeat(np.arange(NUM_CLASSES), rng.integers(1, 10, NUM_CLASSES)))
    return np.stack([fine, fine // 5], axis=1)


def parts(split):
    return split.train, split.val, split.test


@pytest.mark.parametrize("fold", range(NUM_FOLDS))
def test_every_image_is_in_one_part_and_no_class_in_two(labels, fold):
    split = split_by_class(labels, fold)
    assert sorted(np.concatenate(parts(split))) == list(range(len(labels)))
    for one, other in combinations(parts(split), 2):
        assert not set(labels[one, 0]) & set(labels[other, 0])


@pytest.mark.parametrize("fold", range(NUM_FOLDS))
def test_sizes(labels, fold):
    train, val, test = (len(set(labels[part, 0])) for part in parts(split_by_class(labels, fold)))
    assert test == NUM_CLASSES // 2
    assert val in (5, 6)
    assert train == NUM_CLASSES - test - val


def test_folds_share_the_test_half_and_divide_the_training_half(labels):
    splits = [split_by_class(labels, fold) for fold in range(NUM_FOLDS)]
    for split in splits[1:]:
        np.testing.assert_array_equal(split.test, splits[0].test)
    validated = np.concatenate([split.val for split in splits])
    assert sorted(validated) == sorted(np.concatenate([splits[0].train, splits[0].val]))


def test_deterministic_and_led_by_the_order_seed_alone(labels):
    first = split_by_class(labels, 1)
    np.random.seed(0)  # noqa: NPY002 - a training seed, which must not matter
    for one, other in zip(parts(first), parts(split_by_class(labels, 1)), strict=True):
        np.testing.assert_array_equal(one, other)
    assert set(split_by_class(labels, 1, order_seed=1).test) != set(first.test)


def test_classes_are_shuffled_before_they_are_cut(labels):
    split = split_by_class(labels, 0)
    superclasses = set(labels[:, 1])
    assert len(set(labels[split.test, 1])) > 0.7 * len(superclasses)
    assert len(set(labels[split.train, 1])) > 0.7 * len(superclasses)


@pytest.mark.parametrize("fold", [-1, NUM_FOLDS])
def test_unknown_fold(labels, fold):
    with pytest.raises(ValueError, match=rf"fold must be in 0\.\.3, got {fold}"):
        split_by_class(labels, fold)


def of_size(counts):
    """A data set with so many images of each class."""
    labels = np.repeat(np.arange(len(counts)), counts)[:, None]
    return LabelledImages(
        name="mine",
        labels=labels,
        level_names=("class",),
        class_names=(tuple(map(str, range(len(counts)))),),
        picture=lambda i: Image.new("L", (1, 1)),
    )


@pytest.mark.parametrize(
    ("counts", "part"),
    [
        ([1] * 40, "validation"),
        ([1] * 7, "validation"),
        ([2] * 7, "validation"),  # two images of the only class: always found
        ([3] * 14, "validation"),
    ],
)
def test_a_validation_that_says_nothing_is_an_error(counts, part):
    with pytest.raises(ValueError, match=rf"the {part} of fold 3 of mine has .*Add images or cl"):
        of_size(counts).check_accuracy(3)


def test_a_test_that_says_nothing_is_an_error():
    data = of_size([2] * 20)
    testing = set(data.labels[data.split(0).test, 0])
    single = of_size([1 if i in testing else 2 for i in range(20)])
    with pytest.raises(ValueError, match="the test of fold 0 of mine has 10 images"):
        single.check_accuracy(0)
    half = np.isin(single.labels[:, 0], list(testing))
    gallery = half & (single.labels[:, 0] == min(testing))
    with pytest.raises(ValueError, match="9 images to be searched for among 1 image of 1 class:"):
        replace(single, test_half=half, gallery=gallery).check_accuracy(0)


def test_two_images_of_two_classes_are_enough():
    for fold in range(NUM_FOLDS):
        of_size([2] * 15).check_accuracy(fold)
    for fold, split in ((f, of_size([1, 2] * 30).split(f)) for f in range(NUM_FOLDS)):
        assert len(split.val)
        of_size([1, 2] * 30).check_accuracy(fold)


def test_queries_need_one_image_of_theirs_in_the_gallery():
    data = of_size([2] * 16)
    half = data.labels[:, 0] >= 8
    gallery = half & (np.arange(len(half)) % 2 == 1)
    replace(data, test_half=half, gallery=gallery).check_accuracy(0)


def test_it_is_said_before_training(monkeypatch, tmp_path, capsys):
    data = make_small_data(32)
    entry = DatasetEntry("small", "vectors", (0,), lambda root: data)
    monkeypatch.setitem(DATASETS, "small", entry)
    monkeypatch.setitem(SETTINGS, "small", SMALL_SETTINGS)
    monkeypatch.setattr(suite, "train", None)
    command = ["run", "--dataset", "small", "--losses", "proxy_anchor", "--out", str(tmp_path)]
    assert main(command) == 2
    assert "the validation of fold 0 of small has 4 images" in capsys.readouterr().err
