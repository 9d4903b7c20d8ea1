"""What a run keeps of its tree: every update, pictures of all superclasses; and its page."""

import json
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from rich.console import Console
from test_report import make_store

from benchmarks import suite
from benchmarks.artifacts import TREE_FILE, read_tree
from benchmarks.files import DamagedFileError
from benchmarks.report import embedding_map, write_joint_report
from benchmarks.stored import read_stored
from benchmarks.training import Session
from benchmarks.training.checkpoints import BEST, LAST
from benchmarks.tree_page.command import tree
from benchmarks.tree_page.run_folder import tree_of_run, write_run_page, write_tree_pages
from benchmarks.tree_page.samples import MAX_SAMPLES, chosen_samples
from pml_hierarchical import trees


@pytest.fixture
def run(make_plan):
    """Run a loss on the small data set; returns the folder of the run."""

    def start(loss="hpl:proxy_anchor", **changes):
        planned = make_plan(losses=[loss], **changes)
        suite.run(planned, Console(quiet=True))
        return planned.runs[0].folder(planned.request.out)

    return start


def arrays_in(folder):
    with np.load(folder / TREE_FILE) as archive:
        return {name: archive[name] for name in archive.files}


def content_of(page):
    text = page.read_text()
    start = text.index('id="data">') + len('id="data">')
    return json.loads(text[start : text.index("</script>", start)])


def test_a_run_keeps_its_updates_and_its_page_shows_them(run, small_dataset, tmp_path, monkeypatch):
    folder = run()
    arrays = arrays_in(folder)
    loss = torch.load(folder / BEST, weights_only=True)["loss_funcs"]["metric_loss"]
    num_updates = int(loss["superclasses.updates"][0])
    num_classes = len(arrays["classes"])
    assert arrays["history"].shape == (num_updates, 1, num_classes)
    assert num_updates > 1
    np.testing.assert_array_equal(arrays["history"][-1], arrays["superclasses"])
    split = small_dataset.split(0)
    assert arrays["counts"].sum() == len(split.train)
    assert set(arrays["sample_classes"]) == set(range(num_classes))

    page = write_run_page(tmp_path / "tree.html", folder, small_dataset.class_names)
    content, text = content_of(page), page.read_text()
    assert "<h1>Tree of hpl:proxy_anchor</h1>" in text
    assert f"over {num_updates} updates · small, seed 0, fold 0" in text
    names = [small_dataset.class_names[0][label] for label in arrays["classes"]]
    assert content["levels"][0]["names"] == names
    assert content["levels"][0]["parents"] == arrays["superclasses"][0].tolist()
    assert len(content["levels"][1]["bars"][0]) == num_updates - 1
    assert content["counts"] == arrays["counts"].tolist()

    tree(folder, out=tmp_path / "found.json")
    tree(folder / BEST, out=tmp_path / "best.json")
    found, best = (trees.from_json((tmp_path / f"{n}.json").read_text()) for n in ("found", "best"))
    assert found.names[0] == tuple(names)
    np.testing.assert_array_equal(found.class_labels, best.class_labels)
    for place, name in ((folder, "."), (folder.parent, folder.name)):
        monkeypatch.chdir(place)
        tree(Path(name), out=tmp_path / "here.json")
        assert (tmp_path / "here.json").read_bytes() == (tmp_path / "found.json").read_bytes()


def test_an_interrupted_run_has_the_same_updates(run, tmp_path, monkeypatch):
    expected = arrays_in(run(out=tmp_path / "whole"))
    original = Session._end_of_iteration

    def interrupted(session, trainer):
        original(session, trainer)
        if trainer.epoch == 3:
            raise KeyboardInterrupt

    monkeypatch.setattr(Session, "_end_of_iteration", interrupted)
    with pytest.raises(KeyboardInterrupt):
        run(out=tmp_path / "interrupted")
    monkeypatch.setattr(Session, "_end_of_iteration", original)
    (last,) = (tmp_path / "interrupted").rglob(LAST)
    before = torch.load(last, weights_only=True)["update_superclasses"]
    assert 0 < len(before) < len(expected["history"])
    found = arrays_in(run(out=tmp_path / "interrupted"))
    assert found.keys() == expected.keys()
    for name, array in expected.items():
        np.testing.assert_array_equal(found[name], array)


def test_a_given_tree_has_its_names_and_no_stability(run, small_dataset, tmp_path):
    folder = run("hpl_given:proxy_anchor")
    found = tree_of_run(folder, small_dataset.class_names)
    assert found.history is None
    assert found.given == (1, 2)
    assert set(found.tree.names[1]) <= set(small_dataset.class_names[1])
    assert found.tree.names[2] == ("kind 0", "kind 1")
    labels = read_tree(folder / TREE_FILE, small_dataset.class_names)["class_labels"]
    for row, (_, group, kind) in enumerate(labels):
        names = [found.tree.names[n][found.tree.class_labels[row, n]] for n in (1, 2)]
        assert names == [f"group {group}", f"kind {kind}"]
    content = content_of(write_run_page(tmp_path / "a.html", folder, small_dataset.class_names))
    assert [level["given"] for level in content["levels"]] == [False, True, True]
    assert not any("stability" in level for level in content["levels"])


def test_damaged_and_missing_files(run, small_dataset, tmp_path):
    folder = run()
    arrays = arrays_in(folder)
    for change in (
        {"history": arrays["history"][:, :, 1:]},
        {"counts": arrays["counts"].astype(float)},
        {"sample_classes": arrays["sample_classes"] + 99},
        {"sample_ends": arrays["sample_ends"] + 1},
        {"is_given": np.array([True, False])},
        {"superclasses": 2 * arrays["superclasses"]},
    ):
        np.savez(folder / TREE_FILE, **{**arrays, **change})
        with pytest.raises(DamagedFileError, match=r"tree\.npz is damaged"):
            tree_of_run(folder, small_dataset.class_names)
    (folder / TREE_FILE).unlink()
    with pytest.raises(ValueError, match=r"has no tree\.npz.*give .*best\.pt"):
        tree(folder, out=tmp_path / "x.html")


def test_a_page_for_every_loss_of_a_report(run, small_dataset, tmp_path):
    folder = run("hpl:proxy_anchor")
    damaged = run("hpl_given:proxy_anchor")
    (damaged / TREE_FILE).write_bytes(b"PK no archive")
    with pytest.warns(UserWarning, match=r"hpl_given.*tree\.npz is damaged.*no page of its tree"):
        pages = write_tree_pages(read_stored(folder.parents[1]), tmp_path, str.upper)
    assert pages == {"hpl:proxy_anchor": tmp_path / "tree_hpl-proxy_anchor.html"}
    assert "<h1>Tree of HPL:PROXY_ANCHOR</h1>" in pages["hpl:proxy_anchor"].read_text()


@pytest.mark.parametrize("datasets", [["one"], ["one", "two"]])
def test_the_report_leads_to_the_pages(tmp_path, monkeypatch, datasets):
    monkeypatch.setattr(embedding_map, "project", lambda embeddings: embeddings[:, :2])
    monkeypatch.setattr("benchmarks.report.style.DOTS_PER_INCH", 20)
    folders = [make_store(tmp_path / name, folds=[0], dataset=name) for name in datasets]
    write_joint_report(folders, tmp_path / "out")
    for text in (tmp_path / "out" / name for name in ("report.html", "report.md")):
        pattern = r'(?:href="|\]\()(figures/[^")]*tree_hpl-proxy_anchor\.html)'
        links = re.findall(pattern, text.read_text())
        assert len(set(links)) == len(datasets)
        assert all("<h1>Tree of " in (tmp_path / "out" / link).read_text() for link in links)


def test_pictures_of_all_superclasses_are_kept():
    random = np.random.default_rng(0)
    labels = np.repeat(np.arange(3000), 3)
    superclasses = random.integers(40, size=3000)
    rows, classes = chosen_samples(labels, superclasses)
    assert len(rows) == len(set(classes)) <= MAX_SAMPLES
    np.testing.assert_array_equal(labels[rows], classes)
    assert np.bincount(superclasses[classes]).tolist() == [25] * 40
    few, classes = chosen_samples(labels[:30], superclasses[:10])
    assert sorted(classes) == sorted(labels[:30])
    assert len(set(few)) == 30
