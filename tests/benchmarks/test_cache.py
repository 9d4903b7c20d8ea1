import sys
from pathlib import Path

import numpy as np
import pytest
from platformdirs import user_cache_path

from benchmarks.cache import cache_directory, cached_arrays


class Computation:
    """Counts its calls; the arrays tell which call made them."""

    def __init__(self):
        self.calls = 0

    def __call__(self):
        self.calls += 1
        return {"numbers": np.arange(50) * self.calls, "floats": np.ones((2, 3), np.float32)}


@pytest.fixture
def computation():
    return Computation()


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("PML_HIERARCHICAL_CACHE", str(tmp_path))
    return tmp_path


@pytest.mark.skipif(sys.platform != "linux", reason="other systems have other folders")
@pytest.mark.parametrize(
    ("variables", "expected"),
    [
        ({"PML_HIERARCHICAL_CACHE": "/a/b", "XDG_CACHE_HOME": "/c"}, "/a/b"),
        ({"XDG_CACHE_HOME": "/c"}, "/c/pml-hierarchical"),
        ({"PML_HIERARCHICAL_CACHE": "", "XDG_CACHE_HOME": ""}, "~/.cache/pml-hierarchical"),
        ({}, "~/.cache/pml-hierarchical"),
    ],
)
def test_directory(monkeypatch, variables, expected):
    for name in ("PML_HIERARCHICAL_CACHE", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert cache_directory() == Path(expected).expanduser()


def test_the_tests_leave_the_cache_of_the_user_alone():
    assert not cache_directory().is_relative_to(
        user_cache_path("pml-hierarchical", appauthor=False)
    )


def test_the_directory_of_the_environment_is_the_default(tmp_path, monkeypatch, computation):
    monkeypatch.setenv("PML_HIERARCHICAL_CACHE", str(tmp_path / "not" / "there" / "yet"))
    cached_arrays("things", {}, computation)
    assert [file.parent for file in tmp_path.rglob("things-*.npz")] == [cache_directory()]


def test_computed_once_per_key(cache, computation):
    first = cached_arrays("things", {"version": 1}, computation)
    again = cached_arrays("things", {"version": 1}, computation)
    assert computation.calls == 1
    assert again.keys() == first.keys() == {"numbers", "floats"}
    for name in first:
        np.testing.assert_array_equal(again[name], first[name], strict=True)

    other = cached_arrays("things", {"version": 2}, computation)
    assert other["numbers"][1] == 2
    assert cached_arrays("things", {"version": 1}, computation)["numbers"][1] == 1
    assert computation.calls == 2


def cut_short(content: bytes) -> bytes:
    return content[: len(content) // 2]


def one_byte_of_the_data_changed(content: bytes) -> bytes:
    place = content.index(np.arange(50).tobytes()) + 80
    return content[:place] + b"\xff" + content[place + 1 :]


@pytest.mark.parametrize(
    "damage", [cut_short, one_byte_of_the_data_changed, lambda content: b"", lambda content: b"no!"]
)
def test_a_corrupt_file_is_noticed_and_replaced(cache, computation, damage):
    cached_arrays("things", {}, computation)
    (file,) = cache.iterdir()
    file.write_bytes(damage(file.read_bytes()))
    with pytest.warns(UserWarning, match="unusable and will be computed again"):
        arrays = cached_arrays("things", {}, computation)
    assert arrays["numbers"][1] == 2
    assert cached_arrays("things", {}, computation)["numbers"][1] == 2
    assert computation.calls == 2


def test_a_file_of_another_key_is_not_taken(cache, computation):
    cached_arrays("things", {"version": 1}, computation)
    (first,) = cache.iterdir()
    cached_arrays("things", {"version": 2}, computation)
    (second,) = set(cache.iterdir()) - {first}
    second.write_bytes(first.read_bytes())
    with pytest.warns(UserWarning, match="written for the key"):
        assert cached_arrays("things", {"version": 2}, computation)["numbers"][1] == 3


def test_interrupted_writing_leaves_nothing(cache, monkeypatch, computation):
    def interrupted(file, **arrays):
        file.write(b"half a file")
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(np, "savez", interrupted)
        with pytest.raises(KeyboardInterrupt):
            cached_arrays("things", {}, computation)
    assert list(cache.iterdir()) == []
    assert cached_arrays("things", {}, computation)["numbers"][1] == 2


def test_no_directory_is_said_before_computing(cache, monkeypatch, computation):
    (cache / "file").touch()
    monkeypatch.setenv("PML_HIERARCHICAL_CACHE", str(cache / "file" / "below"))
    with pytest.raises(OSError, match="PML_HIERARCHICAL_CACHE"):
        cached_arrays("things", {}, computation)
    assert computation.calls == 0
