"""``python -m pml_hierarchical evaluate`` and the files that it reads."""

import json
import subprocess
import sys

import numpy as np
import pytest
import torch

from pml_hierarchical import Hierarchy, storage
from pml_hierarchical.__main__ import main
from pml_hierarchical.accuracy import HierarchicalAccuracyCalculator


@pytest.fixture
def sample():
    rng = np.random.default_rng(0)
    fine = np.concatenate([np.arange(12), rng.integers(0, 12, 88)])
    labels = np.stack([fine, fine // 4], axis=1)
    return rng.standard_normal((100, 6)).astype(np.float32), labels


@pytest.fixture
def folder(sample, tmp_path):
    embeddings, labels = sample
    both = {"embeddings": embeddings, "labels": labels}
    np.save(tmp_path / "e.npy", embeddings)
    np.save(tmp_path / "l.npy", labels)
    np.save(tmp_path / "fine.npy", labels[:, 0])
    np.savez(tmp_path / "both.npz", **both)
    np.savez_compressed(tmp_path / "small.npz", **both)
    torch.save({key: torch.from_numpy(value) for key, value in both.items()}, tmp_path / "both.pt")
    torch.save(torch.from_numpy(embeddings), tmp_path / "e.pt")
    tree = Hierarchy.from_labels(labels).to_dict()
    (tmp_path / "tree.json").write_text(json.dumps(tree))
    return tmp_path


def evaluate(folder, command):
    main(["evaluate", "--device", "cpu", *command.replace("@", f"{folder}/").split()])


def result(folder, command):
    evaluate(folder, f"{command} --output @out/result.json")
    return json.loads((folder / "out" / "result.json").read_text())


COMMANDS = [
    "--embeddings @e.npy --labels @l.npy",
    "--embeddings @e.pt --labels @l.npy",
    "--embeddings @both.npz",
    "--embeddings @small.npz",
    "--embeddings @both.pt",
    "--embeddings @e.npy --labels @both.npz",
    "--embeddings @e.npy --labels @fine.npy --hierarchy @tree.json",
]


@pytest.mark.parametrize("command", COMMANDS)
def test_the_same_from_every_kind_of_file(folder, sample, command):
    embeddings, labels = sample
    unit = embeddings / np.linalg.norm(embeddings, axis=1, keepdims=True)
    ours = HierarchicalAccuracyCalculator(exclude=("NMI", "AMI"), device="cpu")
    expected = ours.get_accuracy(unit, labels)
    found = result(folder, command)
    assert found["metrics"] == pytest.approx(expected, abs=1e-6)
    assert found["num_queries"] == found["num_references"] == 100
    assert found["queries_without_partner"] == [0, 0]


def test_table(folder, capsys):
    evaluate(folder, "--embeddings @both.npz --include ndcg precision_at_1")
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == ["metric", "level", "0", "level", "1"]
    assert [len(line.split()) for line in lines[1:3]] == [2, 3]
    assert len({len(line) for line in lines if line.startswith(("metric", "precision"))}) == 1


def test_gallery(folder, sample):
    embeddings, labels = sample
    np.savez(folder / "query.npz", embeddings=embeddings[:30], labels=labels[:30])
    np.save(folder / "gallery.npy", embeddings[30:])
    np.save(folder / "gl.npy", labels[30:])
    command = "--embeddings @query.npz --gallery @gallery.npy --gallery-labels @gl.npy"
    found = result(
        folder, f"{command} --distance euclidean --include r_precision --k max_bin_count"
    )
    ours = HierarchicalAccuracyCalculator(include=("r_precision",), device="cpu")
    expected = ours.get_accuracy(embeddings[:30], labels[:30], embeddings[30:], labels[30:])
    assert found["metrics"] == pytest.approx(expected)
    assert (found["num_queries"], found["num_references"]) == (30, 70)


def test_options_reach_the_calculator(folder):
    base = "--embeddings @both.npz"
    plain = result(folder, f"{base} --include r_precision ndcg")["metrics"]
    for option in ("--avg-of-avgs", "--distance dot", "--distance manhattan", "--k 1"):
        assert result(folder, f"{base} --include r_precision ndcg {option}")["metrics"] != plain
    assert set(result(folder, f"{base} --include r_precision ndcg --exclude ndcg")["metrics"]) == {
        "r_precision_level0",
        "r_precision_level1",
    }
    assert "recall_at_3_level0" in result(folder, f"{base} --at-k 3 --block-size 7")["metrics"]
    assert "NMI_level0" in result(folder, f"{base} --clustering")["metrics"]


def test_a_metric_without_a_value_is_null(folder):
    np.save(folder / "lone.npy", np.arange(100))
    found = result(folder, "--embeddings @e.npy --labels @lone.npy --include r_precision")
    assert found["metrics"] == {"r_precision": None}
    assert found["queries_without_partner"] == [100]


@pytest.mark.parametrize(
    ("command", "message"),
    [
        ("--embeddings @none.npy --labels @l.npy", "there is no file"),
        ("--embeddings @e.npy", "holds no labels: give them in a file of their own"),
        ("--embeddings @e.npy --labels @tree.json", "expected a .npy, .npz or .pt file"),
        ("--embeddings @e.npy --labels @l.npy --gallery-labels @l.npy", "without --gallery"),
        ("--embeddings @e.npy --labels @l.npy --include nothing", "is not a metric"),
        ("--embeddings @e.npy --labels @e.npy", "must be integers"),
        ("--embeddings @other.npz", "holds no 'embeddings' among its 2 arrays"),
        ("--embeddings @list.pt --labels @l.npy", "holds a list, expected a tensor"),
    ],
)
def test_errors_are_one_line(folder, capsys, command, message):
    np.savez(folder / "other.npz", a=np.zeros(1), b=np.zeros(1))
    torch.save([1, 2], folder / "list.pt")
    with pytest.raises(SystemExit) as stopped:
        evaluate(folder, command)
    assert stopped.value.code == 2
    assert message in capsys.readouterr().err.splitlines()[-1]


def test_files_are_mapped_and_not_read(folder, sample):
    for name in ("e.npy", "both.npz"):
        array = storage.load_array(folder / name, "embeddings")
        assert isinstance(array, np.memmap)
        assert np.array_equal(array, sample[0])
    assert not isinstance(storage.load_array(folder / "small.npz", "labels"), np.memmap)
    np.savez(folder / "fortran.npz", np.asfortranarray(sample[0]))
    assert np.array_equal(storage.load_array(folder / "fortran.npz", "any"), sample[0])
    np.savez(folder / "empty.npz", embeddings=np.zeros((0, 3)))
    assert storage.load_array(folder / "empty.npz", "embeddings").shape == (0, 3)


def test_as_a_module(folder):
    command = ["evaluate", "--embeddings", str(folder / "both.pt"), "--include", "ndcg", "--quiet"]
    finished = subprocess.run(
        [sys.executable, "-m", "pml_hierarchical", *command],
        capture_output=True,
        text=True,
        check=True,
    )
    assert "ndcg" in finished.stdout
    assert finished.stderr == ""
