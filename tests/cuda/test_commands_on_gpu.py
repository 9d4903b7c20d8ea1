"""The commands with ``--device cuda``, beside those on the CPU. Skipped where there is no GPU."""

import json
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from benchmarks import command_line
from pml_hierarchical.search import RetrievalModel

pytestmark = [
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU"),
    pytest.mark.filterwarnings("ignore:Converting a tensor with requires_grad"),
]

sys.path.append(str(Path(__file__).parents[1]))
from search_workspace import make_workspace  # noqa: E402


@pytest.fixture
def workspace(tmp_path, monkeypatch):
    make_workspace(tmp_path)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def call(*words):
    assert command_line.main([str(word) for word in words]) == 0


def test_embeddings_and_answers(workspace, capsys):
    embeddings, answers = [], []
    for number, device in enumerate(("cpu", "cuda")):
        call("embed", "model", "photos", "--out", f"embedded{number}", "--device", device)
        embeddings.append(np.load(f"embedded{number}/embeddings.npy"))
        call("index", f"embedded{number}", "--out", f"gallery{number}")
        capsys.readouterr()
        call("search", f"gallery{number}", "query.jpg", "--device", device, "--format", "csv")
        answers.append(capsys.readouterr().out.splitlines())
    np.testing.assert_allclose(embeddings[1], embeddings[0], atol=1e-5)
    assert len(answers[0]) == len(answers[1]) > 5


def test_new_classes(workspace):
    folder = workspace / "new" / "fruit" / "plum"
    folder.mkdir(parents=True)
    for number in range(2):
        Image.new("RGB", (32, 32), "purple").save(folder / f"{number}.jpg")
    models = []
    for number, device in enumerate(("cpu", "cuda")):
        call("add-classes", "model", "new", "--out", f"grown{number}", "--device", device)
        models.append(RetrievalModel.load(f"grown{number}", device=device))
    assert models[1].class_names == models[0].class_names
    torch.testing.assert_close(models[1].proxies.cpu(), models[0].proxies, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("command", ["run", "tune", "ablate"])
def test_trainings(command, tmp_path):
    """Drawings in memory, jobs in processes of their own, and a second call that finds them."""
    options = {
        "run": ["--losses", "triplet_margin", "hpl_given:proxy_anchor"],
        "tune": ["--losses", "soft_triple", "--trials", "1", "--settings", tmp_path / "tuned.yaml"],
        "ablate": ["--bases", "proxy_nca", "--what", "hpl", "hpl_given", "--seeds", "0"],
    }[command]
    words = [command, "glyphs", *options, "--folds", "0", "--epochs", "2", "--jobs", "2"]
    for _ in range(2):
        call(*words, "--device", "cuda", "--out", tmp_path / "runs")
    results = [json.loads(path.read_text()) for path in tmp_path.rglob("result.json")]
    assert results
    for result in results:
        assert result["environment"]["device"] == torch.cuda.get_device_name()
