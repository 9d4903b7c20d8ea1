from itertools import combinations

import numpy as np
import pytest

from benchmarks.datasets.base import NUM_FOLDS, split_by_class

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
