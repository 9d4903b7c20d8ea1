"""``pml-hierarchical speed --what evaluation``, run small."""

import json

import numpy as np
import pytest
import torch

from benchmarks.command_line import main
from benchmarks.speed import evaluation, side
from benchmarks.speed.evaluation import SIDES


def run(folder, options):
    command = ["speed", *options.split(), "--what", "evaluation", "--out", str(folder)]
    assert main(command) == 0
    return json.loads((folder / "evaluation.json").read_text())


def test_small(tmp_path, capsys):
    size = "--samples 1200 --embedding-size 16 --superclasses 40 5"
    record = run(tmp_path, f"{size} --sides ours pml --threads 1")
    ours, pml = record["results"]["ours"], record["results"]["pml"]
    assert record["largest_difference"] < 1e-6
    assert min(ours["seconds"], pml["seconds"]) > 0
    assert ours["metrics"].keys() == pml["metrics"].keys()
    for measured in (ours, pml):
        assert 2**26 < measured["peak_bytes_before"] <= measured["peak_bytes"]
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines[2:4]] == ["ours", "pml"]


def test_sides():
    embeddings, labels = evaluation.make_embeddings(200, 8, 5, [12, 4], seed=0)
    found = {name: side._SIDES[name](torch.from_numpy(embeddings), labels) for name in SIDES}
    assert found["floor"] == {}
    assert len(found["ours_hierarchical"]) == 9 + 7
    assert found["ours"].items() <= found["ours_hierarchical"].items()
    assert found["ours"] == pytest.approx(found["pml"], abs=1e-6)
    assert found["core"] == pytest.approx(found["pml"], abs=1e-6)


def test_a_side_that_fails_does_not_end_the_run(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("sys.executable", "false")
    record = run(tmp_path, "--samples 20 --superclasses 2")
    assert [x["failed"][:13] for x in record["results"].values()] == ["exit status 1"] * 5
    assert "exit status 1" in capsys.readouterr().out


def test_embeddings():
    embeddings, labels = evaluation.make_embeddings(103, 8, 5, [6, 2], seed=1)
    assert embeddings.dtype == np.float32
    assert np.allclose(np.linalg.norm(embeddings, axis=1), 1, atol=1e-6)
    assert labels.shape == (103, 3)
    assert np.bincount(labels[:, 0]).tolist() == [5] * 20 + [3]
    assert len(np.unique(labels, axis=0)) == 21  # every class has one parent
    again, _ = evaluation.make_embeddings(103, 8, 5, [6, 2], seed=1)
    assert np.array_equal(embeddings, again)


def test_largest_difference():
    sides = {"pml": {"metrics": {"a": 1.0}}, "ours": {"metrics": {"a": 1.25, "b": 7.0}}}
    assert evaluation.largest_difference(sides) == 0.25
    assert evaluation.largest_difference({"ours": sides["ours"]}) is None
    assert set(side._SIDES) == set(SIDES)


def test_peak_is_of_this_process():
    before = side._peak_bytes()
    block = np.ones(2**25)  # 256 MiB
    assert side._peak_bytes() >= block.nbytes
    assert side._peak_bytes() >= before
