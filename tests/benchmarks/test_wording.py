"""Messages about one of something, and about a picture that cannot be read."""

import doctest

import pytest

from benchmarks import unreadable, wording
from benchmarks.datasets.broken import broken_error
from benchmarks.search.embeddings_on_disk import BrokenPicturesError
from benchmarks.unreadable import reason_of
from benchmarks.wording import already_done


@pytest.mark.parametrize("module", [unreadable, wording])
def test_examples(module):
    assert doctest.testmod(module).failed == 0


def test_one_and_several_are_done():
    assert already_done(1, 1, "run") == "1 of 1 run is already done"
    assert already_done(2, 2000, "trial") == "2 of 2,000 trials are already done"


def test_one_picture(tmp_path):
    assert str(BrokenPicturesError({"a.jpg": "locked"})) == (
        "1 picture cannot be read, first a.jpg (locked)"
    )
    error = broken_error([tmp_path / "a.jpg"], {0: "it does not exist"})
    assert str(error).startswith("1 of 1 image cannot be used (1 missing), first ")


def test_reasons():
    assert reason_of(PermissionError(13, "Permission denied", "a.jpg")) == "Permission denied"
    assert reason_of(ValueError("it has values above 65535")) == "it has values above 65535"
    assert reason_of(MemoryError()) == "MemoryError"
