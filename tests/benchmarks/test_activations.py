"""Kept activations: equal to the network's own, resumable, and never more than the disk holds."""

import os
import pickle
import shutil
from functools import partial

import numpy as np
import pytest
import torch
from dataset_trees import build_folder
from PIL import Image

from benchmarks.backbones import BackboneChoice, Pictures, find_backbone
from benchmarks.backbones.upper import build_parts
from benchmarks.backbones.views import View
from benchmarks.datasets import activations, load_dataset, look_at_dataset
from benchmarks.datasets.activation_files import ActivationFile, Activations
from benchmarks.datasets.broken import open_photograph
from benchmarks.request import DataSource, RunRequest

CHOICE = BackboneChoice(
    "timm:test_resnet", "none", batch_norm="trained", crop=32, cut="layer3", views=3
)
HALF = 2**-11  # the relative error of rounding to half precision


@pytest.fixture(autouse=True)
def cache(monkeypatch, tmp_path):
    monkeypatch.setenv("PML_HIERARCHICAL_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def root(tmp_path):
    """24 pictures of noise in 8 classes: the crops of one colour would all be the same."""
    build_folder(tmp_path / "photographs")
    rng = np.random.default_rng(0)
    files = [file for file in sorted((tmp_path / "photographs").rglob("*.*")) if file.is_file()]
    for file in files:
        Image.fromarray(rng.integers(0, 256, (48, 60, 3), dtype=np.uint8)).save(file)
    return tmp_path / "photographs"


@pytest.fixture
def counted(monkeypatch):
    """How many pictures each computation had."""
    original, counts = ActivationFile.write, []

    def write(self, rows, values):
        counts.append(len(rows))
        original(self, rows, values)

    monkeypatch.setattr(ActivationFile, "write", write)
    return counts


def test_they_are_those_of_the_network(root):
    """Rounded to half precision, and by that alone: as tested, and of each random view."""
    data = load_dataset("folder", root, backbone=CHOICE)
    backbone = find_backbone(CHOICE)
    lower, upper, _ = build_parts(backbone)
    pictures = partial(Pictures, look_at_dataset("folder", root).files, open_photograph)
    trained = data.split(0).train
    views = [View(pictures(backbone.training_transform), view) for view in range(3)]
    found_views = [Activations([file]) for file in data.training_inputs.files]
    pairs = [(data.inputs, pictures(backbone.transform)), *zip(found_views, views, strict=True)]
    trunk = data.build_trunk().eval()
    for found, shown in pairs:
        whole = torch.stack([shown[int(row)] for row in trained])
        with torch.no_grad():
            wanted = lower(whole)
            features = upper.eval()(wanted)
            rows = torch.stack([found[int(row)] for row in trained])
            from_kept = trunk(rows)
        assert rows.dtype == torch.float32
        torch.testing.assert_close(rows, wanted, rtol=1.01 * HALF, atol=1e-6)
        # what passes some layers is off by no more than a few times what went in
        error = (from_kept - features).norm() / features.norm()
        assert 0 < error < 2 * HALF


def kept(file):
    """The activations in the order of the pictures; of those that there are."""
    activations, rows = file.open()
    return activations[rows[rows >= 0]]


def test_views_are_the_same_every_time_and_differ():
    noise = np.random.default_rng(0).integers(0, 256, (2, 48, 60, 3), dtype=np.uint8)
    backbone = find_backbone(CHOICE)
    pictures = Pictures(noise, Image.fromarray, backbone.training_transform)
    torch.manual_seed(5)
    first = [[View(pictures, view)[i] for i in range(2)] for view in range(2)]
    state = torch.get_rng_state()
    torch.manual_seed(6)
    assert torch.equal(View(pictures, 1)[0], first[1][0])  # whatever was seen before
    torch.manual_seed(5)
    assert torch.equal(torch.get_rng_state(), state)
    assert not torch.equal(first[0][0], first[1][0])
    assert not torch.equal(View(pictures, 0, seed=1)[0], first[0][0])
    same = Pictures(noise[[0, 0]], Image.fromarray, backbone.training_transform)
    assert not torch.equal(View(same, 0)[0], View(same, 0)[1])  # nor all pictures cropped alike


def test_workers_change_nothing(root, cache):
    first = load_dataset("folder", root, backbone=CHOICE)
    wanted = [kept(one).copy() for one in (*first.inputs.files, *first.training_inputs.files)]
    shutil.rmtree(cache)
    again = load_dataset("folder", root, backbone=CHOICE, workers=2)
    for one, other in zip((*again.inputs.files, *again.training_inputs.files), wanted, strict=True):
        np.testing.assert_array_equal(kept(one), other)
    np.testing.assert_array_equal(again.untrained, first.untrained)


@pytest.mark.parametrize(("choice", "workers"), [({"cut": "11"}, 0), ({"trained": True}, 2)])
def test_a_training_has_no_workers_where_it_reads_what_is_kept(choice, workers):
    source = DataSource("cub", backbone=BackboneChoice(**choice), workers=2)
    request = RunRequest(source, ("contrastive",))
    assert request.training_workers == workers


def test_training_draws_one_of_the_views(root):
    data = load_dataset("folder", root, backbone=CHOICE)
    row = int(data.split(0).train[0])
    files = data.training_inputs.files
    views = [Activations([file])[row] for file in files]
    torch.manual_seed(0)
    drawn = [data.training_inputs[row] for _ in range(20)]
    torch.manual_seed(0)
    assert all(torch.equal(data.training_inputs[row], one) for one in drawn)
    chosen = {next(i for i, v in enumerate(views) if torch.equal(v, one)) for one in drawn}
    assert chosen == {0, 1, 2}
    before = torch.get_rng_state()
    assert torch.equal(data.inputs[row], data.inputs[row])
    assert torch.equal(torch.get_rng_state(), before)


def test_only_what_is_missing_is_computed(root, counted, capsys):
    load_dataset("folder", root, backbone=CHOICE)
    assert counted == [24, 12, 12, 12]  # all as tested; three views of the training half
    said = capsys.readouterr().err
    assert "24 pictures to test on and 3 views of 12 to train on, 1.54 kB each: 92.2 kB in" in said
    assert "GB is free" in said
    counted.clear()
    load_dataset("folder", root, backbone=CHOICE)
    assert counted == []
    assert "pictures as tested" not in capsys.readouterr().err
    more = BackboneChoice(**CHOICE.to_dict() | {"views": 4})
    load_dataset("folder", root, backbone=more)
    assert counted == [12]
    counted.clear()
    load_dataset("folder", root, backbone=CHOICE, all_train=True)
    assert counted == [12, 12, 12]  # the other half
    counted.clear()
    load_dataset("folder", root, backbone=BackboneChoice(**CHOICE.to_dict() | {"cut": "layer4"}))
    assert counted == [24, 12, 12, 12]


def test_an_interruption_costs_a_block(root, cache, counted, monkeypatch):
    """The files are then the same as without one."""
    whole = load_dataset("folder", root, backbone=CHOICE)
    wanted = [kept(file) for file in (*whole.inputs.files, *whole.training_inputs.files)]
    shutil.rmtree(cache)
    counted.clear()
    monkeypatch.setattr(activations, "BLOCK", 5)
    original, seen = View.__getitem__, []

    def interrupted(self, index):
        seen.append(index)
        if len(seen) == 9:  # in the second block of the first view
            raise KeyboardInterrupt
        return original(self, index)

    monkeypatch.setattr(View, "__getitem__", interrupted)
    with pytest.raises(KeyboardInterrupt):
        load_dataset("folder", root, backbone=CHOICE)
    assert counted == [5, 5, 5, 5, 4, 5]
    again = load_dataset("folder", root, backbone=CHOICE)
    assert sum(counted) == 24 + 3 * 12
    files = (*again.inputs.files, *again.training_inputs.files)
    for file, array in zip(files, wanted, strict=True):
        np.testing.assert_array_equal(kept(file), array)


def test_what_does_not_fit_is_refused_first(root, cache, counted, monkeypatch):
    usage = shutil.disk_usage(root)
    monkeypatch.setattr(activations.shutil, "disk_usage", lambda path: usage._replace(free=92_000))
    with pytest.raises(
        OSError, match=r"more space than there is: 92.2 kB in .*92 kB is free.*fewer --views"
    ):
        load_dataset("folder", root, backbone=CHOICE)
    assert counted == []
    assert not [*cache.glob("folder-????????????????.npz")]  # nor the features of the network


def make_file(rows=4):
    return ActivationFile("some", {"a": 1}, rows)


def test_rows_that_were_not_computed_are_missing():
    file = make_file()
    file.write(np.array([2, 0]), np.array([[3.0, 4.0], [1.0, 2.0]], np.float32))
    file = make_file()
    assert file.missing(np.arange(4)).tolist() == [1, 3]
    assert file.missing(np.array([0, 2])).tolist() == []
    file.write(np.array([1]), np.ones((1, 2), np.float32))
    assert kept(file).tolist() == [[1, 2], [1, 1], [3, 4]]
    assert file.path.stat().st_size == 3 * 2 * 2  # nothing but what there is
    with pytest.raises(IndexError, match="no activations of picture 3"):
        Activations([file])[3]
    assert ActivationFile("some", {"a": 2}, 4).missing(np.arange(4)).size == 4


@pytest.mark.parametrize("damage", ["shorter", "gone", "rows", "another"])
def test_damaged_files_are_computed_again(cache, damage):
    file = make_file()
    file.write(np.arange(4), np.ones((4, 300), np.float32))
    (rows,) = cache.glob("*.npz")
    if damage == "shorter":
        os.truncate(file.path, 500)
    elif damage == "gone":
        file.path.unlink()
    elif damage == "rows":
        rows.write_bytes(b"nothing")
    else:
        file = ActivationFile("some", {"a": 1}, 5)  # of another number of pictures
    with pytest.warns(UserWarning, match="unusable and is computed again"):
        assert file.missing(np.arange(4)).size == 4
    file.write(np.arange(4), np.zeros((4, 300), np.float32))
    assert not kept(file).any()


def test_numbers_too_large_for_half_precision(cache):
    with pytest.raises(ValueError, match="up to 7e\\+04 do not fit into half precision"):
        make_file().write(np.arange(1), np.full((1, 2), 7e4, np.float32))
    assert not list(cache.iterdir())


def test_a_pickle_has_no_activations_in_it():
    file = make_file()
    file.write(np.arange(4), np.ones((4, 10_000), np.float32))
    found = Activations([file])
    assert found[3].sum() == 10_000
    pickled = pickle.dumps(found)
    assert len(pickled) < 2000
    assert torch.equal(pickle.loads(pickled)[1], found[1])
    assert len(found) == 4


def test_another_process_is_waited_for(root, counted, capsys, monkeypatch):
    """What it computed in the meantime is not computed again."""
    locks = []

    class Busy(activations.FileLock):
        def acquire(self, timeout=None, **more):
            locks.append(timeout)
            if timeout == 0:
                raise activations.Timeout(self.lock_file)
            load_as_the_other()
            return super().acquire(**more)

    usual = activations.FileLock

    def load_as_the_other():
        with monkeypatch.context() as patch:
            patch.setattr(activations, "FileLock", usual)
            load_dataset("folder", root, backbone=CHOICE)

    monkeypatch.setattr(activations, "FileLock", Busy)
    load_dataset("folder", root, backbone=CHOICE)
    assert locks == [0, None]
    assert counted == [24, 12, 12, 12]
    assert "another process computes these activations" in capsys.readouterr().err
