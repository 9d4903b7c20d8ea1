"""agreement: the normalised mutual information of found and known superclasses."""

import numpy as np
import pytest
from sklearn.metrics import normalized_mutual_info_score

from pml_hierarchical import Hierarchy
from pml_hierarchical.trees import agreement


def test_each_level_is_compared_with_the_known_level_of_its_number_or_the_coarsest():
    rng = np.random.default_rng(0)
    coarse = np.concatenate([np.arange(3), rng.integers(3, size=9)])
    fine = np.concatenate([np.arange(12), rng.integers(12, size=28)])
    found = Hierarchy.from_parents([fine, coarse])
    known = np.concatenate([np.arange(5), rng.integers(5, size=25)])
    values = agreement(found, Hierarchy.from_parents([known]))  # ten classes are unknown
    assert list(values) == [1, 2]
    for level, value in values.items():
        expected = normalized_mutual_info_score(known, found.class_labels[:30, level])
        assert value == pytest.approx(expected, abs=1e-12)
    assert agreement(found, found) == pytest.approx({1: 1.0, 2: 1.0})
    assert agreement(["b/1", "b/2", "a/1"], {"x": "p", "y": "p", "z": "q"}) == {1: 1.0}


def test_bad_input():
    tree = Hierarchy.from_parents([[0, 0, 1]])
    with pytest.raises(ValueError, match="one level"):
        agreement(tree, Hierarchy.flat(3))
    with pytest.raises(ValueError, match="4 fine classes, but the tree to compare has only 3"):
        agreement(tree, Hierarchy.from_parents([[0, 0, 1, 1]]))


def test_classes_with_the_same_names_are_the_same_in_any_order():
    found = Hierarchy.from_mapping({"a": "x", "b": "x", "c": "y", "d": "y"})
    assert agreement(found, {"a": "x", "c": "y", "b": "x", "d": "y"}) == {1: 1.0}
    assert agreement(found, {"d": "y", "a": "x"}) == {1: 1.0}  # b and c are newer
    assert agreement(found, {"e": "x", "c": "y"}) == {1: 0.0}  # by number: a and b are together
