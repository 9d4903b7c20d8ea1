"""The script that draws the README's first picture, on two made-up runs."""

from __future__ import annotations

import json
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from docs import make_opening_picture as script

LABELS = np.array([[c, c // 2, c // 4] for c in range(8) for _ in range(60)])


@pytest.fixture
def runs(tmp_path):
    """Embeddings near the corner of their class, or of anything at all."""
    rng = np.random.default_rng(0)
    for noise, loss in ((10, "proxy_anchor"), (0.01, "hpl_given-proxy_anchor")):
        folder = tmp_path / loss / "seed0_fold0"
        folder.mkdir(parents=True)
        embeddings = np.eye(8)[LABELS[:, 0]] + noise * rng.normal(size=(len(LABELS), 8))
        indices = np.arange(len(LABELS)) + 100
        np.savez(
            folder / "test.npz",
            test_embeddings=embeddings,
            test_indices=indices,
            test_labels=LABELS,
        )
        np.savez(folder / "retrievals.npz", queries=indices[::60])
    described = {"name": "grocery", "level_names": ["class", "coarse class", "kind"]}
    (tmp_path / "dataset.json").write_text(json.dumps(described))
    return tmp_path


def test_picture(runs, monkeypatch):
    data = SimpleNamespace(
        picture=lambda index: Image.new("RGB", (40, 30), "olive"),
        labels=np.concatenate([np.zeros((100, 3), int), LABELS]),
        class_names=[[f"A-long-name-of-class-{c}" for c in range(8)]],
    )
    monkeypatch.setattr(script, "look_at_dataset", lambda *_: data)
    monkeypatch.setattr(script, "SIZE", 20)
    drawn = []
    monkeypatch.setattr(script, "mark", lambda *labels: drawn.append(labels) or script.WRONG)
    arguments = ["", "--data-root", ".", "--runs", str(runs), "--out", str(runs / "picture.png")]
    monkeypatch.setattr("sys.argv", arguments)
    script.main()
    with Image.open(runs / "picture.png") as picture:
        assert picture.width == 1100
    assert len(drawn) == 2 * script.NUM_QUERIES * len(script.RANKS)
    queries = [query[0] for query, _ in drawn[:: len(script.RANKS)]]
    assert queries == [0, 1, 2, 0, 1, 2]  # those that the suite drew, for both losses
    # rank 1, 10 and 50 of the second run are of the class of the query, which has 60 pictures
    last = drawn[-len(script.RANKS) :]
    assert [query[0] == found[0] for query, found in last] == [True] * 3 + [False] * 4


def test_marks():
    query = np.array([5, 2, 0])
    for found, colour in (([5, 2, 0], 0), ([4, 2, 0], 1), ([1, 0, 0], 2)):
        assert script.mark(query, np.array(found)) == script.MARKS[colour]
    assert script.mark(query, np.array([7, 3, 1])) == script.WRONG
